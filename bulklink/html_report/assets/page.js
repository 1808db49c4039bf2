"use strict";

(() => {
  const HEIGHT = 190;
  const PRINTED_WIDTH = 330; // half of a page of A4 or Letter
  const LEFT = 46;
  const RIGHT = 22;
  const TICK_WIDTH = 60;
  const HEADERS = {
    row: "Row",
    op: "Op",
    contact: "Contact",
    owner: "Owner",
    message: "Message id",
    deal: "Deal",
    status: "Status",
    code: "Code",
    text: "What was said",
    time: "Time",
  };

  const read = (id) => {
    const element = document.getElementById(id);
    return element && JSON.parse(element.textContent);
  };

  const create = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined && text !== null) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // Rows are made when their class is opened: a page has thousands, and few are looked at.

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
        const cell = create("td", column === "row" ? value.toLocaleString("en") : text, className);
        if (column === "message" && text) cell.title = text;
        line.append(cell);
      });
    }
    return made;
  };

  const openRows = (details, embedded) => {
    const place = details.querySelector(".rows");
    if (!place || place.firstChild) return;
    const { field, key, refused, most } = details.dataset;
    const matching = rows(embedded, field, key ?? null, refused === "true");
    place.append(table(embedded, matching.slice(0, Number(most))));
  };

  // Charts are drawn as wide as their place, and again when that changes.

  const middle = (bin) => (bin.x0 + bin.x1) / 2;

  const steps = (bins, name) =>
    bins.flatMap((bin) =>
      [bin.x0, bin.x1].map((x) => ({ x, y: bin[name] ?? NaN, part: bin.part })),
    );

  const stacked = (data) => {
    const layers = data.statuses.map((status) => ({ status, rects: [] }));
    for (const bin of data.bins) {
      let below = 0;
      for (const layer of layers) {
        const rate = bin.rates[layer.status] ?? 0;
        if (rate) layer.rects.push({ ...bin, y1: below, y2: below + rate });
        below += rate;
      }
    }
    return layers;
  };

  const rect = { x1: "x0", x2: "x1", insetLeft: 0.25, insetRight: 0.25 };

  const FILLS = { failed: "url(#hatch-failed)", in_doubt: "url(#hatch-in_doubt)" };

  const round = (value, digits) =>
    value === null || value === undefined
      ? "none"
      : value.toLocaleString("en", { maximumFractionDigits: digits });

  const CHARTS = {
    throughput: {
      of: (data) => data.bins,
      marks: (data) =>
        stacked(data).map(({ status, rects }) =>
          Plot.rect(rects, {
            ...rect,
            y1: "y1",
            y2: "y2",
            fill: FILLS[status] ?? `var(--${status})`,
            ariaDescription: status,
          }),
        ),
      told: (bin) =>
        Object.entries(bin.rates)
          .map(([status, rate]) => `${round(rate, 1)}/s ${status}`)
          .join("\n") || "nothing settled",
      top: (bin) => Object.values(bin.rates).reduce((sum, rate) => sum + rate, 0),
    },
    in_flight: {
      of: (data) => data.bins.filter((bin) => bin.in_flight !== undefined),
      marks: (data, bins) => [
        Plot.rect(bins, {
          ...rect,
          y1: 0,
          y2: "in_flight",
          fill: "var(--accent)",
          fillOpacity: 0.7,
          ariaDescription: "in flight",
        }),
        Plot.line(steps(bins, "allowed"), {
          x: "x",
          y: "y",
          z: "part",
          stroke: "var(--ink)",
          strokeDasharray: "5 3",
          strokeWidth: 1.5,
          ariaDescription: "allowed",
        }),
      ],
      told: (bin) => `${round(bin.in_flight, 1)} in flight\n${round(bin.allowed, 1)} allowed`,
      top: (bin) => bin.in_flight,
    },
    latency: {
      of: (data) => data.bins.filter((bin) => bin.in_flight !== undefined),
      marks: (data, bins) =>
        [
          ["p50", undefined],
          ["p95", "5 3"],
          ["p99", "1.5 3"],
        ].map(([name, strokeDasharray]) =>
          Plot.line(steps(bins, name), {
            x: "x",
            y: "y",
            z: "part",
            stroke: "var(--accent)",
            strokeDasharray,
            strokeWidth: 1.75,
            ariaDescription: name,
          }),
        ),
      told: (bin) =>
        ["p50", "p95", "p99"].map((name) => `${name} ${round(bin[name], 3)} s`).join("\n"),
      top: (bin) => bin.p50,
    },
    answered_429: {
      of: (data) => data.bins.filter((bin) => bin.in_flight !== undefined),
      marks: (data, bins) => [
        Plot.rect(
          bins.filter((bin) => bin.answered_429),
          {
            x1: "x0",
            x2: "x1",
            y1: 0,
            y2: "answered_429",
            fill: "url(#hatch-failed)",
            stroke: "var(--failed)",
            strokeWidth: 1,
            ariaDescription: "answered 429",
          },
        ),
      ],
      told: (bin) => `${round(bin.answered_429, 0)} refused`,
      top: (bin) => bin.answered_429,
    },
  };

  const folds = (data) => [
    Plot.rect(data.folds, {
      x1: "at",
      x2: "to",
      fill: "var(--line)",
      fillOpacity: 0.6,
      ariaDescription: "pause",
    }),
    Plot.text(data.folds.length > 4 ? [] : data.folds, {
      x: (fold) => (fold.at + fold.to) / 2,
      frameAnchor: "top",
      rotate: -90,
      textAnchor: "end",
      dx: 0,
      dy: 4,
      text: (fold) => `paused ${fold.label}`,
      fill: "var(--muted)",
    }),
  ];

  const axis = (data, width) => {
    const apart = (data.end * TICK_WIDTH) / (width - LEFT - RIGHT);
    const labels = new Map();
    let last = { at: -Infinity, day: "" };
    for (const tick of data.ticks) {
      if (tick.at - last.at < apart) continue;
      labels.set(tick.at, tick.day === last.day ? tick.time : `${tick.time}\n${tick.day}`);
      last = tick;
    }
    return Plot.axisX([...labels.keys()], { tickFormat: (x) => labels.get(x), tickSize: 4 });
  };

  const draw = (place, data, givenWidth) => {
    const width = givenWidth ?? Math.floor(place.clientWidth);
    if (!width || Number(place.dataset.width) === width) return;
    const chart = CHARTS[place.dataset.chart];
    const bins = chart.of(data);
    const pointed = { x: middle, y: chart.top };
    const most = Math.max(...bins.map((bin) => bin.answered_429 ?? 0));
    const svg = Plot.plot({
      className: "plot",
      width,
      height: HEIGHT,
      marginLeft: LEFT,
      marginRight: RIGHT,
      marginTop: 14,
      marginBottom: 36,
      ariaLabel: place.dataset.label,
      x: { domain: [0, data.end], axis: null },
      y: {
        label: null,
        zero: true,
        nice: true,
        ticks: 4,
        ...(place.dataset.chart === "answered_429" ? { domain: [0, Math.max(4, most)] } : {}),
      },
      marks: [
        Plot.gridY({ ticks: 4, stroke: "var(--line)", strokeOpacity: 1 }),
        ...folds(data),
        ...chart.marks(data, bins),
        Plot.ruleY([0], { stroke: "var(--muted)" }),
        axis(data, width),
        Plot.ruleX(bins, Plot.pointerX({ x: middle, stroke: "var(--muted)" })),
        Plot.tip(
          bins,
          Plot.pointerX({
            ...pointed,
            title: (bin) => `${bin.when}\n${chart.told(bin)}`,
            stroke: "var(--line)",
          }),
        ),
      ],
    });
    svg.setAttribute("role", "img");
    place.replaceChildren(svg);
    place.dataset.width = width;
  };

  const embedded = read("rows");
  if (embedded) {
    document.addEventListener(
      "toggle",
      (event) => event.target.open && event.target.dataset.field && openRows(event.target, embedded),
      true,
    );
  }

  const data = read("charts");
  if (data) {
    const places = document.querySelectorAll("[data-chart]");
    const observer = new ResizeObserver((entries) =>
      entries.forEach((entry) => draw(entry.target, data)),
    );
    for (const place of places) {
      draw(place, data);
      observer.observe(place);
    }
    window.addEventListener("beforeprint", () => {
      observer.disconnect();
      places.forEach((place) => draw(place, data, PRINTED_WIDTH));
    });
    window.addEventListener("afterprint", () =>
      places.forEach((place) => observer.observe(place)),
    );
  }
})();
