// Start: read the conversations, restore the decisions, and connect the parts.

const app = document.getElementById("app");
const loading = document.getElementById("loading");
const FILTER_DELAY = 120;

const isNarrow = () => window.matchMedia("(max-width: 56rem)").matches;

// A narrow screen shows either the list or the conversation.
const showPart = (part) => {
  app.dataset.part = part;
  if (part === "list") {
    listbox.focus({ preventScroll: true });
    scrollToActive();
    drawList();
  } else {
    detail.focus({ preventScroll: true });
    scrollDetailUp();
  }
};

let filtering = null;
const filterSoon = () => {
  clearTimeout(filtering);
  filtering = setTimeout(() => {
    showConversations(filterConversations());
    drawSoon();
  }, FILTER_DELAY);
};

const connect = () => {
  decisions.listeners.push(redrawList, drawDetail, drawSoon);
  list.listeners.push(drawDetail);
  filterForm.addEventListener("input", filterSoon);
  filterForm.addEventListener("submit", (event) => event.preventDefault());
  filterForm.addEventListener("reset", filterSoon);
  listbox.addEventListener("click", ({ target }) => {
    const row = target.closest(".row");
    if (!row) return;
    activate(Number(row.dataset.position));
    scrollDetailUp();
    showPart(isNarrow() ? "detail" : "list");
  });
  for (const tier of BULK_TIERS) {
    document.getElementById(`accept-${tier}`).addEventListener("click", () => acceptTier(tier));
  }
  downloadButton.addEventListener("click", download);
  document.getElementById("undo").addEventListener("click", undo);
  document.getElementById("show-keys").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", onKey);
};

const tellLeftOut = () => {
  const left = Object.entries(review.facts.leftOut).filter(([, emails]) => emails);
  if (!left.length) return;
  const place = document.getElementById("left-out");
  place.hidden = false;
  place.querySelector("strong").textContent = left
    .map(([tier, emails]) => `${countOf(emails, "email")} of the tier ${tier}`)
    .join(", ");
};

const start = async () => {
  document.documentElement.classList.add("scripted");
  await readChunks((conversations) => {
    loading.textContent = `Reading ${count(conversations)} of ${count(review.facts.conversations)} conversations …`;
  });
  restore();
  followOtherTabs();
  await fillFilters();
  connect();
  tellLeftOut();
  loading.hidden = true;
  app.hidden = false;
  await pause();
  showConversations(review.conversations);
  drawSoon();
  host.isAwaited = true;
  meetHost();
};

start();
