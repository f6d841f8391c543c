// What a person wants to know first: is everything up, and if not, what is wrong
// and since when.

import { clock, count, short } from "./format.js";

/** isClient tells the two programs apart: a client has a server. */
export function isClient(status) {
  return status.server !== undefined;
}

/** serviceName is a service as people call it; on a client all are its own, and a server knows a forward by its target. */
function serviceName(status, s) {
  const name = s.name || s.target || s.address;
  return isClient(status) || !s.client ? name : `${name} of ${s.client}`;
}

/** latest is when the newest event happened that is one of names and fits, or undefined. */
function latest(status, names, fits) {
  const event = status.events.findLast((e) => names.includes(e.event) && fits(e.attrs));
  return event && new Date(event.time);
}

/**
 * Judge says in words what a status means. It remembers when each problem was
 * first seen, for as long as that lasts.
 */
export class Judge {
  #since = new Map(); // of each problem there is: {time, exact}
  #first = true;

  /** of is {level, sentence, detail, problems}: level is ok, idle, warn or bad. */
  of(status, history) {
    const found = [...notReady(status), ...down(status), ...waiting(status, history)];
    this.#remember(found, new Date(status.now));
    this.#first = false;
    if (!found.length) return { ...calm(status), problems: [] };

    const now = new Date(status.now);
    const level = found.some((p) => p.level === "bad") ? "bad" : "warn";
    if (found.length === 1) {
      const [p] = found;
      return { level, sentence: `${p.lasting} ${this.#sinceWords(p, now)}.`, detail: p.reason || calmDetail(status), problems: [] };
    }
    const lines = found.map((p) => `${p.lasting} ${this.#sinceWords(p, now)}${p.reason ? `: ${p.reason}` : ""}`);
    return { level, sentence: `${summary(status, found)}.`, detail: "", problems: lines };
  }

  #remember(found, now) {
    const before = this.#since;
    this.#since = new Map();
    for (const p of found) {
      const known = before.get(p.key) ?? { time: p.since ?? now, exact: p.since !== undefined || !this.#first };
      this.#since.set(p.key, known);
    }
  }

  #sinceWords(problem, now) {
    const { time, exact } = this.#since.get(problem.key);
    return `since ${clock(time, now)}${exact ? "" : " or before"}`;
  }
}

/** lost is a client without its server. */
function lost(status) {
  return isClient(status) && !status.sessions.length;
}

/** notReady is why a program is not, unless services tell it better. */
function notReady(status) {
  if (status.ready || (isClient(status) && down(status).length)) return [];
  const text = lost(status) ? `Not connected to ${status.server}` : "Not ready";
  const since = latest(status, ["connection_lost", "session_ended", "stopping"], () => true);
  return [{ key: "ready", kind: "ready", level: "bad", text, lasting: text, reason: status.reason, since }];
}

/** down is the services that users cannot reach; a client without its server has one problem, not many. */
function down(status) {
  if (lost(status)) return [];
  const all = [...status.services, ...status.forwards];
  return all.filter((s) => !s.up).map((s) => ({
    key: JSON.stringify([s.client, s.network, s.name, s.address]),
    kind: "down",
    level: s.group && all.some((o) => o.up && o.group === s.group) ? "warn" : "bad",
    text: `${serviceName(status, s)} is down`,
    lasting: `${serviceName(status, s)} has been down`,
    reason: s.reason,
    since: latest(status, ["client_left", "service_denied"],
      (attrs) => (attrs.client ?? s.client) === s.client && (attrs.service ?? s.name) === s.name),
  }));
}

/** waiting users are there since the last sample that had none. */
function waiting(status, history) {
  const n = Math.max(status.users.waiting, status.pool.waiting);
  if (!n) return [];
  let since;
  for (let i = history.length - 1; i >= 0 && history[i].waiting; i--) since = new Date(history[i].time);
  const text = `${count(n, "user")} ${n === 1 ? "waits" : "wait"} for a connection`;
  const lasting = `${text}, as some have`;
  return [{ key: "waiting", kind: "waiting", level: "warn", text, lasting, since: since ?? new Date(status.now) }];
}

/** summary is many problems in one sentence. */
function summary(status, found) {
  const clauses = found.filter((p) => p.kind !== "down").map((p) => p.text);
  const n = found.length - clauses.length;
  const all = status.services.length + status.forwards.length;
  if (n === 1) clauses.unshift(found.find((p) => p.kind === "down").text);
  if (n > 1) clauses.unshift(n === all ? `All ${count(n, "service")} are down` : `${n} of ${count(all, "service")} are down`);
  return clauses.map((c, i) => (i ? c.charAt(0).toLowerCase() + c.slice(1) : c)).join("; ");
}

/** calm is a status without a problem. */
function calm(status) {
  const services = count(status.services.length, "service");
  const forwards = status.forwards.length ? `, ${count(status.forwards.length, "forward")}` : "";
  const users = count(status.users.open, "user");
  const detail = calmDetail(status);
  if (isClient(status)) {
    return { level: "ok", sentence: `Connected to ${status.server}: ${services}${forwards}, ${users}.`, detail };
  }
  if (!status.sessions.length) {
    return { level: "idle", sentence: "Ready, but no client is connected.", detail: "Services appear here when a client brings them." };
  }
  const clients = count(status.sessions.length, "client");
  return { level: "ok", sentence: `Everything is up: ${services}${forwards}, ${clients}, ${users}.`, detail };
}

/** calmDetail is what the next user may expect. */
function calmDetail(status) {
  if (!status.sessions.length) return "";
  const trips = status.sessions.map((s) => s.round_trip_seconds).filter((t) => t !== undefined).sort((a, b) => a - b);
  const parts = [`${count(status.pool.idle, "connection")} ${status.pool.idle === 1 ? "stands" : "stand"} ready`];
  if (trips.length === 1) parts.push(`round trip ${short(trips[0])}`);
  if (trips.length > 1) parts.push(`round trips ${short(trips[0])} to ${short(trips.at(-1))}`);
  return `${parts.join(", ")}.`;
}
