// Tables whose rows live on from one look to the next, so that a selection, the
// focus and the place in the page stay where they are.

import { count, el, say } from "./format.js";

const few = 20; // rows that are shown before somebody asks for all

/**
 * Table shows rows of columns {title, kind, make, set, text, known}. make gives a
 * cell its parts once, set writes a row's figures into it; without them text(row)
 * is the cell. A column that is not known of any row is hidden. On narrow screens
 * style.css makes a card of each row.
 */
export class Table {
  #columns;
  #noun;
  #rows = new Map(); // by key: {tr, cells}
  #all = false;
  #seen = [[], () => "", ""];

  constructor(section, { title, noun, empty, columns }) {
    [this.#columns, this.#noun, this.empty] = [columns, noun, empty];
    this.section = section;
    const id = `${section.id}-title`;
    this.title = el("h2", { id }, title);
    this.head = el("tr", { role: "row" }, ...columns.map((c) => el("th", { role: "columnheader", scope: "col", class: c.kind ?? "" }, c.title)));
    this.rows = el("tbody", { role: "rowgroup" });
    this.table = el("table", { role: "table", "aria-labelledby": id },
      el("thead", { role: "rowgroup" }, this.head), this.rows);
    this.none = el("p", { class: "none" });
    this.more = el("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => {
      this.#all = !this.#all;
      this.show(...this.#seen);
    });
    section.replaceChildren(this.title,
      el("div", { class: "scroll", role: "region", "aria-labelledby": id, tabindex: "0" }, this.table), this.none, this.more);
  }

  /** show writes items; key names each, and wanted is what its text must contain. */
  show(items, key, wanted) {
    this.#seen = [items, key, wanted];
    const found = wanted ? items.filter((item) => this.#text(item).includes(wanted)) : items;
    const shown = this.#all || found.length <= few ? found : found.slice(0, few);
    const hidden = this.#columns.map((c) => c.known !== undefined && !items.some(c.known));
    hidden.forEach((h, i) => { this.head.children[i].hidden = h; });
    const before = this.#rows;
    this.#rows = new Map();
    for (const item of shown) {
      const k = key(item);
      const row = before.get(k) ?? this.#make();
      this.#columns.forEach((c, i) => {
        row.cells[i].hidden = hidden[i];
        if (c.set) c.set(row.cells[i], item);
        else say(row.cells[i], c.text(item));
      });
      this.#rows.set(k, row);
    }
    this.#place([...this.#rows.values()].map((r) => r.tr));
    this.table.hidden = !shown.length;
    this.none.hidden = shown.length > 0;
    say(this.none, items.length ? "Nothing here matches." : this.empty);
    this.more.hidden = found.length <= few;
    say(this.more, this.#all ? `Show the first ${few}` : `Show all ${count(found.length, this.#noun)}`);
  }

  #text(item) {
    return this.#columns.map((c) => (c.text ? c.text(item) : "")).join("\n").toLowerCase();
  }

  #make() {
    const cells = this.#columns.map((c) => {
      const td = el("td", { role: "cell", "data-label": c.title, class: c.kind ?? "" });
      if (c.make) td.append(...c.make());
      return td;
    });
    return { tr: el("tr", { role: "row" }, ...cells), cells };
  }

  /** place puts rows in order and touches only those that moved. */
  #place(rows) {
    const wanted = new Set(rows);
    for (const tr of [...this.rows.children]) if (!wanted.has(tr)) tr.remove();
    rows.forEach((tr, i) => {
      if (this.rows.children[i] !== tr) this.rows.insertBefore(tr, this.rows.children[i] ?? null);
    });
  }
}
