// Keys. In the list the arrows move, as in any list box; letters work wherever no text is entered.

const help = document.getElementById("keys");

const isTyping = ({ target }) => target.matches("input, select, textarea") || help.open;

const rowsInView = () => Math.max(1, Math.floor(listbox.clientHeight / ROW_HEIGHT) - 1);

const byKey = (key) => {
  const conversation = activeConversation();
  const place = conversation ? candidateKeys(conversation).indexOf(Number(key)) : -1;
  if (place >= 0) choose(place);
};

const LETTERS = {
  j: () => activate(list.active + 1),
  k: () => activate(list.active - 1),
  a: () => decideActive(FIRST_CANDIDATE),
  r: () => decideActive(REJECTED),
  u: undo,
  d: download,
  "/": () => filterForm.elements.text.focus(),
  "?": () => help.showModal(),
};

const LIST_KEYS = {
  ArrowDown: () => activate(list.active + 1),
  ArrowUp: () => activate(list.active - 1),
  PageDown: () => activate(list.active + rowsInView()),
  PageUp: () => activate(list.active - rowsInView()),
  Home: () => activate(0),
  End: () => activate(list.shown.length - 1),
  Enter: () => showPart("detail"),
};

const onKey = (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const inList = event.target === listbox;
  if (event.key === "Escape" && !help.open) {
    showPart("list");
  } else if (inList && event.key in LIST_KEYS) {
    event.preventDefault();
    LIST_KEYS[event.key]();
  } else if (!isTyping(event) && event.key in LETTERS) {
    event.preventDefault();
    LETTERS[event.key]();
  } else if (!isTyping(event) && /^[0-9]$/.test(event.key)) {
    event.preventDefault();
    byKey(event.key);
  }
};
