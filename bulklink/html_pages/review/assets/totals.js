// Counts of the decisions, bulk actions, and the download with its cost.

const totals = document.getElementById("totals");
const announcer = document.getElementById("announcer");
const downloadButton = document.getElementById("download");
const costPlace = document.getElementById("cost");
const commandPlace = document.getElementById("commands");
const COUNT_DELAY = 60;

const announce = (text) => {
  announcer.textContent = text;
};

const countDecisions = () => {
  const counts = { open: 0, rejected: 0, accepted: 0 };
  for (const value of decisions.values) {
    counts[["open", "rejected", "accepted"][Math.min(value, FIRST_CANDIDATE)]] += 1;
  }
  return counts;
};

const costText = ({ link, unlink, credits }) => {
  const calls = [countOf(link, "link call"), countOf(unlink, "unlink call")];
  return `${calls.join(", ")}; about ${countOf(credits, "credit")} at least`;
};

const drawTotals = () => {
  const { open, rejected, accepted } = countDecisions();
  totals.textContent =
    `${countOf(accepted, "email")} accepted, ${count(rejected)} rejected, ${count(open)} not decided`;
  costPlace.textContent = accepted ? costText(estimateCost(acceptedChanges())) : "Nothing is accepted yet.";
  downloadButton.disabled = accepted === 0;
  document.getElementById("undo").disabled = decisions.undos.length === 0;
  document.getElementById("not-stored").hidden = decisions.stored;
};

const drawBulk = () => {
  for (const tier of BULK_TIERS) {
    const button = document.getElementById(`accept-${tier}`);
    const { length } = bulkSlots(list.shown, tier);
    button.textContent = `Accept ${count(length)} ${tier}`;
    button.disabled = length === 0;
  }
  document.getElementById("shown").textContent =
    `${countOf(list.shown.length, "conversation")} shown of ${count(review.conversations.length)}`;
};

const acceptTier = (tier) => {
  const slots = bulkSlots(list.shown, tier);
  if (!slots.length) return;
  decide(slots, FIRST_CANDIDATE);
  announce(`${countOf(slots.length, "email")} accepted. Undo takes all of them back.`);
};

const download = () => {
  const changes = acceptedChanges();
  if (!changes.length) return;
  downloadText(review.facts.reviewed, mappingText(changes));
  decisions.downloaded = true;
  commandPlace.hidden = false;
  announce(`Downloaded ${countOf(changes.length, "row")} as ${review.facts.reviewed}.`);
};

const undo = () => {
  const conversation = undoDecision();
  if (!conversation) return;
  const position = list.shown.indexOf(conversation);
  if (position >= 0) activate(position);
  announce("The last decision is undone.");
};

let counting = null;
const drawSoon = () => {
  clearTimeout(counting);
  counting = setTimeout(() => {
    drawTotals();
    drawBulk();
  }, COUNT_DELAY);
};

window.addEventListener("beforeunload", (event) => {
  if (!decisions.stored && !decisions.downloaded) event.preventDefault();
});
window.addEventListener("pagehide", () => {
  if (review.slots.length) store();
});
