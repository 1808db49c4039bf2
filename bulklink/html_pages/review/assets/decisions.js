// Decisions on slots: open, rejected, or accepted with a candidate. They are kept in the browser's
// storage, by the host if there is one, under the digest of the page, one character for each slot, by contact and conversation:
// an order that does not depend on tiers.

const OPEN = 0;
const REJECTED = 1;
const FIRST_CANDIDATE = 2;
const MOST_UNDOS = 200;
const STORE_DELAY = 300;
const STORE_KEY = `bulklink-review-${review.facts.digest}`;
const FIRST_CHARACTER = 0x30;

const decisions = {
  values: new Uint16Array(0),
  order: [],
  undos: [],
  stored: true,
  downloaded: true,
  listeners: [],
};

const dealIdOf = (candidate) => (candidate.deal === null ? NONE : candidate.deal[0]);

// The change that puts an email on a candidate; null if it is there already.
const changeOf = (email, candidate) => {
  const wanted = dealIdOf(candidate);
  const present = email.deal === null ? null : email.deal[0];
  if (wanted === present) return null;
  if (present === NONE) return { op: "link", kind: "attach", from: "" };
  if (wanted === NONE) return { op: "unlink", kind: "detach", from: present };
  return { op: "relink", kind: "move", from: present };
};

const isSendable = (email) => email.owner !== null && email.deal !== null;

const decided = (slot) => decisions.values[slot];
const acceptedCandidate = (slot) => {
  const value = decided(slot);
  const { candidates } = review.slots[slot].conversation;
  return value < FIRST_CANDIDATE ? null : candidates[value - FIRST_CANDIDATE];
};

const slotsOf = (conversation) =>
  Array.from({ length: conversation.slots }, (_, n) => conversation.firstSlot + n);

const stateOf = (conversation) => {
  const states = new Set(
    slotsOf(conversation).map((slot) => Math.min(decided(slot), FIRST_CANDIDATE)),
  );
  if (states.size > 1) return "partly";
  return ["open", "rejected", "accepted"][[...states][0]];
};

const encodeDecisions = () => {
  let text = "";
  for (let n = 0; n < decisions.order.length; n += 4096) {
    const part = decisions.order.slice(n, n + 4096);
    text += String.fromCharCode(...part.map((slot) => FIRST_CHARACTER + decided(slot)));
  }
  return text;
};

const store = () => {
  if (!decisions.stored) return;
  if (host.port) {
    tellHost({ decisions: encodeDecisions() });
    return;
  }
  try {
    localStorage.setItem(STORE_KEY, encodeDecisions());
  } catch {
    decisions.stored = false;
    notify();
  }
};

let storing = null;
const storeSoon = () => {
  clearTimeout(storing);
  if (host.port) store(); // a message that is sent while the page is left may not arrive
  else storing = setTimeout(store, STORE_DELAY);
};

const takeOver = (text) => {
  if (text?.length !== review.slots.length) return;
  decisions.order.forEach((slot, place) => {
    const { conversation, email } = review.slots[slot];
    const value = text.charCodeAt(place) - FIRST_CHARACTER;
    const isKnown = value >= 0 && value < FIRST_CANDIDATE + conversation.candidates.length;
    const isPossible = isKnown && (value < FIRST_CANDIDATE || isSendable(email));
    decisions.values[slot] = isPossible ? value : OPEN;
  });
};

const restore = () => {
  decisions.values = new Uint16Array(review.slots.length);
  decisions.order = [...review.conversations].sort(byPlace).flatMap(slotsOf);
  let text = null;
  try {
    text = localStorage.getItem(STORE_KEY);
    localStorage.setItem(STORE_KEY, text ?? "");
  } catch {
    decisions.stored = false;
  }
  takeOver(text);
};

const notify = () => decisions.listeners.forEach((listener) => listener());

// Another tab with this page: its decisions would be lost if this tab stored only its own.
const followOtherTabs = () => {
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key !== STORE_KEY) return;
    takeOver(newValue);
    notify();
  });
};

// An accepted candidate on which the email is already changes nothing: that is a rejection.
const valueFor = (slot, value) => {
  const { conversation, email } = review.slots[slot];
  if (value < FIRST_CANDIDATE) return value;
  if (!isSendable(email)) return OPEN;
  return changeOf(email, conversation.candidates[value - FIRST_CANDIDATE]) ? value : REJECTED;
};

const decide = (slots, value) => {
  const before = slots.map(decided);
  slots.forEach((slot) => {
    decisions.values[slot] = valueFor(slot, value);
  });
  decisions.undos.push({ slots, before });
  if (decisions.undos.length > MOST_UNDOS) decisions.undos.shift();
  decisions.downloaded = false;
  storeSoon();
  notify();
};

const undoDecision = () => {
  const last = decisions.undos.pop();
  if (!last) return null;
  last.slots.forEach((slot, n) => {
    decisions.values[slot] = last.before[n];
  });
  decisions.downloaded = false;
  storeSoon();
  notify();
  return review.slots[last.slots[0]].conversation;
};
