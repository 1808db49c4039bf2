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
