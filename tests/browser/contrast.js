// The texts of a page whose contrast with what is behind them is below 4.5 (WCAG 2, level AA).
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return { parts: [red, green, blue], alpha: alpha / 255 };
  };
  const blend = ({ parts, alpha }, behind) =>
    parts.map((part, n) => part * alpha + behind[n] * (1 - alpha));
  const luminance = (parts) => {
    const linear = parts.map((part) => part / 255).map((part) =>
      part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const chain = (element) => (element ? [...chain(element.parentElement), element] : []);
  const contrastOf = (element) => {
    const styles = chain(element).map((one) => getComputedStyle(one));
    const behind = styles.reduce((all, { backgroundColor }) => blend(parse(backgroundColor), all), [
      255, 255, 255,
    ]);
    const ink = parse(styles.at(-1).color);
    ink.alpha *= styles.reduce((all, { opacity }) => all * Number(opacity), 1);
    const [light, dark] = [luminance(blend(ink, behind)), luminance(behind)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const weak = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const isShown = walker.currentNode.data.trim() && element.getBoundingClientRect().width > 1;
    if (!isShown || element.closest("button:disabled")) continue;
    const contrast = contrastOf(element);
    if (contrast < 4.5) weak.add(`${element.className || element.tagName}: ${contrast.toFixed(2)}`);
  }
  return [...weak];
};
