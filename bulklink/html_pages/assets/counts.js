// Numbers with the words that agree with them.

const count = (number) => number.toLocaleString("en");
const countOf = (number, singular, plural = `${singular}s`) =>
  `${count(number)} ${number === 1 ? singular : plural}`;
