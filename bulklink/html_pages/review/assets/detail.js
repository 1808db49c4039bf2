// The conversation that is chosen in the list: its candidates with the evidence, and its emails.

const detail = document.getElementById("detail");
const MOST_EVIDENCE = 12;

const action = (text, className, onClick, pressed) => {
  const button = create("button", text, className);
  button.type = "button";
  if (pressed !== undefined) button.setAttribute("aria-pressed", pressed);
  button.addEventListener("click", onClick);
  return button;
};

const meter = (confidence) => {
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  bar.setAttribute("class", "bar");
  bar.setAttribute("aria-hidden", "true");
  part.setAttribute("width", `${100 * Number(confidence)}%`);
  bar.append(part);
  return bar;
};

// Deals have the keys 1 to 9, in the order of their probability; no deal has 0.
const candidateKeys = (conversation) => {
  let number = 0;
  return conversation.candidates.map(({ deal }) => (deal === null ? 0 : (number += 1)));
};

const evidenceList = ({ evidence }) => {
  const items = create("ul", null, "evidence");
  for (const { text, weight } of evidence.slice(0, MOST_EVIDENCE)) {
    const item = create("li", null, weight > 0 ? "speaks-for" : "speaks-against");
    const sign = weight > 0 ? "+" : "−";
    item.append(create("span", `${sign}${Math.abs(weight).toFixed(1)}`, "weight"));
    item.append(create("span", visible(text)));
    items.append(item);
  }
  return items;
};

const isOnDeal = (conversation, candidate) =>
  conversation.emails.some(
    ({ kind, deal }) => kind !== null && deal !== null && deal[0] === dealIdOf(candidate),
  );

const candidateItem = (conversation, place, key, nameOf) => {
  const candidate = conversation.candidates[place];
  const chosen = slotsOf(conversation).some((slot) => acceptedCandidate(slot) === candidate);
  const item = create("li", null, chosen ? "candidate chosen" : "candidate");
  const head = action(null, "choose", () => choose(place), chosen);
  head.append(create("kbd", String(key)));
  const name = create("span", null, "deal-name");
  name.append(create("span", nameOf(candidate.deal)));
  if (place === 0) name.append(badge("proposed", "proposed"));
  else if (place === 1) name.append(badge("runner-up", "plain"));
  if (isOnDeal(conversation, candidate)) name.append(badge("now", "plain"));
  head.append(name, create("span", percent(candidate.confidence), "share"));
  item.append(head, meter(candidate.confidence));
  if (candidate.evidence.length) {
    const why = create("details");
    why.open = place < 2;
    why.append(create("summary", place === 0 ? "Why this deal" : "For and against"));
    why.append(evidenceList(candidate));
    item.append(why);
  }
  return item;
};

const candidateList = (conversation) => {
  const items = create("ol", null, "candidates");
  const keys = candidateKeys(conversation);
  const nameOf = namesOf(conversation);
  conversation.candidates.forEach((_, place) => {
    items.append(candidateItem(conversation, place, keys[place], nameOf));
  });
  return items;
};

const LINKED_BY = {
  rule: "linked by the rule",
  "by hand": "linked by hand: never changed",
  sent: "sent from the deal: never changed",
  uncertain: "uncertain who linked it",
};

const emailDecision = (email) => {
  const place = create("div", null, "decide");
  if (!isSendable(email)) {
    place.append(create("span", "mailbox unknown: cannot be sent", "note"));
    return place;
  }
  const value = decided(email.slot);
  const target = acceptedCandidate(email.slot);
  const set = (wanted) => decide([email.slot], value === wanted ? OPEN : wanted);
  const name = `the email of ${localTime(email.time)}`;
  const accept = action("✓", "small accept", () => set(FIRST_CANDIDATE), target !== null);
  accept.setAttribute("aria-label", `Accept ${name}`);
  const reject = action("✕", "small reject", () => set(REJECTED), value === REJECTED);
  reject.setAttribute("aria-label", `Reject ${name}`);
  place.append(accept, reject);
  return place;
};

const emailItem = (conversation, email, nameOf) => {
  const item = create("li", null, email.kind === null ? "email" : "email changes");
  const head = create("div", null, "email-head");
  const direction = email.direction === "sent" ? "to the contact, from" : "from";
  head.append(create("time", localTime(email.time)));
  head.append(create("span", `${direction} ${sender(email)}`, "who"));
  item.append(head);
  if (email.subject !== conversation.first.subject) {
    item.append(create("div", subjectOf(email), "subject"));
  }
  const now = create("div", null, "way");
  addText(now, presentDeal(email, nameOf), "from");
  if (email.kind === null) {
    addText(now, ` stays${email.linkedBy in LINKED_BY ? ` (${LINKED_BY[email.linkedBy]})` : ""}`, "note");
  } else {
    const target = acceptedCandidate(email.slot) ?? conversation.candidates[0];
    addText(now, " → ", "arrow");
    addText(now, nameOf(target.deal), "to");
    now.append(badge(email.tier, email.tier));
  }
  item.append(now);
  if (email.kind !== null) item.append(emailDecision(email));
  return item;
};

const emailList = (conversation) => {
  const items = create("ol", null, "emails");
  const nameOf = namesOf(conversation);
  conversation.emails.forEach((email) => items.append(emailItem(conversation, email, nameOf)));
  if (conversation.leftOut) {
    items.append(create("li", `and ${countOf(conversation.leftOut, "more email")} that stay`, "note"));
  }
  return items;
};

const detailActions = (conversation) => {
  const bar = create("div", null, "actions");
  const state = stateOf(conversation);
  const toList = action("‹ List", "to-list", () => showPart("list"));
  const accept = action("Accept ", "accept", () => decideActive(FIRST_CANDIDATE), state === "accepted");
  accept.append(create("kbd", "a"));
  const reject = action("Reject ", "reject", () => decideActive(REJECTED), state === "rejected");
  reject.append(create("kbd", "r"));
  bar.append(toList, accept, reject);
  return bar;
};

const drawDetail = () => {
  const conversation = activeConversation();
  const focused = [...detail.querySelectorAll("button, summary")].indexOf(document.activeElement);
  detail.replaceChildren();
  if (!conversation) {
    detail.append(create("p", "No conversation passes the filters.", "note"));
    return;
  }
  const title = create("h3", subjectOf(conversation.first));
  title.id = "detail-title";
  const facts = create("p", null, "note");
  facts.append(`${countOf(conversation.emails.length + conversation.leftOut, "email")} of contact `);
  facts.append(create("code", visible(conversation.contact)));
  detail.append(title, facts, detailActions(conversation));
  detail.append(create("h4", "Where it belongs"), candidateList(conversation));
  detail.append(create("h4", "Emails"), emailList(conversation));
  if (focused >= 0) detail.querySelectorAll("button, summary")[focused]?.focus();
};

const scrollDetailUp = () => {
  detail.scrollTop = 0;
  if (isNarrow() && app.dataset.part === "detail") detail.scrollIntoView();
};

const openSlots = (conversation) =>
  slotsOf(conversation).filter((slot) => isSendable(emailOf(slot)));

// Accepting and rejecting go on to the next conversation; the list keeps what is decided.
const decideActive = (value) => {
  const conversation = activeConversation();
  if (!conversation) return;
  const slots = value === REJECTED ? slotsOf(conversation) : openSlots(conversation);
  if (!slots.length) return announce("It cannot be accepted: the mailbox is unknown.");
  decide(slots, value);
  announce(`${value === REJECTED ? "Rejected" : "Accepted"}: ${subjectOf(conversation.first)}`);
  activate(list.active + 1);
  scrollDetailUp();
};

const choose = (place) => {
  const conversation = activeConversation();
  if (!conversation?.candidates[place]) return;
  const slots = openSlots(conversation);
  if (!slots.length) return;
  decide(slots, FIRST_CANDIDATE + place);
  announce(`Accepted with ${dealName(conversation.candidates[place].deal)}`);
};
