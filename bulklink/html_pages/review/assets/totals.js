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

const costText = ({ link, unlink, credits }) => {
  const calls = [countOf(link, "link call"), countOf(unlink, "unlink call")];
  return `${calls.join(", ")}; about ${countOf(credits, "credit")} at least`;
};

const drawTotals = (counts, cost) => {
  const [open, rejected, accepted] = counts;
  totals.textContent =
    `${countOf(accepted, "email")} accepted, ${count(rejected)} rejected, ${count(open)} not decided`;
  costPlace.textContent = accepted ? costText(cost) : "Nothing is accepted yet.";
  downloadButton.disabled = accepted === 0;
  tellHost({ accepted });
};

const drawBulk = (counts) => {
  for (const tier of BULK_TIERS) {
    const button = document.getElementById(`accept-${tier}`);
    button.textContent = `Accept ${count(counts[tier])} ${tier}`;
    button.disabled = counts[tier] === 0;
  }
};

// Counting goes through all slots: in slices, and anew if something changes in the meantime.
let countings = 0;
const recount = async () => {
  countings += 1;
  const counting = countings;
  const isWanted = () => counting === countings;
  const counts = [0, 0, 0];
  const tally = new CostTally();
  const countSlot = (slot) => {
    counts[Math.min(decided(slot), FIRST_CANDIDATE)] += 1;
    const accepted = acceptedChange(slot);
    if (accepted) tally.add(accepted.conversation, accepted.email, accepted.change);
  };
  const bulk = Object.fromEntries(BULK_TIERS.map((tier) => [tier, 0]));
  const isBulk = bulkTest();
  const countShown = (conversation) => {
    for (const slot of slotsOf(conversation)) if (isBulk(slot)) bulk[emailOf(slot).tier] += 1;
  };
  if (!(await inSlices(review.slots.keys(), countSlot, isWanted))) return;
  drawTotals(counts, tally.cost());
  if (await inSlices(list.shown, countShown, isWanted)) drawBulk(bulk);
};

let recounting = null;
const drawSoon = () => {
  document.getElementById("undo").disabled = decisions.undos.length === 0;
  document.getElementById("not-stored").hidden = decisions.stored;
  document.getElementById("shown").textContent =
    `${countOf(list.shown.length, "conversation")} shown of ${count(review.conversations.length)}`;
  clearTimeout(recounting);
  recounting = setTimeout(recount, COUNT_DELAY);
};

const acceptTier = (tier) => {
  const slots = bulkSlots(tier);
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

window.addEventListener("beforeunload", (event) => {
  if (!decisions.stored && !decisions.downloaded) event.preventDefault();
});
window.addEventListener("pagehide", () => {
  if (review.slots.length) store();
});
