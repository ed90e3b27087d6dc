"use strict";
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = ["circle", "square", "triangle", "diamond"];

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Round steps between low and high, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(+v.toPrecision(10));
  return found;
}

/** 1, 2 and 5 times powers of ten between low and high. */
function logTicks(low, high, few) {
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const m of few ? [1] : [1, 2, 5]) {
      const v = m * Math.pow(10, p);
      if (v >= low * 0.999 && v <= high * 1.001) found.push(+v.toPrecision(6));
    }
  return found;
}

function marker(shape, x, y, r, colour) {
  const at = { fill: colour };
  if (shape === "circle") return node("circle", { ...at, cx: x, cy: y, r });
  if (shape === "square") return node("rect", { ...at, x: x - r * 0.9, y: y - r * 0.9, width: r * 1.8, height: r * 1.8 });
  const points = shape === "triangle"
    ? [[0, -1.25], [1.15, 0.8], [-1.15, 0.8]]
    : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
  return node("polygon", { ...at, points: points.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" ") });
}

/** Map a range of values to pixels. */
function scale(low, high, from, to, log) {
  const f = log ? Math.log10 : (v) => v;
  const a = f(low), b = f(high);
  return (v) => from + ((f(v) - a) / (b - a || 1)) * (to - from);
}

/**
 * A chart of series [{name, colour, shape, dash, wide, points: [{x, y, text}], label}].
 * frame: {x: [low, high], y: [low, high], logX, xTitle, yTitle, title}
 */
function chart(host, series, frame) {
  const width = Math.max(host.clientWidth, 280), narrow = width < 560;
  const height = Math.round(Math.min(Math.max(width * 0.55, 300), 480));
  const box = { left: 44, right: width - 14, top: 12, bottom: height - 42 };
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": frame.title });
  const sx = scale(...frame.x, box.left, box.right, frame.logX), sy = scale(...frame.y, box.bottom, box.top, false);
  axes(svg, frame, box, sx, sy, narrow);
  const clip = `clip-${host.id}`;
  const shape = node("clipPath", { id: clip });
  shape.append(node("rect", { x: box.left - 6, y: box.top - 6, width: box.right - box.left + 12, height: box.bottom - box.top + 12 }));
  svg.append(shape);
  const inside = node("g", { "clip-path": `url(#${clip})` });
  for (const one of series) draw(inside, one, sx, sy);
  svg.append(inside);
  const taken = [];
  for (const one of series) label(svg, one, sx, sy, box, taken);
  host.replaceChildren(svg);
}

function axes(svg, frame, box, sx, sy, narrow) {
  const across = frame.logX ? logTicks(...frame.x, narrow && frame.x[1] / frame.x[0] > 100) : ticks(...frame.x, narrow ? 4 : 8);
  for (const v of across) {
    svg.append(node("line", { class: "grid", x1: sx(v), x2: sx(v), y1: box.top, y2: box.bottom }));
    svg.append(node("text", { x: sx(v), y: box.bottom + 17, "text-anchor": "middle" }, v));
  }
  for (const v of ticks(...frame.y, 6)) {
    svg.append(node("line", { class: "grid", x1: box.left, x2: box.right, y1: sy(v), y2: sy(v) }));
    svg.append(node("text", { x: box.left - 6, y: sy(v) + 4, "text-anchor": "end" }, v));
  }
  svg.append(node("text", { class: "name", x: box.right, y: box.bottom + 36, "text-anchor": "end" }, frame.xTitle));
  svg.append(node("text", { class: "name", x: box.left + 6, y: box.top + 10 }, frame.yTitle));
}

function draw(group, one, sx, sy) {
  if (one.points.length > 1) {
    const path = one.points.map((p, i) => `${i ? "L" : "M"}${sx(p.x).toFixed(1)} ${sy(p.y).toFixed(1)}`).join("");
    group.append(node("path", {
      d: path, fill: "none", stroke: one.colour, "stroke-width": one.wide ? 3 : 1.8,
      "stroke-dasharray": one.dash ? "5 4" : "none", "stroke-linejoin": "round",
    }));
  }
  for (const p of one.points) {
    const mark = marker(one.shape, sx(p.x), sy(p.y), one.wide ? 4.5 : 3.6, one.colour);
    const hit = node("circle", { class: "hit", cx: sx(p.x), cy: sy(p.y), r: 12, tabindex: 0, role: "img", "aria-label": p.text });
    for (const event of ["pointerenter", "focus"]) hit.addEventListener(event, () => tell(hit, p.text));
    for (const event of ["pointerleave", "blur"]) hit.addEventListener(event, hush);
    group.append(mark, hit);
  }
}

/** A name beside a point, moved up or down until it covers no other. */
function label(svg, one, sx, sy, box, taken) {
  if (!one.label || !one.points.length) return;
  const p = one.points[one.points.length - 1], long = one.label.length * 7;
  const right = sx(p.x) > (box.left + box.right) / 2;
  const from = right ? sx(p.x) - 9 - long : sx(p.x) + 9;
  const free = (y) => taken.every((t) => Math.abs(t.y - y) > 13 || t.from > from + long || t.from + t.long < from);
  const y = [0, -14, 14, -28, 28, -42].map((shift) => sy(p.y) + 4 + shift).find(free) ?? sy(p.y) + 4;
  taken.push({ from, long, y });
  svg.append(node("text", {
    class: "name", x: sx(p.x) + (right ? -9 : 9), y, "text-anchor": right ? "end" : "start",
  }, one.label));
}

function tell(target, text) {
  const tip = document.getElementById("tip"), at = target.getBoundingClientRect();
  tip.textContent = text;
  tip.hidden = false;
  const left = Math.min(at.left + 18, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 8) + window.scrollX}px`;
  tip.style.top = `${at.top + window.scrollY - tip.offsetHeight - 4}px`;
}

function hush() {
  document.getElementById("tip").hidden = true;
}
