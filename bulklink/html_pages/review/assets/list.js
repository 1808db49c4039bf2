// The list of conversations: only what is in view, and a little more, is in the document.

const ROW_HEIGHT = 84;
const ROWS_BEYOND = 6;

const listbox = document.getElementById("list");
const rowsPlace = document.getElementById("rows");

const list = { shown: [], active: 0, rows: new Map(), listeners: [] };

const STATE_MARKS = { open: "", accepted: "✓", rejected: "✕", partly: "◐" };

const badge = (text, className) => create("span", text, `tag ${className}`);

const nowText = (conversation, nameOf) => {
  const emails = conversation.emails.filter(({ kind }) => kind !== null);
  return [...new Set(emails.map((email) => presentDeal(email, nameOf)))].join(", ");
};

const targetText = (conversation, nameOf) => {
  const chosen = slotsOf(conversation).map(acceptedCandidate).filter(Boolean);
  const names = new Set(chosen.map(({ deal }) => nameOf(deal)));
  return names.size ? [...names].join(", ") : nameOf(conversation.candidates[0].deal);
};

const addText = (place, text, className) => place.append(create("span", text, className));

const proposed = (conversation, name) => [
  ...new Set(slotsOf(conversation).map((slot) => emailOf(slot)[name])),
];

const renderRow = (position) => {
  const conversation = list.shown[position];
  const { first } = conversation;
  const state = stateOf(conversation);
  const row = create("div", null, `row ${state}`);
  row.id = `row-${conversation.index}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-setsize", list.shown.length);
  row.setAttribute("aria-posinset", position + 1);
  row.setAttribute("aria-selected", position === list.active);
  row.style.top = `${position * ROW_HEIGHT}px`;
  row.dataset.position = position;

  const head = create("span", null, "row-head");
  addText(head, subjectOf(first), "subject");
  const mark = create("span", STATE_MARKS[state], "mark");
  mark.setAttribute("aria-hidden", "true");
  head.append(mark);
  addText(head, `(${state === "open" ? "not decided" : state})`, "unseen");

  const nameOf = namesOf(conversation);
  const way = create("span", null, "way");
  addText(way, nowText(conversation, nameOf), "from");
  addText(way, " → ", "arrow");
  addText(way, targetText(conversation, nameOf), "to");

  const foot = create("span", null, "row-foot");
  for (const tier of proposed(conversation, "tier")) foot.append(badge(tier, tier), " ");
  const kinds = proposed(conversation, "kind").join(" and ");
  const facts = [kinds, countOf(conversation.slots, "email"), sender(first)];
  addText(foot, facts.join(" · "));
  row.append(head, way, foot);
  return row;
};

const drawList = () => {
  const first = Math.max(0, Math.floor(listbox.scrollTop / ROW_HEIGHT) - ROWS_BEYOND);
  const height = listbox.clientHeight || ROW_HEIGHT * 10;
  const last = Math.min(
    list.shown.length,
    Math.ceil((listbox.scrollTop + height) / ROW_HEIGHT) + ROWS_BEYOND,
  );
  const rows = new Map();
  for (let position = first; position < last; position += 1) {
    rows.set(position, list.rows.get(position) ?? renderRow(position));
  }
  for (const [position, row] of list.rows) if (!rows.has(position)) row.remove();
  for (const [position, row] of rows) if (!list.rows.has(position)) rowsPlace.append(row);
  list.rows = rows;
};

const redrawList = () => {
  list.rows.forEach((row) => row.remove());
  list.rows = new Map();
  rowsPlace.style.height = `${list.shown.length * ROW_HEIGHT}px`;
  drawList();
  const active = list.shown[list.active];
  if (active) listbox.setAttribute("aria-activedescendant", `row-${active.index}`);
  else listbox.removeAttribute("aria-activedescendant");
};

const activeConversation = () => list.shown[list.active] ?? null;

const scrollToActive = () => {
  const top = list.active * ROW_HEIGHT;
  const bottom = top + ROW_HEIGHT - listbox.clientHeight;
  if (listbox.scrollTop > top) listbox.scrollTop = top;
  else if (listbox.scrollTop < bottom) listbox.scrollTop = bottom;
};

const activate = (position) => {
  list.active = Math.max(0, Math.min(list.shown.length - 1, position));
  scrollToActive();
  redrawList();
  list.listeners.forEach((listener) => listener());
};

const showConversations = (conversations) => {
  const before = activeConversation();
  list.shown = conversations;
  activate(Math.max(0, before ? conversations.indexOf(before) : 0));
};

listbox.addEventListener("scroll", drawList, { passive: true });
window.addEventListener("resize", drawList);
