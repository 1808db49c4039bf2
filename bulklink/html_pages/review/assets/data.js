// Conversations, read chunk by chunk so that the page stays responsive. A slot is an email for
// which a change is proposed; the slots of a conversation follow one another.

const NONE = "none";
const BULK_TIERS = ["sure", "likely"];
const SLICE_MILLISECONDS = 20;

const review = {
  facts: JSON.parse(document.getElementById("facts").textContent),
  texts: [],
  deals: [],
  owners: [],
  evidence: [],
  conversations: [],
  slots: [],
};

const byIndex = (list, index) => (index === null ? null : list[index]);

const readEmail = ([id, owner, subject, time, direction, address, name, deal, by, rule, kind, tier]) => ({
  id,
  owner: byIndex(review.owners, owner),
  subject: byIndex(review.texts, subject),
  time,
  direction: byIndex(review.texts, direction),
  address: byIndex(review.texts, address),
  name: byIndex(review.texts, name),
  deal: byIndex(review.deals, deal),
  linkedBy: byIndex(review.texts, by),
  rule: byIndex(review.texts, rule),
  kind: byIndex(review.texts, kind),
  tier: byIndex(review.texts, tier),
});

const readCandidate = ([deal, confidence, reasons]) => {
  const evidence = [];
  for (let n = 0; n < reasons.length; n += 2) {
    const [name, text] = review.evidence[reasons[n]];
    evidence.push({ name, text, weight: reasons[n + 1] / 100 });
  }
  return { deal: byIndex(review.deals, deal), confidence, evidence };
};

const readConversation = ([contact, number, candidates, emails, leftOut]) => {
  const conversation = {
    index: review.conversations.length,
    contact,
    number,
    candidates: candidates.map(readCandidate),
    emails: emails.map(readEmail),
    leftOut,
    firstSlot: review.slots.length,
  };
  for (const email of conversation.emails) {
    if (email.kind !== null) {
      email.slot = review.slots.length;
      review.slots.push({ conversation, email });
    }
  }
  conversation.slots = review.slots.length - conversation.firstSlot;
  conversation.first = conversation.emails.find((email) => email.kind !== null);
  conversation.words = searchWords(conversation);
  review.conversations.push(conversation);
};

const byPlace = (one, other) => {
  if (one.contact !== other.contact) return one.contact < other.contact ? -1 : 1;
  return one.number - other.number;
};

const searchWords = ({ contact, candidates, emails }) => {
  const words = new Set([contact]);
  for (const { deal } of candidates.slice(0, 1)) if (deal) words.add(deal[1]).add(deal[0]);
  for (const { subject, name, address, deal, id } of emails) {
    words.add(subject).add(name).add(address).add(id);
    if (deal) words.add(deal[1]).add(deal[0]);
  }
  words.delete(null);
  return [...words].join("\n").toLowerCase();
};

const dealName = (deal) => {
  if (deal === null || deal[0] === NONE) return "no deal";
  return visible(deal[1] ?? deal[0]);
};

// Deals of one name are told apart by the end of their ids.
const ID_END = 4;
const dealNames = (deals) => {
  const byId = new Map(deals.map((deal) => [deal === null ? NONE : deal[0], deal]));
  const names = new Map([...byId].map(([id, deal]) => [id, dealName(deal)]));
  const isTwin = (id) => [...names].some(([other, name]) => other !== id && name === names.get(id));
  return (deal) => {
    const id = deal === null ? NONE : deal[0];
    return isTwin(id) ? `${names.get(id)} (…${id.slice(-ID_END)})` : names.get(id);
  };
};

const namesOf = (conversation) =>
  dealNames([
    ...conversation.candidates.map(({ deal }) => deal),
    ...conversation.emails.map(({ deal }) => deal).filter(Boolean),
  ]);

const presentDeal = (email, nameOf) => (email.deal === null ? "unknown" : nameOf(email.deal));
const sender = (email) => visible(email.name ?? email.address ?? "unknown sender");
const subjectOf = (email) => visible(email.subject || "(no subject)");

const pause = () => new Promise((resume) => setTimeout(resume));

// Work on items one by one, with a pause whenever a slice of time is used up; return whether all
// were worked on, because nothing made the work pointless.
const inSlices = async (items, work, isWanted = () => true) => {
  let started = performance.now();
  for (const item of items) {
    work(item);
    if (performance.now() - started < SLICE_MILLISECONDS) continue;
    await pause();
    if (!isWanted()) return false;
    started = performance.now();
  }
  return true;
};

const readChunks = async (onProgress) => {
  for (const element of document.querySelectorAll("script.chunk")) {
    const chunk = JSON.parse(element.textContent);
    element.remove();
    for (const list of ["texts", "deals", "owners", "evidence"]) review[list].push(...chunk[list]);
    await inSlices(chunk.conversations, readConversation);
    onProgress(review.conversations.length);
    await pause();
  }
};
