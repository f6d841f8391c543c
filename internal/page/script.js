// The page's life: asks the program once a second while somebody looks, and says
// so when it does not answer.

import { clock, el, long, say } from "./format.js";
import { History } from "./history.js";
import { isClient, Judge } from "./judge.js";
import { plots, serviceTable, sessionTable, showEvents, showPool, showTotals } from "./views.js";

const every = 1000; // ms from one question to the next
const patience = 5000; // ms that an answer may take
const marks = { // as a drawing beside the sentence, and in the title of the tab
  ok: { path: "M6.5 12.5l3.7 3.7 7.3-8", title: "✓" },
  idle: { path: "M7 12h10", title: "–" },
  warn: { path: "M12 6v7.5M12 17.5v.1", title: "!" },
  bad: { path: "M7.5 7.5l9 9M16.5 7.5l-9 9", title: "✕" },
};

const at = (id) => document.getElementById(id);
const history = new History();
const judge = new Judge();
const draw = plots(at("plots"));
const services = serviceTable(at("services"), { title: "Services", noun: "service", empty: "No services." });
const forwards = serviceTable(at("forwards"), { title: "Forwards", noun: "forward", empty: "No forwards." });
const sessions = sessionTable(at("sessions"));

let status; // as last told
let heard; // when that was, by the clock here
let failing; // why and since when there is no answer, or undefined
let timer;
let asking = false;

/** NoAnswer is that the program told nothing; its message is empty when nobody answers at all, which needs no words. */
class NoAnswer extends Error {}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience) }).catch((e) => {
    throw new NoAnswer(e.name === "TimeoutError" ? `no answer in ${patience / 1000} s` : "");
  });
  if (!response.ok) throw new NoAnswer(`it answers “${response.status} ${response.statusText}”`);
  return response.json().catch((e) => {
    throw new NoAnswer(e instanceof SyntaxError ? "what it answers is not its state" : "its answer broke off");
  });
}

/** ask fetches what is new: the whole history only when none of it is known. */
async function ask() {
  const since = history.since ? `?since=${encodeURIComponent(history.since)}` : "";
  const [next, recent] = await Promise.all([get("api/v1/status"), get(`api/v1/history${since}`)]);
  if (status && next.version !== status.version) location.reload(); // this page is of the program before
  if (status && next.started !== status.started && since) {
    history.clear(); // a new program: what it does not know did not happen to it
    history.add((await get("api/v1/history")).samples);
  } else {
    history.add(recent.samples);
  }
  status = next;
}

/** turn is one question and what comes of it; the next follows unless nobody looks. */
async function turn() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  const begun = performance.now();
  try {
    await ask();
    [heard, failing] = [new Date(), undefined];
  } catch (e) {
    if (!(e instanceof NoAnswer)) throw e;
    failing = { since: failing?.since ?? heard ?? new Date(), why: e.message };
  } finally {
    asking = false;
    timer = setTimeout(turn, Math.max(every / 4, every - (performance.now() - begun)));
  }
  if (failing) showFailing();
  else show();
}

function show() {
  const verdict = judge.of(status, history.samples);
  banner(verdict.level, verdict.sentence, verdict.detail, verdict.problems);
  header();
  at("body").hidden = false;
  at("body").classList.remove("stale");
  draw(status, history);
  tables();
  showTotals(at("totals"), status);
  showPool(at("now"), status);
}

function tables() {
  const rows = status.services.length + status.forwards.length + status.sessions.length;
  at("search").hidden = rows <= 16;
  const wanted = rows > 16 ? at("filter").value.trim().toLowerCase() : "";
  services(status, history, status.services, wanted);
  forwards(status, history, status.forwards, wanted);
  at("forwards").hidden = !status.forwards.length;
  sessions(status, history, wanted);
  showEvents(at("event-list"), status, wanted);
}

/** showFailing leaves what was last told, dimmed, and says that it is old. */
function showFailing() {
  const now = new Date();
  const name = status?.program ?? "The program";
  const why = failing.why ? ` (${failing.why})` : "";
  const silent = heard ? `has not answered since ${clock(failing.since, now)}` : "does not answer";
  const passed = heard ? `That was ${long((now - failing.since) / 1000)} ago; what you see below is from then. ` : "";
  banner("bad", `${name} ${silent}${why}.`, `${passed}Asking again every second.`, []);
  at("body").classList.add("stale");
}

/** banner is the sentence; a screen reader is told when it changes its meaning, not its figures. */
function banner(level, sentence, detail, problems) {
  at("banner").className = level;
  at("mark").firstElementChild.setAttribute("d", marks[level].path);
  say(at("sentence"), sentence);
  say(at("detail"), detail);
  const listed = problems.length > 5 ? [...problems.slice(0, 4), `and ${problems.length - 4} more`] : problems;
  at("problems").hidden = !listed.length;
  at("detail").hidden = listed.length > 0;
  if (listed.join("\n") !== [...at("problems").children].map((li) => li.textContent).join("\n")) {
    at("problems").replaceChildren(...listed.map((text) => el("li", {}, text)));
  }
  const meaning = level === "ok" || level === "idle" ? level : `${level} ${problems.length || sentence.split(",")[0]}`;
  if (banner.meaning !== meaning) {
    banner.meaning = meaning;
    say(at("spoken"), sentence);
  }
  const name = status ? status.name || status.program : "tunnelpool";
  document.title = `${marks[level].title} ${name}`;
}

function header() {
  const client = isClient(status);
  say(at("program"), status.program);
  say(at("whose"), status.name ?? "");
  const facts = [
    client ? ["Server", status.server] : ["Listens on", status.listen ?? "–"],
    ["Up for", long(status.uptime_seconds)],
    ["Version", status.version || "–"],
  ];
  if (status.tls === "0") facts.push(["TLS", "off: anybody on the way can read and change what passes"]);
  const list = at("facts");
  if (list.children.length !== facts.length) {
    list.replaceChildren(...facts.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  facts.forEach(([name, value], i) => {
    say(list.children[i].children[0], name);
    say(list.children[i].children[1], value);
  });
}

document.addEventListener("visibilitychange", turn);
window.addEventListener("unhandledrejection", (e) => {
  banner("bad", "This page fails to show what the program tells.", `${e.reason} Please report this as a mistake.`, []);
});
at("filter").addEventListener("input", () => status && tables());
turn();
