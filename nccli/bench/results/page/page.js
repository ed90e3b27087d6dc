const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = {
  psnr: { title: "PSNR", axis: "PSNR, dB", of: (p) => p.psnr },
  ms_ssim: { title: "MS-SSIM", axis: "MS-SSIM, dB", of: (p) => (p.ms_ssim === null ? null : -10 * Math.log10(Math.max(1 - p.ms_ssim, 1e-10))) },
  lpips: { title: "LPIPS", axis: "LPIPS, dB", of: (p) => (p.lpips === null ? null : -10 * Math.log10(Math.max(p.lpips, 1e-10))) },
  psnr_roi: { title: "PSNR in ROI", axis: "PSNR in ROI, dB", of: (p) => p.psnr_roi },
};
const COLOURS = 12;
const byId = (id) => document.getElementById(id);
const measured = DATA.entries.filter((e) => !e.published);
const shown = new Set(DATA.entries.filter((e) => !e.published || !measured.length).map((e) => e.codec));

DATA.entries.forEach((entry, i) => {
  entry.colour = `var(--c${i % COLOURS})`;
  entry.shape = SHAPES[i % SHAPES.length];
  entry.own = !entry.published && /^ncc/.test(entry.codec);
});

function element(name, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
  return made;
}

/** Fill a table; each row is {cells, kind}. */
function fill(id, titles, rows) {
  const head = element("thead"), line = element("tr"), body = element("tbody");
  for (const title of titles) line.append(element("th", title, { scope: "col" }));
  head.append(line);
  for (const row of rows) {
    const made = element("tr", null, row.kind ? { class: row.kind } : {});
    row.cells.forEach((cell, i) => made.append(element(i ? "td" : "th", cell, i ? {} : { scope: "row" })));
    body.append(made);
  }
  byId(id).replaceChildren(head, body);
}

const fixed = (v, digits) => (v === null || v === undefined ? "–" : v.toFixed(digits).replace("-", "−"));
const signed = (v) => (v > 0 ? "+" : "") + fixed(v, 1) + " %";
const times = (v) => (v === null ? "–" : "× " + (v >= 100 ? v.toFixed(0) : v.toPrecision(3)));
const usedMetrics = Object.keys(METRICS).filter((m) => DATA.entries.some((e) => e.curve.some((p) => METRICS[m].of(p) !== null)));
const titleOf = (entry) => entry.title + (entry.published ? " (published)" : "");

function bdTable() {
  const rank = (e) => (e.bd.psnr ? e.bd.psnr.percent : Infinity);
  const rows = [...DATA.entries].sort((a, b) => rank(a) - rank(b)).map((e) => ({
    kind: e.own ? "own" : e.published ? "published" : "",
    cells: [
      titleOf(e),
      ...usedMetrics.map((m) => (e.codec === DATA.anchor && !e.published ? "anchor" : e.bd[m] ? signed(e.bd[m].percent) : "–")),
      times(e.encode_ratio), times(e.decode_ratio), e.peak_mb === null ? "–" : fixed(e.peak_mb, 0) + " MB",
    ],
  }));
  fill("bd", ["Codec", ...usedMetrics.map((m) => METRICS[m].title), "Encoding", "Decoding", "Memory"], rows);
}

function rdChart() {
  const metric = METRICS[byId("metric").value], log = byId("log").checked;
  const series = DATA.entries.filter((e) => shown.has(e.codec)).map((e) => ({
    name: e.title, colour: e.colour, shape: e.shape, dash: e.published, wide: e.own,
    points: e.curve.filter((p) => metric.of(p) !== null).map((p) => ({
      x: p.bpp, y: metric.of(p),
      text: `${titleOf(e)}${p.setting === null ? "" : `, ${e.knob} ${p.setting}`}: ${fixed(p.bpp, 3)} bpp, ${fixed(metric.of(p), 2)} dB`,
    })),
  }));
  const all = series.flatMap((s) => s.points), rates = all.map((p) => p.x);
  const top = log ? Math.max(...rates, 0.1) : Math.min(Math.max(...rates, 0.1), 2);
  const within = all.filter((p) => p.x <= top).map((p) => p.y);
  const low = Math.floor(Math.min(...within, 100)), high = Math.ceil(Math.max(...within, low + 1));
  chart(byId("rd"), series, {
    x: [log ? Math.min(...rates, top / 2) : 0, top], y: [low, high], logX: log,
    xTitle: "bits per pixel", yTitle: metric.axis, title: `${metric.title} by rate`,
  });
}

function timeChart() {
  const kind = byId("time-kind").value;
  const anchor = (e) => e.codec === DATA.anchor;
  const points = measured.filter((e) => e[kind] !== null && (e.bd.psnr || anchor(e)));
  const series = points.map((e) => {
    const y = anchor(e) ? 0 : e.bd.psnr.percent;
    return { name: e.title, colour: e.colour, shape: e.shape, wide: e.own, label: e.title,
      points: [{ x: e[kind], y, text: `${e.title}: ${times(e[kind])} time, ${signed(y)} rate` }] };
  });
  const xs = points.map((e) => e[kind]), ys = series.map((s) => s.points[0].y);
  const pad = Math.max((Math.max(...ys, 1) - Math.min(...ys, 0)) * 0.08, 2);
  chart(byId("time"), series, {
    x: [Math.min(...xs, 1) / 1.6, Math.max(...xs, 1) * 1.6], y: [Math.min(...ys, 0) - pad, Math.max(...ys, 0) + pad],
    logX: true, xTitle: "time as a multiple of the anchor's", yTitle: "BD-rate (PSNR), %", title: "BD-rate by time",
  });
}

function legend() {
  byId("legend").replaceChildren(...DATA.entries.map((e) => {
    const button = element("button", null, { type: "button", "aria-pressed": shown.has(e.codec) });
    const icon = node("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" });
    icon.append(marker(e.shape, 7, 7, 4.6, e.colour));
    button.append(icon, titleOf(e));
    button.addEventListener("click", () => {
      if (!shown.delete(e.codec)) shown.add(e.codec);
      button.setAttribute("aria-pressed", shown.has(e.codec));
      rdChart();
    });
    return button;
  }));
}

function pointsTable() {
  const rows = DATA.entries.flatMap((e) => e.curve.map((p) => ({
    kind: e.published ? "published" : "",
    cells: [titleOf(e), p.setting === null ? "–" : `${e.knob} ${p.setting}`, fixed(p.bpp, 4), fixed(p.psnr, 2), fixed(p.ms_ssim, 4), fixed(p.encode_s, 3), fixed(p.decode_s, 3)],
  })));
  fill("points", ["Codec", "Setting", "bpp", "PSNR, dB", "MS-SSIM", "Encoding, s", "Decoding, s"], rows);
}

function choices(id, options, chosen) {
  byId(id).replaceChildren(...options.map(([value, text]) => element("option", text, { value })));
  if (chosen !== undefined) byId(id).value = chosen;
}

function eye() {
  if (!DATA.pictures.length) return byId("eye").remove();
  choices("picture", DATA.pictures.map((p, i) => [i, p.name]));
  choices("rate", DATA.targets.map((t, i) => [i, `about ${t} bpp`]), Math.min(1, DATA.targets.length - 1));
  const names = [["", "original"], ...DATA.pictures[0].sides.map((s) => [s.codec, s.title])];
  const first = (measured.find((e) => e.own) || measured[0]).codec;
  const other = [DATA.anchor, ...measured.map((e) => e.codec)].find((c) => c !== first);
  choices("left", names, first);
  choices("right", names, other === undefined ? "" : other);
  for (const id of ["picture", "rate", "left", "right"]) byId(id).addEventListener("change", look);
  byId("slide").addEventListener("input", slide);
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = byId("stage").getBoundingClientRect();
    byId("slide").value = ((event.clientX - box.left) / box.width) * 100;
    slide();
  };
  for (const kind of ["pointerdown", "pointermove"]) byId("stage").addEventListener(kind, drag);
  look();
}

function look() {
  const picture = DATA.pictures[byId("picture").value];
  for (const side of ["left", "right"]) {
    const found = picture.sides.find((s) => s.codec === byId(side).value);
    const item = found && found.items[byId("rate").value];
    const text = item
      ? `${found.title}: ${item.bytes.toLocaleString("en")} bytes, ${fixed(item.bpp, 3)} bpp, ${fixed(item.psnr, 2)} dB`
      : found ? `${found.title}: not available at this rate` : "original";
    byId(`img-${side}`).src = DATA.uris[item ? item.uri : picture.original];
    byId(`img-${side}`).alt = `${picture.name}, ${text}`;
    byId(`cap-${side}`).textContent = text;
  }
  slide();
}

function slide() {
  const share = byId("slide").value;
  byId("img-left").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  byId("seam").style.left = `${share}%`;
}

function facts() {
  const m = DATA.machine, count = DATA.images.length;
  byId("facts").textContent = `${count} ${count === 1 ? "picture" : "pictures"}, ${measured.length} codecs, interpolation ${DATA.method}`;
  byId("anchor").textContent = (DATA.entries.find((e) => e.codec === DATA.anchor) || { title: DATA.anchor }).title;
  byId("machine").textContent = `${m.processor}, ${m.cores} cores, ${m.system}, Python ${m.python}; ${DATA.threads} thread(s) and ${DATA.workers} process(es) per codec.`;
  const notes = DATA.missing.map((x) => `${x.codec} was left out: ${x.why}.`);
  if (DATA.left_out.length) notes.push(`Left out, since a codec failed on them: ${DATA.left_out.join(", ")}.`);
  byId("notes").textContent = notes.join(" ");
  fill("settings", ["Codec", "Runs on", "Settings"], DATA.entries.map((e) => ({ cells: [titleOf(e), e.release, e.about] })));
  if (!DATA.agreement.length) return byId("agree").remove();
  const cell = (v) => (v === null ? "–" : signed(v));
  fill("agreement", ["Codec", "Published as", "Against its published curve", "Against the anchor", "Published against published anchor", "Within 5 points"],
    DATA.agreement.map((a) => ({ cells: [a.codec, a.published, signed(a.direct), cell(a.measured), cell(a.expected), a.agrees ? "yes" : "no"] })));
}

facts();
bdTable();
choices("metric", usedMetrics.map((m) => [m, METRICS[m].title]));
legend();
pointsTable();
eye();
const redraw = () => { rdChart(); timeChart(); };
for (const id of ["metric", "log"]) byId(id).addEventListener("change", rdChart);
byId("time-kind").addEventListener("change", timeChart);
new ResizeObserver(redraw).observe(byId("rd"));
redraw();
