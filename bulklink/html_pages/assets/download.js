// Tables as CSV, and files that a page offers for download.

const csvCell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const csvLine = (cells) => `${cells.map((cell) => csvCell(String(cell ?? ""))).join(",")}\r\n`;

const REVOKE_DELAY = 60_000;

const downloadText = (name, text) => {
  const link = create("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_DELAY);
};
