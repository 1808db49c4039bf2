const TIP_GAP = 8;
const HEADERS = {
  row: "Row",
  op: "Op",
  contact: "Contact",
  owner: "Owner",
  message: "Message id",
  deal: "Deal",
  status: "Status",
  code: "Code",
  text: "Message",
  time: "Time",
};

// Rows are created when their group is opened: a page can have thousands.

const rows = (embedded, field, key, refused) => {
  const place = embedded.columns.indexOf(field);
  const status = embedded.columns.indexOf("status");
  const wanted = key === null ? null : (embedded.texts[field] ?? []).indexOf(key);
  const rejected = (embedded.texts.status ?? []).indexOf("rejected");
  return embedded.rows.filter(
    (cells) => cells[place] === wanted && (cells[status] === rejected) === refused,
  );
};

const table = (embedded, matching) => {
  const made = create("table");
  const head = made.createTHead().insertRow();
  for (const column of embedded.columns) {
    const cell = create("th", HEADERS[column], column === "row" ? "n" : "");
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const cells of matching) {
    const line = body.insertRow();
    embedded.columns.forEach((column, place) => {
      const value = cells[place];
      const texts = embedded.texts[column];
      const text = texts && value !== null ? texts[value] : value;
      const className = { row: "n", text: "said", message: "long" }[column];
      const cell = create("td", column === "row" ? count(value) : text, className);
      if (column === "message" && text) cell.title = text;
      line.append(cell);
    });
  }
  return made;
};

const openRows = (details, embedded, most) => {
  const place = details.querySelector(".rows");
  if (!place || place.firstChild) return;
  const { field, key, refused } = details.dataset;
  const matching = rows(embedded, field, key ?? null, refused !== undefined);
  place.append(table(embedded, matching.slice(0, most)));
  place.tabIndex = 0;
  place.setAttribute("role", "region");
  place.setAttribute("aria-label", `Rows: ${details.querySelector(".label").textContent}`);
};

// The values of a chart are in the table below it, one row for each bin, in order. The middle of
// each bin is in thousandths of the width.

const tipText = (place, bin) => {
  const table = place.closest("figure").querySelector("table");
  const texts = (row) => [...row.cells].map((cell) => cell.textContent.trim());
  const names = texts(table.tHead.rows[0]);
  const [when, ...values] = texts(table.tBodies[0].rows[bin]);
  const unit = (value) => (/\d/.test(value) ? place.dataset.unit : "");
  const lines = values.map((value, n) => `${names[n + 1]}: ${value}${unit(value)}`);
  return [when, ...lines].join("\n");
};

const nearest = (middles, x) =>
  middles.reduce((best, middle, bin) =>
    Math.abs(middle - x) < Math.abs(middles[best] - x) ? bin : best, 0);

const addTip = (place, middles) => {
  const drawing = place.querySelector("svg");
  const ruler = create("div", null, "ruler");
  const tip = create("div", null, "tip");
  let shown = -1;

  const hide = () => {
    shown = -1;
    ruler.hidden = tip.hidden = true;
  };

  const show = (bin) => {
    shown = Math.min(middles.length - 1, Math.max(0, bin));
    ruler.hidden = tip.hidden = false;
    tip.textContent = tipText(place, shown);
    const { left, width } = drawing.getBoundingClientRect();
    const at = left - place.getBoundingClientRect().left + (middles[shown] / 1000) * width;
    const fits = at + TIP_GAP + tip.offsetWidth <= place.clientWidth;
    ruler.style.left = `${at}px`;
    tip.style.left = `${fits ? at + TIP_GAP : Math.max(0, at - TIP_GAP - tip.offsetWidth)}px`;
  };

  const showNearest = (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    show(nearest(middles, (1000 * (event.clientX - left)) / width));
  };

  const keys = {
    ArrowLeft: () => show(shown < 0 ? middles.length - 1 : shown - 1),
    ArrowRight: () => show(shown + 1),
    Home: () => show(0),
    End: () => show(middles.length - 1),
    Escape: hide,
  };

  hide();
  tip.setAttribute("role", "status");
  place.append(ruler, tip);
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-labelledby", drawing.getAttribute("aria-labelledby"));
  place.addEventListener("pointermove", showNearest);
  place.addEventListener("pointerdown", showNearest);
  place.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  place.addEventListener("blur", hide);
  place.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
};

const embedded = document.getElementById("rows");
if (embedded) {
  const content = JSON.parse(embedded.textContent);
  const most = Number(embedded.dataset.most);
  document.addEventListener(
    "toggle",
    ({ target }) => target.open && target.dataset.field && openRows(target, content, most),
    true,
  );
}

const charts = document.querySelector(".charts");
if (charts) {
  const middles = charts.dataset.middles.split(" ").map(Number);
  charts.querySelectorAll(".drawn").forEach((place) => addTip(place, middles));
}
