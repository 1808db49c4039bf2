// The verdicts: those in the table when the page was made, and those given here, which the browser
// keeps for this audit if it allows that.

const VERDICTS = ["right", "wrong", "unsure"];
const COLUMNS = [
  "audit", "number", "tier", "kind", "contact_id", "owner_id", "message_id", "verdict",
];

class Answers {
  constructor(facts) {
    this.facts = facts;
    this.key = `bulklink-sample ${facts.digest}`;
    this.given = new Map();
    this.saved = true;
    this.kept = true;
    this.load();
  }

  load() {
    try {
      const stored = JSON.parse(localStorage.getItem(this.key) ?? "{}");
      this.given = new Map(Object.entries(stored));
    } catch {
      this.kept = false;
    }
  }

  #name({ tier, number }) {
    return `${tier} ${number}`;
  }

  get(email) {
    const given = this.given.get(this.#name(email));
    return given === undefined ? email.verdict : VERDICTS.includes(given) ? given : null;
  }

  set(email, verdict) {
    this.given.set(this.#name(email), verdict);
    this.saved = false;
    try {
      localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.given)));
    } catch {
      this.kept = false;
    }
  }

  ofGroup(group) {
    return this.facts.emails
      .filter((email) => email.tier === group.tier && email.kind === group.kind)
      .map((email) => this.get(email));
  }

  csv() {
    const rows = this.facts.emails.map((email) => ({
      ...email,
      audit: this.facts.digest,
      verdict: this.get(email),
    }));
    const lines = rows.map((row) => csvLine(COLUMNS.map((name) => row[name])));
    return [csvLine(COLUMNS), ...lines].join("");
  }
}
