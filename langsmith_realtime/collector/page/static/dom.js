// Builds elements. Text becomes text nodes only, and links are made from ids, so nothing that anybody said is markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

const PATHS = {
  back: "M10 3 5 8l5 5",
  forward: "m6 3 5 5-5 5",
  up: "m3 10 5-5 5 5",
  down: "m3 6 5 5 5-5",
  search: "M11 11l3.5 3.5M12.5 7a5 5 0 1 1-10 0 5 5 0 0 1 10 0",
  link: "M6.5 9.5l3-3M7 4.5l1.4-1.4a3 3 0 0 1 4.5 4.5L11.500 9M9 11.500l-1.400 1.400a3 3 0 0 1-4.500-4.500L4.500 7",
  download: "M8 2v8.500M4.500 7.500 8 11l3.500-3.500M2.500 14h11",
  keys: "M1.500 4h13v8h-13zM4 6.500h.01M6.700 6.500h.01M9.300 6.500h.01M12 6.500h.01M5 9.500h6",
  play: "M5 3l8 5-8 5z",
  pause: "M5 3v10M11 3v10",
  flag: "M3.500 14.500v-12h9l-2 3 2 3h-9",
  follow: "M8 1.500v4M8 10.500v4M1.500 8h4M10.500 8h4M10 8a2 2 0 1 1-4 0 2 2 0 0 1 4 0",
  minus: "M3 8h10",
  plus: "M3 8h10M8 3v10",
  whole: "M2 4v8M14 4v8M4.500 8h7M6.500 6l-2 2 2 2M9.500 6l2 2-2 2",
  cut: "M4 5.500l9 6M4 10.500l9-6M5.500 4.500a2 2 0 1 1-4 0 2 2 0 0 1 4 0M5.500 11.500a2 2 0 1 1-4 0 2 2 0 0 1 4 0",
};

export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}

// Sets a text only if it differs, so that an equal one costs no layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.status === 204) return null;
  if (!answer.ok) {
    const error = new Error((await answer.json().catch(() => ({}))).detail || `The collector answers ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return answer.json();
}

// Keeps the focus on the button at the same place when a part of the page is built anew.
export function keepFocus(container, build) {
  const place = [...container.querySelectorAll("button, a")].indexOf(document.activeElement);
  build();
  if (place >= 0) container.querySelectorAll("button, a")[place]?.focus();
}

// The rows in an element. A row whose content did not change stays, with its focus and what is open in it. A row that
// is built anew keeps the focus on its button or link at the same place.
export class Rows {
  constructor(element) {
    this.element = element;
    this.rows = new Map();
  }

  // `wanted` has a key, a text that differs when the content does, and a function that builds the row, for each row.
  show(wanted) {
    const rows = new Map();
    for (const [key, content, build] of wanted) {
      const row = this.rows.get(key);
      rows.set(key, row?.content === content ? row : { content, element: build() });
    }
    const [key, focused] = [...this.rows].find(([, row]) => row.element.contains(document.activeElement)) ?? [];
    const place = focused ? [...focused.element.querySelectorAll("button, a")].indexOf(document.activeElement) : -1;
    for (const [each, row] of this.rows) if (rows.get(each) !== row) row.element.remove();
    this.rows = rows;
    let next = this.element.firstChild;
    for (const { element } of rows.values()) {
      if (element === next) next = next.nextSibling;
      else this.element.insertBefore(element, next);
    }
    while (next) {
      const rest = next;
      next = next.nextSibling;
      rest.remove();
    }
    if (place >= 0 && rows.get(key) !== focused) this.get(key)?.querySelectorAll("button, a")[place]?.focus({ preventScroll: true });
  }

  get(key) { return this.rows.get(key)?.element; }
}

// Keys never act with a modifier, nor while something is typed.
export function onKey(handle) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (typing && !(event.target.type === "range")) return;
    if (handle(event.key, event)) event.preventDefault();
  });
}
