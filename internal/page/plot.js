// A plot of the last five minutes: SVG in the pixels of its place, with axes,
// legend and a readout under the pointer, the finger or the arrow keys.

import { clock, el, say, svg } from "./format.js";

export const span = 300; // seconds that are shown
const gap = 2.5; // seconds without a sample at which a line ends
const far = 4; // times what is below it, at which a bound is left out
const edge = { left: 60, right: 4, top: 10, bottom: 24 };

const isFilled = (s) => s.kind !== "line" && s.kind !== "bound";

/** Cursor is the moment that all plots read out, in seconds before the newest sample; null is the newest. */
export class Cursor {
  ago = null;
  #watchers = [];

  watch(f) {
    this.#watchers.push(f);
  }

  set(ago) {
    const next = ago === null ? null : Math.min(span, Math.max(0, ago));
    if (next === this.ago) return;
    this.ago = next;
    for (const f of this.#watchers) f();
  }
}

/**
 * Plot draws series: {name, look, kind, value}. value takes a sample to a number
 * or undefined, look is a class of style.css, and kind is line, bound (a line
 * that is left out where it would press the others flat), area, rare (an area
 * that is not drawn while it is 0) or stack; what is stacked stands on what came
 * before it.
 */
export class Plot {
  #format;
  #floor;
  #cursor;
  #series = [];
  #samples = [];
  #end = 0; // time of the newest sample
  #size = { w: 0, h: 0 };

  /** floor is the least that the axis reaches to; empty is said when there is nothing to draw. */
  constructor(parent, cursor, { id, title, format, floor, empty }) {
    [this.#format, this.#floor, this.#cursor, this.empty] = [format, floor, cursor, empty];
    this.title = title;
    this.when = el("span", { class: "when" });
    this.legend = el("ul", { class: "legend" });
    this.drawing = svg("svg", { "aria-hidden": "true" });
    this.box = el("div", {
      class: "plot", role: "slider", tabindex: "0", "aria-label": `${title}: the last five minutes`,
      "aria-valuemin": -span, "aria-valuemax": 0, "aria-valuenow": 0,
    }, this.drawing);
    const head = el("div", { class: "plot-head" }, el("h2", { id: `${id}-title` }, title), this.when);
    this.card = el("section", { id, class: "card", "aria-labelledby": `${id}-title` }, head, this.legend, this.box);
    parent.append(this.card);
    this.#layers();
    this.#listen();
  }

  #layers() {
    this.grid = svg("g", { class: "grid" });
    this.lines = svg("g", { class: "lines" });
    this.hair = svg("line", { class: "hair", visibility: "hidden" });
    this.dots = svg("g", { class: "dots" });
    this.note = svg("text", { class: "note", "text-anchor": "middle" });
    this.drawing.append(this.grid, this.lines, this.hair, this.dots, this.note);
  }

  #listen() {
    new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      this.#size = { w: Math.floor(width), h: Math.floor(height) };
      this.#draw();
    }).observe(this.box);
    const point = (e) => {
      const { left } = this.box.getBoundingClientRect();
      const share = (e.clientX - left - edge.left) / this.#inner().w;
      this.#cursor.set(Math.round(span * (1 - share)));
    };
    this.box.addEventListener("pointermove", point);
    this.box.addEventListener("pointerdown", point);
    this.box.addEventListener("pointerleave", () => this.#cursor.set(null));
    this.box.addEventListener("blur", () => this.#cursor.set(null));
    this.box.addEventListener("keydown", (e) => this.#key(e));
    this.box.addEventListener("focus", () => this.#tell());
    this.#cursor.watch(() => {
      this.#read();
      if (document.activeElement === this.box) this.#tell();
    });
  }

  #key(e) {
    const ago = this.#cursor.ago ?? 0;
    const to = {
      ArrowLeft: ago + 1, ArrowDown: ago + 1, ArrowRight: ago - 1, ArrowUp: ago - 1,
      PageDown: ago + 30, PageUp: ago - 30, Home: span, End: 0, Escape: null,
    }[e.key];
    if (to === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    this.#cursor.set(to);
  }

  /** show draws samples, oldest first, each with its time in seconds as t. */
  show(series, samples) {
    if (series.length !== this.#series.length || series.some((s, i) => s.name !== this.#series[i].name)) {
      this.#makeLegend(series);
    }
    [this.#series, this.#samples, this.#end] = [series, samples, samples.at(-1)?.t ?? 0];
    this.#draw();
  }

  #makeLegend(series) {
    this.values = series.map(() => el("span", { class: "value" }));
    this.legend.replaceChildren(...series.map((s, i) => el("li", { title: s.name },
      el("span", { class: `swatch ${s.look} ${s.kind}` }), el("bdi", {}, s.name), this.values[i])));
    this.paths = series.map((s) => (isFilled(s) ? ["fill", "line"] : ["line"])
      .map((what) => svg("path", { class: `${what} ${s.look} ${s.kind}` })));
    // A stack is drawn from its top down: where a series is 0, its line lies on that of the one below, which is to be seen.
    const isStack = series.some((s) => s.kind === "stack");
    this.lines.replaceChildren(...(isStack ? [...this.paths].reverse() : this.paths).flat());
    this.dots.replaceChildren(...series.map((s) => svg("circle", { class: s.look, r: 3.5, visibility: "hidden" })));
  }

  #inner() {
    return { w: this.#size.w - edge.left - edge.right, h: this.#size.h - edge.top - edge.bottom };
  }

  #x(t) {
    return edge.left + this.#inner().w * (1 - (this.#end - t) / span);
  }

  #y(v) {
    return edge.top + this.#inner().h * (1 - v / this.top);
  }

  #draw() {
    if (this.#inner().w <= 0 || this.#inner().h <= 0) return;
    this.drawing.setAttribute("viewBox", `0 0 ${this.#size.w} ${this.#size.h}`);
    const rows = this.#rows();
    const highest = (kept) => Math.max(0, ...rows.flatMap((row, i) => (kept(this.#series[i]) ? row.map((p) => p.to) : [])));
    const most = Math.max(this.#floor, highest((s) => s.kind !== "bound"));
    const bound = highest((s) => s.kind === "bound");
    this.#scale(bound <= far * most ? Math.max(most, bound) : most);
    rows.forEach((row, i) => {
      if (this.#series[i].kind === "bound") row = row.filter((p) => p.to > 0 && p.to <= this.top);
      const [line, fill] = [...this.paths[i]].reverse();
      fill?.setAttribute("d", this.#area(row));
      line.setAttribute("d", this.#line(row));
    });
    this.note.setAttribute("x", edge.left + this.#inner().w / 2);
    this.note.setAttribute("y", edge.top + this.#inner().h / 2);
    say(this.note, this.#series.some((s) => this.#samples.some((at) => s.value(at) !== undefined)) ? "" : this.empty);
    this.#read();
  }

  /** rows is for each series what to draw: {t, from, to}, from being what it stands on. */
  #rows() {
    const under = new Map(); // what is stacked so far, by time
    return this.#series.map((s) => {
      const row = [];
      for (const sample of this.#samples) {
        const v = s.value(sample);
        if (v === undefined || (s.kind === "rare" && v === 0)) continue;
        const from = s.kind === "stack" ? under.get(sample.t) ?? 0 : 0;
        row.push({ t: sample.t, from, to: from + v });
        if (s.kind === "stack") under.set(sample.t, from + v);
      }
      return row;
    });
  }

  #line(row) {
    let d = "";
    const joined = (i) => i > 0 && i < row.length && row[i].t - row[i - 1].t < gap;
    row.forEach((p, i) => {
      const at = `${this.#x(p.t).toFixed(1)} ${this.#y(p.to).toFixed(1)}`;
      d += joined(i) ? `L${at}` : `M${at}`;
      if (!joined(i) && !joined(i + 1)) d += "m-2 0h4"; // a point by itself, wide enough to be seen
    });
    return d;
  }

  #area(row) {
    let d = "";
    for (let i = 0; i < row.length;) {
      let j = i + 1;
      while (j < row.length && row[j].t - row[j - 1].t < gap) j++;
      const part = row.slice(i, j);
      const at = (p, v) => `${this.#x(p.t).toFixed(1)} ${this.#y(v).toFixed(1)}`;
      d += `M${part.map((p) => at(p, p.to)).join("L")}L${part.reverse().map((p) => at(p, p.from)).join("L")}Z`;
      i = j;
    }
    return d;
  }

  /** scale sets the axes: steps of 1, 2 or 5, about four of them. */
  #scale(most) {
    const rough = most / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((s) => s * power >= rough * 0.999) * power;
    const steps = Math.ceil(most / step - 1e-9);
    this.top = step * steps;
    const drawn = [steps, step, this.#size.w, this.#size.h].join();
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const { w, h } = this.#inner();
    const parts = [];
    for (let i = 0; i <= steps; i++) {
      const y = Math.round(this.#y(i * step)) + 0.5;
      parts.push(svg("line", { x1: edge.left, x2: edge.left + w, y1: y, y2: y, class: i ? "" : "base" }));
      parts.push(this.#label(edge.left - 8, y + 4, "end", this.#format(i * step)));
    }
    for (const m of w < 330 ? [4, 2, 0] : [5, 4, 3, 2, 1, 0]) {
      const x = edge.left + w * (1 - m / 5);
      const anchor = m === 5 ? "start" : m ? "middle" : "end";
      parts.push(this.#label(x, edge.top + h + 18, anchor, m ? `−${m} min` : "now"));
    }
    this.grid.replaceChildren(...parts);
  }

  #label(x, y, anchor, text) {
    const t = svg("text", { x, y, "text-anchor": anchor });
    t.textContent = text;
    return t;
  }

  /** read writes the values at the cursor into the legend. */
  #read() {
    const ago = this.#cursor.ago;
    const at = this.#samples.length ? this.#nearest(this.#end - (ago ?? 0)) : undefined;
    const now = new Date(this.#end * 1000);
    const time = at ? clock(new Date(at.t * 1000), now) : "";
    say(this.when, ago === null ? "" : time);
    this.#series.forEach((s, i) => say(this.values[i], this.#format(at ? s.value(at) : undefined)));
    this.time = time;
    this.#point(ago === null ? undefined : at);
  }

  /** tell is for a screen reader, when its user comes or moves the cursor: not every second. */
  #tell() {
    const texts = this.#series.map((s, i) => `${s.name} ${this.values[i].textContent}`);
    this.box.setAttribute("aria-valuenow", -(this.#cursor.ago ?? 0));
    this.box.setAttribute("aria-valuetext", `${this.time}: ${texts.join(", ")}`);
  }

  #point(at) {
    this.hair.setAttribute("visibility", at ? "visible" : "hidden");
    if (at) {
      const x = Math.round(this.#x(at.t)) + 0.5;
      for (const [k, v] of Object.entries({ x1: x, x2: x, y1: edge.top, y2: edge.top + this.#inner().h })) {
        this.hair.setAttribute(k, v);
      }
    }
    let under = 0;
    [...this.dots.children].forEach((dot, i) => {
      const s = this.#series[i];
      const v = at ? s.value(at) : undefined;
      const drawn = v !== undefined && v <= this.top && (v > 0 || s.kind !== "rare");
      dot.setAttribute("visibility", drawn ? "visible" : "hidden");
      if (!drawn) return;
      if (s.kind === "stack") under += v;
      dot.setAttribute("cx", this.#x(at.t));
      dot.setAttribute("cy", this.#y(s.kind === "stack" ? under : v));
    });
  }

  #nearest(t) {
    let best = this.#samples[0];
    for (const s of this.#samples) if (Math.abs(s.t - t) <= Math.abs(best.t - t)) best = s;
    return Math.abs(best.t - t) < gap ? best : undefined;
  }
}

/** spark is the path of a small line through values, newest at the right, in a box of w by h. */
export function spark(values, w, h, room) {
  const most = 1.25 * Math.max(...values, 0); // from 0 on, so that a small change looks small
  if (!most) return "";
  const x = (i) => (w - 2 - ((values.length - 1 - i) * (w - 4)) / (room - 1)).toFixed(1);
  const y = (v) => (h - 2 - ((h - 4) * v) / most).toFixed(1);
  return values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}${i ? "" : "h0"}`).join("");
}
