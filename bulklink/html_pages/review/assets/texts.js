// Texts of the CRM, made visible as bulklink does everywhere: control characters, line breaks and
// bidirectional marks are shown as escapes. The data keep the exact text.

const ACTING = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const SHORT_ESCAPES = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const MOST_CHARACTERS = 300;

const escapeCharacter = (character) => {
  const code = character.codePointAt(0);
  const hex = (digits) => code.toString(16).padStart(digits, "0");
  if (character in SHORT_ESCAPES) return SHORT_ESCAPES[character];
  if (code < 0x100) return `\\x${hex(2)}`;
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
};

const visible = (text) => {
  const short = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
  return short.replace(ACTING, escapeCharacter);
};

const percent = (confidence) => {
  const share = 100 * Number(confidence);
  if (share >= 99.95 && share < 100) return "> 99.9 %";
  return share < 0.05 ? "< 0.1 %" : `${share.toFixed(1)} %`;
};

const localTime = (iso) => {
  const time = new Date(iso);
  if (iso === null || Number.isNaN(time.getTime())) return "no date";
  const two = (number) => String(number).padStart(2, "0");
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}`;
};
