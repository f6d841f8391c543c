// The parts of the page below the sentence: plots, tables, events and totals.

import { bytes, clock, count, el, long, rate, ratio, say, short, svg, whole } from "./format.js";
import { moved, movedByOthers, others } from "./history.js";
import { isClient } from "./judge.js";
import { Cursor, Plot, spark } from "./plot.js";
import { Table } from "./table.js";

const sparkRoom = 60; // seconds of round trips beside a session

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const serviceKey = (s) => JSON.stringify([s.client, s.network, s.name, s.address]);
const sessionKey = (s) => JSON.stringify([s.client, s.address, s.since]);

/** plots makes the four plots and returns what draws a history into them. */
export function plots(parent) {
  const cursor = new Cursor();
  const connections = new Plot(parent, cursor, {
    id: "connections", title: "Connections that stand ready", format: whole, floor: 4, empty: "No figures yet",
  });
  const time = new Plot(parent, cursor, {
    id: "latency", title: "First byte", format: short, floor: 0.001, empty: "",
  });
  const throughput = new Plot(parent, cursor, {
    id: "throughput", title: "Throughput", format: rate, floor: 1000, empty: "No services yet",
  });
  const users = new Plot(parent, cursor, {
    id: "users", title: "Users", format: whole, floor: 4, empty: "No figures yet",
  });
  return (status, history) => {
    connections.show([
      { name: "ready", look: "c1", kind: "area", value: (s) => s.idle },
      { name: "capacity", look: "c0 dashed", kind: "bound", value: (s) => s.capacity },
      { name: "users waiting", look: "c2", kind: "rare", value: (s) => s.waiting },
    ], history.samples);
    showTimes(time, status, history);
    throughput.show(byService(status, history), history.samples);
    users.show([{ name: "open", look: "c3", kind: "area", value: (s) => s.open }], history.samples);
  };
}

/** showTimes draws what a program knows: what its users see, and a client its path. */
function showTimes(plot, status, history) {
  const client = isClient(status);
  const title = client ? "Round trip to the server" : "First byte from the target";
  say(plot.card.querySelector("h2"), title);
  plot.box.setAttribute("aria-label", `${title}: the last five minutes`);
  plot.empty = client ? "Not connected" : "No new users";
  const roundTrip = [{ name: "round trip", look: "c1", kind: "line", value: (s) => s.round_trip_seconds }];
  const firstByte = [
    { name: "50 % within", look: "c1", kind: "line", value: (s) => s.first_byte_p50_seconds },
    { name: "99 % within", look: "c2", kind: "line", value: (s) => s.first_byte_p99_seconds },
  ];
  plot.show(client ? roundTrip : firstByte, history.samples);
}

function byService(status, history) {
  const own = isClient(status) ? `${status.name}/` : ""; // said once, at the top
  const { slots, more } = history.busiest();
  const names = slots.filter((name) => name !== null);
  const series = slots.flatMap((name, i) => name === null ? [] : [
    { name: name.startsWith(own) ? name.slice(own.length) : name, look: `c${i + 1}`, kind: "stack", value: (s) => moved(s, name) },
  ]);
  if (more) series.push({ name: others, look: "c0", kind: "stack", value: (s) => movedByOthers(s, names) });
  return series;
}

/** Rates is bytes per second of each service, from one status to the next, and at first what the history has. */
class Rates {
  #before = new Map();
  #at = 0;
  #now = new Map();
  #last = new Map();

  take(status, history) {
    this.#last = history.samples.at(-1)?.services ?? this.#last;
    const at = Date.parse(status.now) / 1000;
    const passed = at - this.#at;
    const sums = new Map();
    this.#now = new Map();
    for (const s of [...status.services, ...status.forwards]) {
      const k = serviceKey(s);
      const b = this.#before.get(k);
      sums.set(k, s);
      if (b && passed > 0 && s.bytes_to_users >= b.bytes_to_users && s.bytes_from_users >= b.bytes_from_users) {
        this.#now.set(k, {
          to: (s.bytes_to_users - b.bytes_to_users) / passed,
          from: (s.bytes_from_users - b.bytes_from_users) / passed,
        });
      }
    }
    [this.#before, this.#at] = [sums, at];
  }

  of(service) {
    const told = this.#last.get(`${service.client}/${service.name}`);
    return this.#now.get(serviceKey(service)) ?? { to: told?.to_users, from: told?.from_users };
  }
}

/** twoLines is a cell with a figure and a lesser one below it. */
function twoLines(first, second) {
  return {
    kind: "figure",
    make: () => [el("span", { class: "main" }), el("span", { class: "less" })],
    set: (td, row) => {
      say(td.children[0], first(row));
      say(td.children[1], second(row));
    },
  };
}

const named = {
  kind: "name",
  make: () => [el("bdi", { class: "main" }), el("bdi", { class: "less" })],
};

/** serviceTable is for services and forwards. */
export function serviceTable(section, { title, noun, empty }) {
  const rates = new Rates();
  let client = false;
  const label = (s) => [client ? "" : s.client, s.name || s.target].filter(Boolean).join("/");
  const note = (s) => [s.network !== "tcp" ? s.network : "", s.group ? `group ${s.group}` : ""].filter(Boolean).join(", ");
  const state = (s) => (s.up ? "up" : "down");
  const first = (s) => s.first_byte?.count ? short(s.first_byte.p50_seconds) : "–";
  const table = new Table(section, {
    title, noun, empty,
    columns: [
      { title: "Name", ...named, text: (s) => `${label(s)} ${note(s)}`, set: (td, s) => {
        td.title = label(s); // long ones are cut
        say(td.children[0], label(s));
        say(td.children[1], note(s));
      } },
      { title: "State", kind: "state", text: (s) => `${state(s)} ${s.reason}`,
        make: () => [el("span", { class: "badge" }), el("span", { class: "less" })],
        set: (td, s) => {
          td.children[0].className = `badge ${s.up ? "ok" : "bad"}`;
          say(td.children[0], state(s));
          say(td.children[1], s.up ? "" : s.reason);
        } },
      { title: "Users reach", kind: "address", text: (s) => s.address || "–", known: (s) => s.address },
      { title: "Target", kind: "address", text: (s) => s.target || "–", known: (s) => s.target },
      { title: "Users", ...twoLines((s) => whole(s.open), (s) => `${whole(s.streams)} served`) },
      { title: "To users", ...twoLines((s) => rate(rates.of(s).to), (s) => bytes(s.bytes_to_users)) },
      { title: "From users", ...twoLines((s) => rate(rates.of(s).from), (s) => bytes(s.bytes_from_users)) },
      { title: "First byte", known: (s) => s.first_byte, ...twoLines(first, (s) => s.first_byte?.count ? `99 % ${short(s.first_byte.p99_seconds)}` : "") },
    ],
  });
  return (status, history, services, wanted) => {
    client = isClient(status);
    rates.take(status, history);
    const order = [...services].sort((a, b) => a.up - b.up || byText(label(a), label(b)) || byText(a.address, b.address));
    table.show(order, serviceKey, wanted);
  };
}

/** Trips is the latest round trips of each session. */
class Trips {
  #known = new Map();

  take(status, history) {
    const before = this.#known;
    this.#known = new Map();
    for (const s of status.sessions) {
      const k = sessionKey(s);
      const trips = before.get(k) ?? (status.sessions.length === 1 ? seed(s, history) : []);
      if (s.round_trip_seconds !== undefined) trips.push(s.round_trip_seconds);
      this.#known.set(k, trips.slice(-sparkRoom));
    }
  }

  of(session) {
    return this.#known.get(sessionKey(session)) ?? [];
  }
}

/** seed is what the history says of the only session there is. */
function seed(session, history) {
  const since = Date.parse(session.since) / 1000;
  return history.samples.filter((s) => s.t >= since && s.round_trip_seconds !== undefined)
    .map((s) => s.round_trip_seconds).slice(0, -1);
}

export function sessionTable(section) {
  const trips = new Trips();
  let now = new Date();
  const w = 88, h = 24;
  const table = new Table(section, {
    title: "Sessions", noun: "session", empty: "No client is connected.",
    columns: [
      { title: "Client", ...named, text: (s) => s.client, set: (td, s) => {
        td.title = s.client;
        say(td.children[0], s.client || "–");
      } },
      { title: "Address", kind: "address", text: (s) => s.address },
      { title: "Round trip", kind: "trip",
        make: () => {
          const drawing = svg("svg", { viewBox: `0 0 ${w} ${h}`, width: w, height: h, "aria-hidden": "true", class: "spark" });
          drawing.append(svg("path", { class: "line c1" }));
          return [drawing, el("span", { class: "main" })];
        },
        set: (td, s) => {
          td.children[0].firstChild.setAttribute("d", spark(trips.of(s), w, h, sparkRoom));
          say(td.children[1], short(s.round_trip_seconds));
        } },
      { title: "Users", kind: "figure", text: (s) => whole(s.open) },
      { title: "Ready", ...twoLines((s) => whole(s.pool.idle), (s) => `of ${whole(s.pool.capacity)}`) },
      { title: "Carriers", kind: "figure", text: (s) => whole(s.carriers) },
      { title: "Key", kind: "address", text: (s) => s.key || "–", known: (s) => s.key },
      { title: "Connected", ...twoLines((s) => long((now - new Date(s.since)) / 1000), (s) => clock(new Date(s.since), now)) },
    ],
  });
  return (status, history, wanted) => {
    now = new Date(status.now);
    say(table.title, isClient(status) ? "Session" : "Sessions");
    table.empty = isClient(status) ? "Not connected." : "No client is connected.";
    trips.take(status, history);
    const order = [...status.sessions].sort((a, b) => byText(a.client, b.client) || byText(a.address, b.address));
    table.show(order, sessionKey, wanted);
  };
}

const levels = { debug: "debug", info: "info", warn: "warning", warning: "warning", error: "error" };

/** showEvents lists events, newest first. */
export function showEvents(list, status, wanted) {
  const now = new Date(status.now);
  const events = status.events.filter((e) => !wanted || `${e.event} ${e.text}`.toLowerCase().includes(wanted)).reverse();
  const print = JSON.stringify(events);
  if (list.shown === print) return;
  list.shown = print;
  list.replaceChildren(...events.map((e) => {
    const level = levels[String(e.level).toLowerCase()] ?? "info";
    return el("li", { class: level },
      el("time", { datetime: e.time }, clock(new Date(e.time), now)),
      el("span", { class: `level ${level}` }, level),
      el("bdi", { class: "what" }, e.text));
  }));
  if (!events.length) list.append(el("li", { class: "none" }, status.events.length ? "Nothing here matches." : "Nothing has happened yet."));
}

/** showTotals lists what was counted since the program started. */
export function showTotals(list, status) {
  const { users, door } = status;
  const rows = [["Users served", whole(users.streams), ""]];
  if (door) {
    rows.push(
      ["Went on a carrier", whole(users.carried), ""],
      ["Turned away", whole(users.timeouts + users.overflow), why({ "waited too long": users.timeouts, "too many waited": users.overflow })],
    );
  }
  rows.push(["Handed over again", whole(users.replays), users.no_ack ? `${whole(users.no_ack)} not answered` : ""]);
  if (door) rows.push(["Refused at the door", whole(sum(door.rejected)), why(door.rejected)]);
  showNumbers(list, rows);
}

/** showPool lists what was counted of the sessions that there are: with a session its figures go. */
export function showPool(list, status) {
  const { pool, door } = status;
  const taken = pool.hits + pool.misses;
  const rows = [];
  if (door) rows.push(["Found a connection ready", ratio(pool.hits, taken), taken ? `${whole(pool.hits)} of ${whole(taken)}` : ""]);
  rows.push(
    ["Connections made", whole(pool.created), pool.dial_failures ? `${count(pool.dial_failures, "dial")} failed` : ""],
    ["Connections closed", whole(sum(pool.closed)), why(pool.closed)],
  );
  showNumbers(list, rows);
}

function showNumbers(list, rows) {
  const print = JSON.stringify(rows);
  if (list.shown === print) return;
  list.shown = print;
  list.replaceChildren(...rows.map(([name, figure, note]) => el("div", {},
    el("dt", {}, name), el("dd", {}, el("span", { class: "main" }, figure), el("span", { class: "less" }, note)))));
}

function sum(reasons) {
  return Object.values(reasons ?? {}).reduce((a, b) => a + b, 0);
}

/** why is counts by reason in words, the most frequent first. */
function why(reasons) {
  return Object.entries(reasons ?? {}).filter(([, n]) => n).sort(([, a], [, b]) => b - a)
    .map(([reason, n]) => `${reason.replaceAll(/[_-]/g, " ")} ${whole(n)}`).join(", ");
}
