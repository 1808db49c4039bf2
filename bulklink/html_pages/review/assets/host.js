// The host: the page of `bulklink ui`, which shows this one in a frame without an origin. It keeps
// the decisions, because such a frame has no storage, and asks for what is accepted when its own
// button is pressed. It speaks first, and both use the port that it sends.

const host = { port: null, isAwaited: false };

const tellHost = (message) => host.port?.postMessage(message);

const hearHost = ({ data }) => {
  if (data.kept !== undefined) decisions.stored = data.kept;
  if (data.decisions && !decisions.undos.length) takeOver(data.decisions);
  if (data.wants === "accepted") {
    tellHost({ columns: review.facts.columns, rows: mappingRows(acceptedChanges()) });
    decisions.downloaded = true;
  }
  notify();
};

const meetHost = () => {
  if (!host.port || !host.isAwaited) return;
  host.port.onmessage = hearHost;
  downloadButton.classList.remove("primary"); // the host has the button to go on with
  tellHost({ opened: review.facts.digest });
};

window.addEventListener("message", ({ source, data, ports }) => {
  const isOfHost = source === window.parent && source !== window;
  if (!isOfHost || data?.bulklink !== "review" || ports.length !== 1) return;
  [host.port] = ports;
  meetHost();
});
