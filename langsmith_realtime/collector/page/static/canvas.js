// Drawing on a canvas: its size, the colours and fonts of the page, and texts that fit.

// The colours by their names in base.css, and the two families of fonts.
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "sheet", "sunk", "band", "pick", "line", "ink", "ink-2", "ink-3", "user", "user-soft", "agent", "agent-soft", "tool", "wait", "edge", "slow", "slow-fill", "bad", "cut", "cut-soft", "sans", "mono"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// The context of an element's canvas: as large as the element, sharp, and empty.
export function cleared(parent) {
  const canvas = parent.querySelector("canvas");
  const scale = devicePixelRatio || 1;
  const [width, tall] = [parent.clientWidth, parent.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(tall * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(tall * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, tall);
  context.textBaseline = "alphabetic";
  context.textAlign = "left"; // of Arabic, too
  return context;
}

// A text that fits into the room, in pixels, with an ellipsis if it was cut; empty if there is too little room.
export function clipped(context, text, room) {
  if (room < 12) return "";
  if (context.measureText(text).width <= room) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low).replace(/[\ud800-\udbff]$/, "").trimEnd()}…` : ""; // no half of an emoji
}

// Diagonal lines, which meet those of a neighbouring area.
export function hatch(context, x, y, wide, tall, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, wide, tall);
  context.clip();
  context.strokeStyle = colour;
  context.globalAlpha = 0.55;
  context.lineWidth = 1;
  context.beginPath();
  const first = Math.floor(x / 7) * 7 - tall;
  for (let at = first; at < x + wide; at += 7) { context.moveTo(at, y + tall); context.lineTo(at + tall, y); }
  context.stroke();
  context.restore();
}
