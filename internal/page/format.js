// Numbers, times and elements for people. Nothing here keeps state.

const SVG = "http://www.w3.org/2000/svg";
const unknown = "–";
const joint = "\u00a0"; // between a figure and its unit: no line ends there

/** el makes an element; strings among the children become text and nothing else. */
export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

/** svg makes an element of a drawing. */
export function svg(tag, attributes = {}) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}

/** say sets the text of e if it is another, so that a selection in it survives. */
export function say(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

/** three gives a number three significant digits, without trailing zeros. */
function three(n) {
  return String(Number(n.toPrecision(3)));
}

export function whole(n) {
  return n === undefined ? unknown : Math.round(n).toLocaleString("en");
}

/** count is "no users", "1 user", "1,234 users". */
export function count(n, noun) {
  return `${n === 0 ? "no" : whole(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** bytes in SI units: 1 kB is 1,000 bytes. */
export function bytes(n) {
  if (n === undefined) return unknown;
  let unit = 0;
  while (n >= 999.5 && unit < 5) {
    n /= 1000;
    unit++;
  }
  return `${three(n)}${joint}${["B", "kB", "MB", "GB", "TB", "PB"][unit]}`;
}

export function rate(n) {
  return n === undefined ? unknown : `${bytes(n)}/s`;
}

/** short is a time as networks have it: 0.35 ms, 42 ms, 1.25 s. */
export function short(seconds) {
  if (seconds === undefined) return unknown;
  return seconds >= 0.9995 ? `${three(seconds)}${joint}s` : `${three(seconds * 1000)}${joint}ms`;
}

/** long is a time as people have it: 12 s, 3 min, 2 h 5 min, 4 d 3 h. */
export function long(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  const two = (a, unit, b, less) => [a, unit, ...(b ? [b, less] : [])].join(joint);
  if (d) return two(d, "d", h, "h");
  if (h) return two(h, "h", m, "min");
  return m ? `${m}${joint}min` : `${s}${joint}s`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** clock is the time of day here, with the day if it is not that of now. */
export function clock(time, now) {
  const day = dayFormat.format(time);
  return (day === dayFormat.format(now) ? "" : `${day} `) + clockFormat.format(time);
}

/** ratio is a share of all in per cent; 100 % only if it is. */
export function ratio(part, all) {
  if (!all) return unknown;
  const percent = (100 * part) / all;
  return `${percent > 99 && percent < 100 ? (Math.floor(percent * 10) / 10).toFixed(1) : Math.round(percent)}${joint}%`;
}
