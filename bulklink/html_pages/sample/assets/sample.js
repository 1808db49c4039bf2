// The cards of the emails with their buttons, and what the verdicts on them prove.

const KEYS = { r: "right", w: "wrong", u: "unsure", c: null };
const MOVES = { j: 1, k: -1 };
const LABELS = { right: "Right", wrong: "Wrong", unsure: "Unsure" };

const facts = JSON.parse(document.getElementById("facts").textContent);
const answers = new Answers(facts);
const cards = [...document.querySelectorAll(".email")];
const lines = new Map(facts.groups.map((group) => [group, create("li")]));
const announcement = document.getElementById("announcement");
let current = -1;

const showGroup = (group) => {
  const result = checkGroup(group, answers.ofGroup(group));
  const demotion = describeDemotion(group, result);
  const text = `${describe(group, result)}${demotion && ` ${demotion}`}`;
  lines.get(group).textContent = text;
  lines.get(group).className = demotion ? "bad" : "";
  return text;
};

const showCard = (place) => {
  const verdict = answers.get(facts.emails[place]);
  cards[place].dataset.verdict = verdict ?? "";
  for (const button of cards[place].querySelectorAll(".answers button"))
    button.setAttribute("aria-pressed", String(button.value === verdict));
};

const showState = () => {
  const given = facts.emails.filter((email) => answers.get(email)).length;
  const kept = answers.kept ? "" : " This browser keeps no verdicts: download them before you leave.";
  document.getElementById("state").textContent =
    `${count(given)} of ${count(facts.emails.length)} answered.${kept}`;
};

const showAll = () => {
  facts.groups.forEach(showGroup);
  cards.forEach((_, place) => showCard(place));
  showState();
};

const markCurrent = (place) => {
  cards[current]?.removeAttribute("aria-current");
  current = place;
  cards[place].setAttribute("aria-current", "true");
};

const go = (place) => {
  if (place < 0 || place >= cards.length) return;
  markCurrent(place);
  cards[place].focus({ preventScroll: true });
  cards[place].scrollIntoView({ block: "nearest" });
};

const answer = (place, verdict) => {
  const email = facts.emails[place];
  answers.set(email, verdict);
  showCard(place);
  showState();
  const group = facts.groups.find((one) => one.tier === email.tier && one.kind === email.kind);
  const name = `${email.tier} ${email.number}: ${verdict ?? "no answer"}.`;
  announcement.textContent = `${name} ${showGroup(group)}`;
};

const answerButton = (place, verdict) => {
  const button = create("button", LABELS[verdict]);
  button.type = "button";
  button.value = verdict;
  button.addEventListener("click", () => {
    go(place);
    answer(place, answers.get(facts.emails[place]) === verdict ? null : verdict);
  });
  return button;
};

const addButtons = (card, place) => {
  const { tier, number } = facts.emails[place];
  const buttons = create("div", null, "answers");
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", `Verdict on ${tier} ${number}`);
  buttons.append(...VERDICTS.map((verdict) => answerButton(place, verdict)));
  card.querySelector(".given")?.remove();
  card.append(buttons);
  card.addEventListener("focusin", () => markCurrent(place));
};

const download = () => {
  downloadText(facts.download, answers.csv());
  answers.saved = true;
  document.getElementById("next").hidden = false;
};

const onKey = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in MOVES) {
    go(current < 0 ? 0 : current + MOVES[event.key]);
  } else if (event.key in KEYS && current >= 0) {
    answer(current, KEYS[event.key]);
    if (KEYS[event.key]) go(current + 1);
  } else return;
  event.preventDefault();
};

document.querySelector(".proof").append(...lines.values());
cards.forEach(addButtons);
showAll();
document.getElementById("proof").hidden = false;
document.getElementById("download").addEventListener("click", download);
document.addEventListener("keydown", onKey);

// Another tab with this page: its verdicts would be lost if this tab stored only its own.
window.addEventListener("storage", ({ key }) => {
  if (key !== answers.key) return;
  answers.load();
  showAll();
});
window.addEventListener("beforeunload", (event) => {
  if (!answers.kept && !answers.saved) event.preventDefault();
});
