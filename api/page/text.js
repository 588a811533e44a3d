// What attackers wrote becomes text and nothing else: every node is made here
// or with textContent, never from HTML.

// hidden are characters that show nothing, reorder what is around them, or
// would be taken for something else.
const hidden = /[\u0000-\u0009\u000b-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\ufff0-\ufffb]|[\ud800-\udfff](?![\udc00-\udfff])|[\u{e0000}-\u{e0fff}]/gu;

const names = { 9: "⇥", 13: "␍" };

// make returns an element with attributes and children, which are nodes or texts.
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== undefined && c !== null));
  return node;
}

// shown returns nodes for a text from outside, with what would not be seen
// made visible.
export function shown(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(hidden)) {
    if (found.index > end) nodes.push(text.slice(end, found.index));
    const code = found[0].codePointAt(0);
    const mark = names[code] ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0");
    nodes.push(make("span", { class: "mark", title: "a character that is not to be seen" }, mark));
    end = found.index + found[0].length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

// plain is shown as one text, for labels.
export function plain(text) {
  return text.replace(hidden, (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

const number = new Intl.NumberFormat("en");

export const count = (n) => number.format(n);

export const tags = (n) => `${count(n)} ${n === 1 ? "tag" : "tags"}`;

const pad = (n) => String(n).padStart(2, "0");

// clock is the time of day here, with the date unless it is today's.
export function clock(time) {
  const d = new Date(time);
  const hours = `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  const now = new Date();
  if (d.toDateString() === now.toDateString()) return hours;
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${hours}`;
}

// moment is a time element.
export function moment(time) {
  return make("time", { datetime: time, title: time }, clock(time));
}
