// The demo's own script. The page works without it, except for the fifty requests: those are the browser's to send.
"use strict";

const REQUESTS = 50;
const SWAPPED = ["notice", "ticket", "cart", "devices", "survival"];
const body = document.body;
const byId = (id) => document.getElementById(id);

let skew = 0; // the server's clock minus ours, in ms
let down = false;

function readClock(page) {
  skew = Number(page.dataset.now) * 1000 - Date.now();
}

// --- Time: what is left, and how old things are ----------------------------------------------------------------------

function inWords(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [d, h, m, s] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

function onClock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}

function tick() {
  const now = (Date.now() + skew) / 1000;
  for (const element of document.querySelectorAll("[data-since]")) {
    element.textContent = inWords(now - Number(element.dataset.since));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = Number(element.dataset.until) - now;
    if ("whole" in element.dataset) {
      element.style.transform = `scaleX(${Math.max(0, Math.min(1, left / Number(element.dataset.whole)))})`;
    } else {
      element.textContent = "clock" in element.dataset ? onClock(left) : `in ${inWords(left)}`;
    }
  }
}

// --- Swapping in what changed ----------------------------------------------------------------------------------------

function show(text, address) {
  const page = new DOMParser().parseFromString(text, "text/html");
  if (page.body.dataset.signedIn !== body.dataset.signedIn) {
    location.assign(address);
    return;
  }
  const focused = document.activeElement;
  for (const id of SWAPPED) {
    const [old, fresh] = [byId(id), page.getElementById(id)];
    if (!old || !fresh || old.innerHTML === fresh.innerHTML) continue;
    const held = old.contains(focused);
    old.replaceChildren(...fresh.childNodes);
    if (held) old.querySelector("h2")?.focus(); // whoever works by keyboard stays where they were
  }
  Object.assign(body.dataset, { handle: page.body.dataset.handle, pid: page.body.dataset.pid });
  readClock(page.body);
  tick();
}

async function refresh(address = "/") {
  const response = await fetch(address);
  if (response.ok) show(await response.text(), address);
}

// A button that is at work says so and does nothing, but keeps the focus, which a disabled one would lose.
function begin(button) {
  if (button.ariaDisabled === "true") return false;
  button.ariaDisabled = "true";
  return true;
}

async function submit(form, button) {
  if (!begin(button)) return;
  try {
    const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (response.ok) show(await response.text(), response.url);
    else await refresh();
    if (response.ok && form.closest(".product")) celebrate(button);
  } catch {
    void pulse(); // the server is gone: the banner says so
  } finally {
    button.ariaDisabled = null;
  }
}

function celebrate(button) {
  const words = button.firstChild;
  button.classList.add("done");
  words.textContent = "Added";
  clearTimeout(button.restoring);
  button.restoring = setTimeout(() => {
    button.classList.remove("done");
    words.textContent = "Add";
  }, 900);
}

// --- Fifty requests at once ------------------------------------------------------------------------------------------

function makeLanes() {
  const lanes = byId("lanes");
  if (!lanes) return [];
  lanes.replaceChildren();
  return Array.from({ length: REQUESTS }, () => {
    const [lane, track, bar, dot] = ["lane", "track", "bar", "dot"].map((name) => {
      const element = document.createElement("div");
      element.className = name;
      return element;
    });
    track.append(bar);
    lane.append(track, dot);
    lanes.append(lane);
    return lane;
  });
}

function tell(count, words, state = "") {
  const result = byId("race-result");
  result.className = `board-result ${state}`;
  const [number, rest] = [document.createElement("span"), document.createElement("span")];
  number.className = "board-count";
  number.textContent = count;
  rest.textContent = words;
  result.replaceChildren(number, " ", rest);
}

function raise(lane, height) {
  lane.querySelector(".bar").style.transform = `scaleY(${height})`;
}

async function fireOne(run, n, lane, began) {
  const response = await fetch(`/fire?run=${run}&n=${n}`, { method: "POST" });
  const landed = response.ok;
  lane.classList.remove("flying");
  lane.classList.add(landed ? "landed" : "refused");
  lane.took = performance.now() - began;
  raise(lane, landed ? Math.min(1, 0.2 + lane.took / 2000) : 0.12);
  if (!landed) throw new Error(response.headers.get("content-type")?.includes("json") ? (await response.json()).problem : await response.text());
}

async function fire(button) {
  if (!begin(button)) return;
  const [run, lanes, began] = [crypto.randomUUID(), makeLanes(), performance.now()];
  byId("versus").textContent = byId("race-said").textContent = "";
  for (const lane of lanes) lane.classList.add("flying");
  tell("0 of 50", "acknowledged");
  let answered = 0;
  try {
    const ends = await Promise.allSettled(lanes.map(async (lane, n) => {
      await fireOne(run, n, lane, began);
      tell(`${++answered} of 50`, "acknowledged");
    }));
    const failed = ends.find((end) => end.status === "rejected");
    const found = await (await fetch(`/fired?run=${run}`)).json();
    judge(lanes, found, answered, failed?.reason);
    await refresh();
  } catch {
    tell("?", "the server is gone");
    void pulse();
  } finally {
    button.ariaDisabled = null;
  }
}

function judge(lanes, found, answered, failure) {
  const [kept, whole] = [new Set(found.kept), new Set(found.whole)];
  const longest = Math.max(...lanes.map((lane) => lane.took ?? 0));
  lanes.forEach((lane, n) => {
    setTimeout(() => {
      if (lane.classList.contains("landed")) {
        lane.classList.add(kept.has(n) ? "kept" : "lost");
        raise(lane, 0.1 + (0.9 * lane.took) / longest);
      }
      lane.classList.add(whole.has(n) ? "whole-kept" : "whole-lost");
    }, n * 9);
  });
  const all = kept.size === REQUESTS;
  tell(`${kept.size} of ${REQUESTS}`, failure && !all ? `kept. ${failure.message}` : "kept", all ? "all" : "short");
  byId("race-said").textContent = byId("race-result").textContent;
  if (answered < REQUESTS) return;
  const strong = document.createElement("strong");
  strong.textContent = `${whole.size} of ${REQUESTS}`;
  byId("versus").replaceChildren(strong, " would be left, had the session been loaded whole and saved whole, as most libraries do it: the row below the bars.");
}

// --- The pulse: is the server there, is this session alive? Asked without the cookie, so it is no activity ------------

async function pulse() {
  if (document.hidden && !down) return;
  let answer;
  try {
    const response = await fetch(`/pulse?session=${body.dataset.handle}`, { credentials: "omit", cache: "no-store" });
    answer = await response.json();
  } catch {
    down = true;
    byId("down").hidden = false;
    return;
  }
  byId("down").hidden = true;
  if (answer.alive === false && body.dataset.signedIn === "yes") {
    const clock = document.querySelector("[data-clock]");
    const over = clock && Number(clock.dataset.until) <= (Date.now() + skew) / 1000;
    location.assign(over ? "/?notice=expired" : "/?notice=elsewhere");
  } else if (down || String(answer.pid) !== body.dataset.pid) {
    down = false;
    await refresh();
  }
}

// --- Begin -------------------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if ("swap" in form.dataset) {
    event.preventDefault();
    void submit(form, event.submitter ?? form.querySelector("button"));
  }
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) void refresh();
});
byId("fire")?.addEventListener("click", (event) => void fire(event.currentTarget));
if (byId("fire")) byId("fire").disabled = false;
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
makeLanes();
readClock(body);
tick();
setInterval(tick, 1000);
setInterval(pulse, 2000);
