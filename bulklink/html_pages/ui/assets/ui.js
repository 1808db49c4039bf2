"use strict";

/* Keeps a watched run current: the page is complete without it, and is reloaded where more than
   figures change. */
{
  const RETRY_MS = 2000;
  const STRANGER = [401, 403];
  const watched = document.querySelector("[data-watch]");
  const gone = document.getElementById("gone");
  const title = document.title;

  const valueAt = (values, path) => path.split(".").reduce((value, key) => value?.[key], values);

  const listItem = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  };

  const show = (values) => {
    for (const element of document.querySelectorAll("[data-live]")) {
      const value = valueAt(values, element.dataset.live);
      if (element instanceof HTMLProgressElement) {
        element.value = value ?? element.value;
      } else if (Array.isArray(value)) {
        if (element.childElementCount !== value.length) {
          element.replaceChildren(...value.map(listItem));
        }
      } else {
        const text = typeof value === "number" ? value.toLocaleString("en") : (value ?? "");
        if (element.textContent !== text) element.textContent = text;
      }
    }
    document.title = `${Math.floor(100 * (values.share ?? 0))}% ${title}`;
  };

  const say = (text) => {
    if (gone.textContent !== text) gone.textContent = text;
    gone.hidden = !text;
  };

  const watch = async (url) => {
    let version = -1;
    let question = null;
    for (;;) {
      try {
        const response = await fetch(`${url}&after=${version}`, { cache: "no-store" });
        if (STRANGER.includes(response.status)) {
          say("This address is of an earlier bulklink ui. Open the one that the current one printed.");
          return;
        }
        if (!response.ok) throw new Error(String(response.status));
        const values = await response.json();
        say("");
        const isNew = version >= 0 && (values.question ?? null) !== question;
        version = values.version;
        question = values.question ?? null;
        show(values);
        if (!values.active || isNew) {
          location.reload();
          return;
        }
      } catch {
        say("bulklink ui does not answer: the figures are the last ones. Is it still running?");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  };

  if (watched?.dataset.watch) watch(watched.dataset.watch);
}

/* Takes a dropped file as if it were chosen; the form works without this. */
{
  const form = document.querySelector("[data-drop]");

  const dropOn = (target, input, problem) => {
    const tell = (text) => {
      problem.textContent = text;
      problem.hidden = text === "";
    };
    const check = () => {
      const file = input.files[0];
      const isTooLarge = file !== undefined && file.size > Number(input.dataset.maxBytes);
      tell(isTooLarge ? `${file.name} is too large: plan it in a terminal.` : "");
      return !isTooLarge;
    };
    const mark = (isOver) => target.classList.toggle("over", isOver);

    input.addEventListener("change", check);
    target.addEventListener("submit", (event) => {
      if (!check()) event.preventDefault();
    });
    target.addEventListener("dragover", (event) => {
      event.preventDefault();
      mark(true);
    });
    target.addEventListener("dragleave", () => mark(false));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(false);
      const files = event.dataTransfer.files;
      if (files.length !== 1) {
        tell("Drop one file.");
        return;
      }
      input.files = files;
      check();
    });
  };

  if (form) {
    dropOn(form, form.querySelector("[type=file]"), form.querySelector("[data-drop-problem]"));
  }
}

/* Keeps the decisions of a review page, whose frame has no origin and so no storage, and uploads
   what is accepted there, once the button of this page is pressed. What the frame says is not
   trusted: the emails are counted here. */
{
  const DIGEST = /^[0-9a-f]{64}$/;
  const form = document.querySelector("[data-drop]");
  const frame = document.querySelector("iframe[data-review]");

  const countOf = (number) =>
    `${number.toLocaleString("en")} accepted ${number === 1 ? "email" : "emails"}`;

  const isRows = (rows) =>
    Array.isArray(rows) && rows.every((row) => Array.isArray(row) && row.length < 100);

  const mappingFile = (name, columns, rows) => {
    const lines = rows.map((row) => {
      const cells = columns.map((column, place) => [String(column), String(row[place] ?? "")]);
      return `${JSON.stringify(Object.fromEntries(cells))}\n`;
    });
    return new File(lines, name);
  };

  const review = { port: null, key: null, kept: true, accepted: 0, isWanted: false };
  const button = form?.querySelector("[data-check]");
  const status = form?.querySelector("[data-take-status]");
  const input = form?.querySelector("[type=file]");

  const showAccepted = (number) => {
    review.accepted = number;
    button.textContent = number ? `Check ${countOf(number)}` : "Nothing is accepted yet";
    button.disabled = number === 0;
  };

  const keep = (text) => {
    try {
      if (review.key && text !== undefined) localStorage.setItem(review.key, text);
      review.kept = true;
    } catch {
      review.kept = false;
    }
    return review.kept;
  };

  const open = (digest) => {
    review.key = `bulklink-review-${digest}`;
    let decisions = null;
    try {
      decisions = localStorage.getItem(review.key);
    } catch {
      review.kept = false;
    }
    review.port.postMessage({ decisions, kept: keep(decisions ?? "") });
    form.querySelector("[data-by-hand]").hidden = true;
    input.required = false;
    input.value = "";
    showAccepted(0);
  };

  const take = (columns, rows) => {
    review.isWanted = false;
    if (rows.length !== review.accepted) {
      showAccepted(rows.length);
      status.textContent = "The number of accepted emails is another one now. Press the button again.";
      return;
    }
    const transfer = new DataTransfer();
    transfer.items.add(mappingFile(input.dataset.name, columns, rows));
    input.files = transfer.files;
    form.submit();
  };

  const hear = ({ data }) => {
    if (DIGEST.test(data?.opened)) open(data.opened);
    else if (!review.key) return;
    else if (Number.isSafeInteger(data?.accepted) && data.accepted >= 0) showAccepted(data.accepted);
    else if (typeof data?.decisions === "string") {
      if (!keep(data.decisions)) review.port.postMessage({ kept: false });
    } else if (review.isWanted && Array.isArray(data?.columns) && isRows(data?.rows)) {
      take(data.columns, data.rows);
    }
  };

  const offer = () => {
    const { port1, port2 } = new MessageChannel();
    review.port = port1;
    port1.onmessage = hear;
    frame.contentWindow.postMessage({ bulklink: "review" }, "*", [port2]);
  };

  if (frame && form) {
    frame.addEventListener("load", offer);
    offer();
    form.addEventListener("submit", (event) => {
      if (!review.key || input.files.length) return;
      event.preventDefault();
      review.isWanted = true;
      review.port.postMessage({ wants: "accepted" });
    });
    window.addEventListener("pageshow", () => {
      if (review.key) input.value = "";
    });
    window.addEventListener("beforeunload", (event) => {
      if (!review.kept && review.accepted && !input.files.length) event.preventDefault();
    });
  }
}
