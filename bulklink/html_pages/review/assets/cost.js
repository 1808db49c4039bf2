// Calls and credits of what is accepted, counted as bulklink counts them: an unlink or link call
// takes up to 20 emails of one contact and owner, an unlink call up to 2,000 characters of ids, and
// the pages of ten emails on which a changed email's present deal is read are counted at least.

const CALL_EMAILS = 20;
const CALL_CHARACTERS = 2000;
const PAGE_EMAILS = 10;
const LOOKUPS = 2;

const unlinkCalls = (lengths) => {
  const [length] = lengths;
  if (lengths.every((one) => one === length)) {
    const most = Math.min(CALL_EMAILS, Math.floor((CALL_CHARACTERS + 1) / (length + 1)));
    return Math.ceil(lengths.length / most);
  }
  const characters = lengths.reduce((sum, one) => sum + one + 1, 0);
  return Math.max(
    Math.ceil(lengths.length / CALL_EMAILS),
    Math.ceil(characters / (CALL_CHARACTERS + 1)),
  );
};

class CostTally {
  #groups = new Map();
  #changed = new Map();

  add(conversation, email, { op }) {
    const key = `${conversation.contact} ${email.owner[0]}`;
    let group = this.#groups.get(key);
    if (!group) this.#groups.set(key, (group = { links: 0, unlinked: [] }));
    if (op !== "unlink") group.links += 1;
    if (op === "link") return;
    group.unlinked.push(email.id.length);
    this.#changed.set(conversation.contact, (this.#changed.get(conversation.contact) ?? 0) + 1);
  }

  cost() {
    const cost = { link: 0, unlink: 0, read: 0 };
    for (const { links, unlinked } of this.#groups.values()) {
      cost.link += Math.ceil(links / CALL_EMAILS);
      if (unlinked.length) cost.unlink += unlinkCalls(unlinked);
    }
    for (const emails of this.#changed.values()) cost.read += Math.ceil(emails / PAGE_EMAILS);
    cost.credits = cost.link + cost.unlink + cost.read + (this.#groups.size ? LOOKUPS : 0);
    return cost;
  }
}
