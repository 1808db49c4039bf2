// Texts become text nodes: nothing of a mapping, an email or an answer is ever markup.

const create = (name, text, className) => {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
};
