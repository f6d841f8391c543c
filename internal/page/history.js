// What the program told of the last five minutes, and which services are drawn
// by name.

import { span } from "./plot.js";

const named = 8; // services with a colour of their own; the others are one
export const others = "others";

/** History keeps samples by their time, oldest first. */
export class History {
  samples = [];
  #slots = new Array(named).fill(null); // whose colour is whose, for as long as it is among the busiest

  /** since is the time of the newest sample, as the program wrote it. */
  get since() {
    return this.samples.at(-1)?.time;
  }

  /** add takes what is newer than what is known. */
  add(samples) {
    const last = this.samples.at(-1)?.t ?? -Infinity;
    for (const s of samples) {
      const t = Date.parse(s.time) / 1000;
      if (t > last) this.samples.push({ ...s, t, services: new Map(Object.entries(s.services)) });
    }
    const end = this.samples.at(-1)?.t ?? 0;
    this.samples = this.samples.filter((s) => s.t >= end - span);
  }

  clear() {
    this.samples = [];
    this.#slots.fill(null);
  }

  /** busiest is the services with the most bytes, each in its slot, and whether there are more. */
  busiest() {
    const sums = new Map();
    for (const s of this.samples) {
      for (const [name, b] of s.services) sums.set(name, (sums.get(name) ?? 0) + b.from_users + b.to_users);
    }
    const order = [...sums].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([name]) => name);
    const chosen = new Set(order.slice(0, named));
    this.#slots = this.#slots.map((name) => (chosen.has(name) ? name : null));
    for (const name of chosen) {
      if (!this.#slots.includes(name)) this.#slots[this.#slots.indexOf(null)] = name;
    }
    return { slots: this.#slots, more: order.length > named };
  }
}

/** moved is the bytes of a service in the second of a sample, both ways. */
export function moved(sample, name) {
  const b = sample.services.get(name);
  return b ? b.from_users + b.to_users : 0;
}

/** movedByOthers is the bytes of all but the named services. */
export function movedByOthers(sample, names) {
  let sum = 0;
  for (const [name, b] of sample.services) if (!names.includes(name)) sum += b.from_users + b.to_users;
  return sum;
}
