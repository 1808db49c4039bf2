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

const estimateCost = (changes) => {
  const groups = new Map();
  const contacts = new Map();
  for (const { conversation, email, change } of changes) {
    const key = `${conversation.contact} ${email.owner[0]}`;
    const group = groups.get(key) ?? { links: 0, unlinked: [] };
    groups.set(key, group);
    if (change.op !== "unlink") group.links += 1;
    if (change.op !== "link") {
      group.unlinked.push(email.id.length);
      contacts.set(conversation.contact, (contacts.get(conversation.contact) ?? 0) + 1);
    }
  }
  const cost = { link: 0, unlink: 0, read: 0 };
  for (const { links, unlinked } of groups.values()) {
    cost.link += Math.ceil(links / CALL_EMAILS);
    if (unlinked.length) cost.unlink += unlinkCalls(unlinked);
  }
  for (const emails of contacts.values()) cost.read += Math.ceil(emails / PAGE_EMAILS);
  cost.credits = cost.link + cost.unlink + cost.read + (changes.length ? LOOKUPS : 0);
  return cost;
};
