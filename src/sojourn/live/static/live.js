/**
 * The browser's side of a live app: shows the widgets that the server describes, and tells it what the visitor does
 * (`protocol.py` has the table of messages). Plain JavaScript without a build. One file, though a long one: each file
 * more is another round trip before the first label is seen. `more.js` has what not every page needs.
 *
 * Its rules:
 * - What comes from the server is data. It becomes text and listed attributes, never markup, code or style rules.
 * - One bad widget, property or frame is passed over with a warning, and the rest goes on.
 * - An element stays as long as its widget does, so that focus, caret, scroll and what is open survive.
 * - What the visitor has changed is the visitor's until the server has answered: no value is put over it before.
 * - An event is numbered once, kept until it is answered, and sent again on the next socket.
 *
 * @typedef {{id: string, kind: string, props?: Object, children?: Described[]}} Described a widget, as we are told
 */

const TYPING = 200; // ms after the last key until what was typed is sent
const DRAGGING = 50; // ms between two values of a slider
const PING = 25_000;
const PONG = 10_000;
const MOST_WAITING = 100; // events: fewer than the server takes in a second

const html = document.documentElement;
const app = document.getElementById("app");
const base = new URL(html.dataset.root ?? "./", location.href);
const status = make("div", "status");
const toasts = make("div", "toasts");

// --- The page: widgets by id ---

/** A widget as it is shown. */
class Shown {
  props = {}; // what the server said last
  el = null; // its element
  inside = null; // the element that its children are in; null: it has none
  /** @type {Shown[]} */ children = [];
  update = (_props, _changed) => {}; // called with all properties, and with those that are new
  placed = () => {}; // called when its children are others, or in another order
  read = null; // gives the value in the input; undefined while it is half typed
  put = null; // shows a value in the input
  typed = false; // letter by letter
  dirty = false; // changed by the visitor since it was sent
  held = false; // in the midst of a drag, or of a letter being composed
  sent = 0; // the event that its value went with, or its click
  timer = 0;

  constructor(id, kind, parent) {
    Object.assign(this, { id, kind, parent });
  }
}

const root = new Shown("", "page", null);
root.el = root.inside = app;
const shown = new Map([["", root]]);
/** How far we are in the two streams of changes: what the session sees, and what everybody does. */
const reached = { s: null, g: null };

const FRAMES = {
  page(frame) {
    document.title = str(frame.title);
    answered(frame.done);
    Object.assign(reached, { s: frame.s ?? null, g: frame.g ?? null });
    keepingFocus(() => fill(root, frame.children));
  },
  changes(frame) {
    const isNews = isNext(frame);
    if (Array.isArray(frame.by) && frame.by[0] === name) answered(frame.by[1]);
    if (isNews) keepingFocus(() => list(frame.ops).forEach(operate));
  },
  ack: (frame) => answered(frame.n),
  error(frame) {
    if (frame.n) refused(frame.n);
    if (frame.code === "version") return reloadOnce();
    if (frame.code === "out_of_order" || frame.code === "too_large") startCounting();
    toast(str(frame.message) || "Something went wrong.", frame.detail);
  },
  pong() {},
  place: ({ s, g }) => Object.assign(reached, { s, g }),
  ticket: (frame) => (ticket = str(frame.ticket)),
  renew(frame) {
    const request = fetch(new URL("_live/renew", base), { method: "POST", body: str(frame.ticket) });
    request.catch((error) => console.warn("The cookie was not renewed.", error));
  },
  ended: (frame) => end(str(frame.reason)),
};

const OPERATIONS = {
  update({ widgets }) {
    for (const [id, changed] of Object.entries(widgets)) attempt(id, () => patch(find(id), changed));
  },
  add({ into, after, widget }) {
    const parent = find(into);
    const one = showIn(parent, widget);
    const others = parent.children.filter((child) => child !== one);
    const before = others.findIndex((child) => child.id === after);
    others.splice(after && before < 0 ? others.length : before + 1, 0, one);
    place(parent, others);
  },
  remove({ ids }, _, ops) {
    const comesBack = (id) => ops.some((other) => other?.op === "add" && other.widget?.id === id); // it is moved
    for (const one of list(ids).map((id) => shown.get(id))) {
      if (one?.parent && !comesBack(one.id)) place(one.parent, one.parent.children.filter((child) => child !== one));
    }
  },
  replace({ id, widget }) {
    const old = find(id);
    const { parent } = old;
    const at = parent.children.indexOf(old);
    const one = showIn(parent, widget);
    place(parent, parent.children.flatMap((child, index) => (index === at ? one : child === one ? [] : child)));
  },
  order({ into, ids }) {
    const parent = find(into);
    const named = list(ids).flatMap((id) => parent.children.find((child) => child.id === id) ?? []);
    const others = parent.children.filter((child) => !named.includes(child));
    const isEverybodys = (child) => child.id.startsWith("g:"); // they stand before the session's own
    place(parent, [...others.filter(isEverybodys), ...named, ...others.filter((child) => !isEverybodys(child))]);
  },
};

function operate(one, at, ops) {
  attempt(one?.op, () => pick(OPERATIONS, one.op)(one, at, ops));
}

/** Whether changes are news. A gap means that we missed some: then the whole page is asked for. */
function isNext(frame) {
  for (const stream of ["s", "g"]) {
    const [number, at] = [frame[stream], reached[stream]];
    if (number === undefined || !at) continue;
    if (number <= at[1]) return false;
    if (number > at[1] + 1) {
      reached.s = reached.g = null;
      drop();
      return false;
    }
    reached[stream] = [at[0], number];
  }
  return true;
}

function find(id) {
  if (!shown.has(id)) throw new Error(`there is no widget ${id}`);
  return shown.get(id);
}

/** Show these in a widget, and nothing else; what is there already stays. */
function fill(parent, described) {
  const children = new Set();
  for (const one of list(described)) attempt(one?.id, () => children.add(showIn(parent, one)));
  place(parent, [...children]);
}

/** The widget as it is described: the one that is there, if it is of that kind. @param {Described} described */
function showIn(parent, described) {
  const { id, kind, props, children } = described;
  if (typeof id !== "string" || !id) throw new TypeError("a widget has an id");
  for (let at = parent; at; at = at.parent) if (at.id === id) throw new Error("it is in itself");
  const old = shown.get(id);
  if (old?.kind !== kind) return build(parent, described);
  if (old.parent !== parent) old.parent.children = old.parent.children.filter((child) => child !== old);
  old.parent = parent;
  const changed = Object.entries(props ?? {}).filter(([name, value]) => !same(old.props[name], value));
  if (changed.length) attempt(id, () => patch(old, Object.fromEntries(changed)));
  if (old.inside) fill(old, children);
  return old;
}

function build(parent, { id, kind, props, children }) {
  let one = new Shown(id, kind, parent);
  try {
    pick(KINDS, kind)(one);
    patch(one, props);
  } catch (error) {
    console.warn("A widget cannot be shown.", id, error);
    one = new Shown(id, kind, parent);
    one.el = make("p", "unknown", `This cannot be shown: ${str(kind).slice(0, 40)}`);
  }
  Object.assign(one.el.dataset, { id, kind });
  shown.set(id, one);
  if (one.inside) fill(one, children);
  return one;
}

function patch(one, changed) {
  one.props = { ...one.props, ...changed };
  one.update(one.props, changed ?? {});
}

/** Make these the children of a widget, in this order, and move as little as can be. */
function place(parent, children) {
  const stay = new Set(children);
  for (const old of parent.children) if (!stay.has(old) && old.parent === parent) forget(old);
  parent.children = children;
  let next = null;
  for (const { el } of [...children].reverse()) {
    if (el.parentNode !== parent.inside || el.nextSibling !== next) move(parent.inside, el, next);
    next = el;
  }
  parent.placed();
}

/** Newer browsers move an element without taking it out: focus, scroll and letters being composed stay. */
function move(into, el, before) {
  if (into.moveBefore && into.isConnected && el.isConnected) into.moveBefore(el, before);
  else into.insertBefore(el, before);
}

function forget(one) {
  clearTimeout(one.timer);
  unsettled.delete(one);
  one.el.remove();
  if (shown.get(one.id) === one) shown.delete(one.id);
  for (const child of one.children) if (child.parent === one) forget(child);
}

function keepingFocus(action) {
  const held = document.activeElement;
  action();
  if (held?.isConnected && held !== document.activeElement) held.focus({ preventScroll: true });
}

// --- What the visitor does ---

let name = newName(); // of this tab
let last = 0; // the last event's number
let tried = 0; // the last that was ever sent: a later one may still be changed
let done = 0; // the last that was answered
let waiting = []; // events without an answer
const unsettled = new Set(); // inputs and buttons whose last word is not said

function newName() {
  const random = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
  return random.slice(0, 22).replaceAll("+", "-").replaceAll("/", "_");
}

/** Its number; 0 if too many wait already. */
function queue(id, event, value) {
  const newest = waiting.at(-1);
  if (newest?.n > tried && event === "change" && newest.event === event && newest.id === id) {
    newest.value = value;
    return newest.n;
  }
  if (waiting.length >= MOST_WAITING) return 0;
  waiting.push({ t: "event", n: ++last, id, event, value });
  sendWaiting(last);
  return last;
}

function sendWaiting(from = 0) {
  for (const action of waiting) if (action.n >= from && transmit(action)) tried = Math.max(tried, action.n);
}

/** A click, or a form: what was typed before goes first. */
function act(one, event, value) {
  flushAll();
  const n = queue(one.id, event, value);
  if (!n) toast("The server does not answer. Nothing more is taken until it does.");
  else one.sent = n;
  unsettled.add(one);
  busy(one);
  return n;
}

/** The visitor changed an input: that is sent ``wait`` ms later, or with the form that it is in. */
function edited(one, wait = 0) {
  one.dirty = true;
  unsettled.add(one);
  if (one.typed) clearTimeout(one.timer);
  else if (one.timer) return; // a drag is sent at a steady pace
  if (wait) one.timer = setTimeout(flush, wait, one);
  else flush(one);
}

function flush(one) {
  clearTimeout(one.timer);
  one.timer = 0;
  const value = one.dirty && !formOf(one) && !(one.typed && one.held) ? one.read() : undefined;
  if (value === undefined) return;
  if (one.sent > done || !same(value, one.props.value)) {
    const n = queue(one.id, "change", value);
    if (!n) return; // it stays dirty, and goes when there is room
    one.sent = n;
  }
  one.dirty = false;
}

function flushAll() {
  for (const one of unsettled) flush(one);
}

function formOf(one) {
  let at = one.parent;
  while (at && at.kind !== "form") at = at.parent;
  return at;
}

function submit(form) {
  const inputs = [...shown.values()].filter(
    (one) => one.read && formOf(one) === form && !one.props.disabled && !one.props.read_only,
  );
  const wrong = inputs.find((one) => one.read() === undefined);
  if (wrong) return wrong.look(true);
  const n = act(form, "submit", Object.fromEntries(inputs.map((one) => [one.id, one.read()])));
  if (!n) return;
  for (const one of inputs) {
    Object.assign(one, { dirty: false, sent: n });
    unsettled.add(one);
  }
}

/** All events up to this one are done. What they carried is the server's value now, until it says another. */
function answered(n, except = 0) {
  if (!(n > done)) return;
  for (const { n: number, id, event, value } of waiting) {
    if (number > n || number === except || !["change", "submit"].includes(event)) continue;
    for (const [input, took] of event === "submit" ? Object.entries(value ?? {}) : [[id, value]]) {
      const one = shown.get(input);
      if (one) one.props = { ...one.props, value: took };
    }
  }
  waiting = waiting.filter((action) => action.n > n);
  done = n;
  last = Math.max(last, n);
}

/** The server's values come back, but not over what is being typed, nor over a form that may be mended. */
function refused(n) {
  const isForm = waiting.some((action) => action.n === n && action.event === "submit");
  answered(n, n);
  for (const one of unsettled) {
    const isMine = isForm || (one.typed && one.el.contains(document.activeElement));
    if (one.sent === n && one.read && isMine) one.dirty = true;
  }
}

/** What is answered shows what the server says. */
function settle() {
  for (const one of unsettled) {
    if (one.dirty && !one.timer && !one.typed) flush(one);
    if (isSettled(one)) unsettled.delete(one);
    if (one.read) apply(one);
    else busy(one);
  }
}

function isSettled(one) {
  return !one.dirty && !one.held && one.sent <= done;
}

/** The server's value into an input, if that is not the visitor's at present. */
function apply(one) {
  if (isSettled(one) && !same(one.read(), one.props.value)) one.put(one.props.value);
}

function busy(one) {
  const button = one.kind === "form" ? one.el.lastChild : one.el;
  button.ariaBusy = one.sent > done ? "true" : null;
}

/** We and the server do not agree on the numbers, or it does not take what we sent: let that go, and begin anew. */
function startCounting() {
  name = newName();
  waiting = [];
  last = tried = done = 0;
  for (const one of unsettled) one.sent = 0;
  drop();
}

// --- The socket ---

let ticket = html.dataset.ticket ?? "";
let socket = null;
let isOver = false; // the session has ended, or the page is left
let failures = 0;
let heard = 0; // when the server said something last
let retry = 0;
let telling = 0;
let Exchange = null; // for where no socket can be had
let unopened = 0; // sockets, in a row

const hello = () => ({ t: "hello", v: 1, tab: name, s: reached.s, g: reached.g, n: done + 1 });

function connect() {
  clearTimeout(retry);
  if (socket || isOver) return;
  const isPlain = "transport" in html.dataset || unopened > 1;
  if (isPlain && !Exchange) {
    import("./exchange.js").then((made) => {
      ({ Exchange } = made);
      connect();
    }, drop);
    return;
  }
  const address = new URL(isPlain ? "_live/exchange" : "_live/socket", base);
  if (!isPlain) address.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  if (ticket && !isPlain) address.searchParams.set("ticket", ticket);
  const session = "named" in html.dataset && new URLSearchParams(location.search).get("session_id");
  if (session) address.searchParams.set("session_id", session);
  const mine = (socket = isPlain ? new Exchange(address, hello) : new WebSocket(address));
  unopened = isPlain ? 1 : unopened + 1; // with neither, they take turns
  const isMine = (action) => (event) => mine === socket && action(event);
  mine.onopen = isMine(() => {
    unopened = isPlain ? 2 : -3;
    if (isPlain && !("transport" in html.dataset)) setTimeout(isMine(() => drop((unopened = 0))), 3e5);
    transmit(hello());
    sendWaiting();
    flushAll();
    tell("open");
  });
  mine.onmessage = isMine(({ data }) => receive(data));
  mine.onclose = isMine(drop);
  setTimeout(isMine(() => mine.readyState === WebSocket.CONNECTING && drop()), PONG);
}

function transmit(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

function receive(data) {
  heard = performance.now();
  attempt("a frame", () => {
    const frame = JSON.parse(data);
    if (frame.t !== "error") failures = 0;
    pick(FRAMES, frame.t)(frame);
  });
  settle();
}

/** The socket is gone, or of no use: another, soon. */
function drop() {
  hangUp();
  if (isOver) return;
  tell("lost");
  clearTimeout(retry);
  retry = setTimeout(connect, Math.min(5000, 250 * 2 ** failures++) * (0.75 + Math.random() / 2));
}

function hangUp() {
  const mine = socket;
  socket = null;
  mine?.close(isOver ? 1000 : undefined);
}

function ping() {
  const [mine, asked] = [socket, performance.now()];
  if (transmit({ t: "ping" })) setTimeout(() => mine === socket && heard < asked && drop(), PONG);
}

/** There may be a way to the server again. */
function wake() {
  if (socket) ping();
  else connect();
}

/** How it is: said at once to tests and style rules, a little later to people, as most breaks are short. */
function tell(state) {
  html.dataset.state = state;
  clearTimeout(telling);
  if (state !== "lost") status.replaceChildren();
  else if (!status.firstChild) telling = setTimeout(() => status.append(make("span", "", "Reconnecting…")), 400);
}

/** Another version of this file is out: load it, but do not load for ever. */
function reloadOnce() {
  isOver = true;
  hangUp();
  try {
    const before = Number(sessionStorage.getItem("sojourn-reloaded"));
    sessionStorage.setItem("sojourn-reloaded", String(Date.now()));
    if (Date.now() - before > 60_000) return location.reload();
  } catch (error) {
    console.warn("There is no session storage: the page is not loaded anew by itself.", error);
  }
  toast("This page is older than the server. Please load it anew.");
}

const REASONS = { expired: "It was not used for a while.", unknown: "The server does not know it any more." };

function end(reason) {
  isOver = true;
  hangUp();
  tell("ended");
  waiting = [];
  place(root, []);
  const why = Object.hasOwn(REASONS, reason) ? REASONS[reason] : "It was ended.";
  const title = make("h1", "title", "This session is over");
  const again = make("button", "button primary", "Start again");
  title.tabIndex = -1;
  on(again, "click", () => location.reload());
  app.replaceChildren(make("section", "over", title, make("p", "", why), again));
  title.focus();
}

// --- Kinds of widgets ---

/** @type {Record<string, (one: Shown) => void>} */
const KINDS = {
  title: (one) => heading(one, "h1"),
  header: (one) => heading(one, "h2"),
  subheader: (one) => heading(one, "h3"),
  text: (one) => simple(one, make("p", "text"), ({ text }) => say(one.el, text)),
  divider: (one) => simple(one, make("hr", "divider"), () => {}),
  markdown: (one) => simple(one, make("div", "prose"), (props) => one.el.replaceChildren(nodes(props.nodes))),
  write(one) {
    let inner = new Shown("", "", null);
    simple(one, make("div", "write"), ({ as, content }) => {
      if (inner.kind !== as) {
        inner = new Shown("", as, one);
        KINDS[as in WRITTEN ? as : "text"](inner);
        one.el.replaceChildren(inner.el);
      }
      const props = WRITTEN[as] ? { [WRITTEN[as]]: content } : { text: content, ...content };
      inner.update(props, props);
    });
  },
  code(one) {
    const [language, code] = [make("p", "language"), make("code")];
    const pre = make("pre", "", code);
    pre.tabIndex = 0; // else the keyboard cannot scroll it
    simple(one, make("div", "code", language, pre), (props) => {
      say(code, props.text);
      say(language, props.language);
    });
  },
  json: (one) => later(one, "json"),
  image(one) {
    const [caption, holder] = [make("figcaption"), make("div")];
    simple(one, make("figure", "image", holder, caption), ({ source, alt, width, ...props }) => {
      holder.replaceChildren(picture(source, alt));
      holder.firstChild.style.width = width > 0 ? `${Number(width)}px` : "";
      say(caption, props.caption);
    });
  },

  text_input(one) {
    const input = make("input");
    typing(one, input, ({ password }) => {
      input.type = password ? "password" : "text";
      input.autocomplete = password ? "current-password" : "off";
    });
  },
  text_area(one) {
    const input = make("textarea");
    typing(one, input, ({ rows }) => (input.rows = rows > 0 ? Math.min(50, rows) : 4));
  },
  number_input: numberInput,
  slider(one) {
    const [input, output] = [make("input"), make("output")];
    input.type = "range";
    const tellValue = () => say(output, input.value);
    one.read = () => input.valueAsNumber;
    one.put = (value) => (input.value = str(value));
    const limits = ({ min, max, step }) => Object.assign(input, { min: str(min), max: str(max), step: str(step) });
    field(one, input, limits, tellValue);
    one.el.firstChild.append(" ", output);
    on(input, "pointerdown", () => (one.held = true));
    on(input, "input", () => {
      tellValue();
      edited(one, DRAGGING);
    });
    on(input, "change pointerup pointercancel blur", () => {
      one.held = false;
      flush(one);
      settle();
    });
  },
  checkbox(one) {
    const input = make("input");
    input.type = "checkbox";
    one.read = () => input.checked;
    one.put = (value) => (input.checked = value === true);
    field(one, input);
    one.el.classList.add("check");
    on(input, "change", () => edited(one));
  },
  selectbox(one) {
    const input = make("select");
    let options = [];
    const option = (value, text) => Object.assign(make("option", "", text), { value });
    one.read = () => (input.value === "" ? null : options[input.value]);
    one.put = (value) => {
      const at = options.indexOf(value);
      const none = input.querySelector('option[value=""]');
      if (at >= 0) none?.remove();
      else if (!none) input.prepend(option("", "Choose…"));
      input.value = at < 0 ? "" : at;
    };
    choosing(one, input, (given) => {
      options = given;
      input.replaceChildren(...options.map((value, at) => option(at, value)));
    });
  },
  multiselect(one) {
    const choices = make("div", "choices");
    let options = [];
    const boxes = () => [...choices.querySelectorAll("input")];
    one.read = () => boxes().flatMap((box, at) => (box.checked ? [options[at]] : []));
    one.put = (values) => boxes().forEach((box, at) => (box.checked = list(values).includes(options[at])));
    choosing(one, choices, (given) => {
      options = given;
      choices.replaceChildren(...options.map((text) => make("label", "choice", make("input"), make("span", "", text))));
      for (const box of boxes()) box.type = "checkbox";
    });
  },
  button(one) {
    const button = make("button", "button");
    simple(one, button, (props) => {
      say(button, props.label);
      button.disabled = props.disabled === true;
      button.classList.toggle("primary", props.primary === true);
      button.classList.toggle("danger", props.danger === true);
      if (props.confirm) withMore(() => {}); // so that it is there for the click
    });
    const click = () => act(one, "click", null);
    const unasked = () => toast("Nothing was done: the question could not be loaded. Please try again.");
    on(button, "click", () => (one.props.confirm ? withMore(({ ask }) => ask(one, click), unasked) : click()));
  },
  nav(one) {
    const bar = make("ul");
    simple(one, make("nav", "nav", bar), (props, changed) => {
      one.el.ariaLabel = str(props.label) || "Pages";
      const items = list(props.items).map(list);
      while (bar.children.length > items.length) bar.lastChild.remove();
      while (bar.children.length < items.length) bar.append(make("li", "", make("button")));
      items.forEach(([key, label], at) => {
        const button = bar.children[at].firstChild;
        say(button, label);
        button.value = str(key);
        button.ariaCurrent = key === props.current ? "page" : null;
        if (button.ariaCurrent && "current" in changed) bar.scrollLeft = button.offsetLeft - 40;
      });
    });
    on(bar, "click", ({ target }) => target.localName === "button" && act(one, "select", target.value));
  },
  tree: (one) => later(one, "tree"),
  address: (one) => later(one, ""),
  form(one) {
    const send = make("button", "button primary");
    send.type = "submit";
    one.inside = make("div", "stack");
    simple(one, Object.assign(make("form", "form", one.inside, send), { noValidate: true }), (props) => {
      say(send, props.submit_label || "Submit");
      send.disabled = props.disabled === true;
      one.el.classList.toggle("border", props.border !== false);
    });
    on(one.el, "submit", (event) => {
      event.preventDefault();
      submit(one);
    });
  },

  container: (one) => stack(one, "container"),
  column: (one) => stack(one, "column"),
  columns(one) {
    one.inside = make("div", "grid");
    one.placed = () => {
      const ratio = (at) => Math.min(100, Math.max(0.01, list(one.props.ratios)[at])) || 1;
      one.inside.style.setProperty("--widths", one.children.map((_, at) => `minmax(0, ${ratio(at)}fr)`).join(" "));
    };
    simple(one, make("div", "columns", one.inside), one.placed);
  },
  sidebar(one) {
    const [button, inside] = [make("button", "sidebar-button"), make("div", "stack")];
    one.inside = inside;
    inside.id = newId();
    button.setAttribute("aria-controls", inside.id);
    const open = (isOpen) => {
      one.el.classList.toggle("open", isOpen);
      button.ariaExpanded = String(isOpen);
      say(button, isOpen ? "Close sidebar" : "Open sidebar");
    };
    on(button, "click", () => open(!one.el.classList.contains("open")));
    simple(one, make("aside", "sidebar", button, inside), ({ expanded }, changed) => {
      const fits = button.ariaExpanded || matchMedia("(min-width: 60rem)").matches; // a phone begins with the page
      if ("expanded" in changed) open(expanded === true && Boolean(fits));
    });
    one.el.ariaLabel = "Sidebar";
  },
  expander(one) {
    const summary = make("summary");
    one.inside = make("div", "stack");
    simple(one, make("details", "expander", summary, one.inside), (props, changed) => {
      say(summary, props.label);
      if ("expanded" in changed) one.el.open = props.expanded === true;
    });
  },
  tabs,
  tab,

  table: (one) => later(one, "scroll table"),
  dataframe: (one) => later(one, "scroll table dataframe"),
  metric(one) {
    const [label, value, delta] = [make("p", "label"), make("p", "value"), make("p", "delta")];
    simple(one, make("div", "metric", label, value, delta), (props) => {
      say(label, props.label);
      say(value, props.value);
      const change = str(props.delta);
      const way = /^[+\s]*0*\.?0*$/.test(change) ? "" : /^\s*[-−]/.test(change) ? "down" : "up";
      const sense = !way || props.better === "neutral" ? "" : way === (props.better ?? "up") ? "good" : "bad";
      const words = [way, { good: "better", bad: "worse" }[sense]].filter(Boolean).join(", ");
      const arrow = make("span", "", { up: "▲ ", down: "▼ " }[way]);
      arrow.ariaHidden = "true";
      delta.className = `delta ${sense}`;
      delta.replaceChildren(...(change ? [arrow, change, make("span", "unseen", ` ${words}`)] : []));
    });
  },
  line_chart: (one) => later(one, "chart", "figure"),
  bar_chart: (one) => later(one, "chart", "figure"),
  progress(one) {
    const [bar, text] = [make("progress"), make("label")];
    bar.id = text.htmlFor = newId();
    simple(one, make("div", "progress", text, bar), (props) => {
      const isKnown = props.value != null;
      if (isKnown) bar.value = Math.min(1, Math.max(0, props.value)) || 0;
      else bar.removeAttribute("value");
      say(text, props.text || (isKnown ? `${Math.round(bar.value * 100)} %` : "Working…"));
    });
  },
  alert(one) {
    const [level, text] = [make("strong"), make("span")];
    simple(one, make("div", "alert", level, " ", text), (props) => {
      const name = Object.hasOwn(LEVELS, props.level) ? props.level : "info";
      one.el.className = `alert ${name}`;
      one.el.role = name === "error" || name === "warning" ? "alert" : "status";
      say(level, LEVELS[name]);
      say(text, props.text);
    });
  },
};

/** What `write` makes of a value, and the property that it becomes. */
const WRITTEN = { __proto__: null, text: "text", markdown: "nodes", json: "value", table: "data", alert: "" };
const LEVELS = { info: "Note", success: "Done", warning: "Warning", error: "Error" };

function simple(one, el, update) {
  Object.assign(one, { el, update });
}

function stack(one, name) {
  one.inside = make("div", `stack ${name}`);
  simple(one, one.inside, (props) => {
    one.el.classList.toggle("border", props.border === true);
    one.el.classList.toggle("row-of", props.row === true);
  });
}

function heading(one, tag) {
  simple(one, make(tag, one.kind), (props) => {
    say(one.el, props.text);
    one.el.classList.toggle("divided", Boolean(props.divider));
    const anchor = str(props.anchor);
    if (/^[a-z0-9][\w-]*$/i.test(anchor) && !document.getElementById(anchor)) one.el.id = anchor;
  });
}

// --- Inputs ---

let ids = 0;
const newId = () => `_${++ids}`;

/** A label, a control and a line of help that belong together; a group of controls is a fieldset. */
function field(one, control, update, after = () => {}) {
  const isGroup = control.localName === "div";
  const [words, help] = [make("span"), make("p", "help")];
  const label = make(isGroup ? "legend" : "label", "label", words);
  [control.id, help.id] = [newId(), newId()];
  if (!isGroup) label.htmlFor = control.id;
  const el = make(isGroup ? "fieldset" : "div", "field", label, control, help);
  const target = isGroup ? el : control;
  const put = one.put;
  one.put = (value) => {
    put(value);
    after();
  };
  simple(one, el, (props, changed) => {
    say(words, props.label);
    say(help, props.help);
    if (props.help) target.setAttribute("aria-describedby", help.id);
    else target.removeAttribute("aria-describedby");
    target.disabled = props.disabled === true || (props.read_only === true && !one.typed); // not all know read-only
    target.readOnly = props.read_only === true;
    el.classList.toggle("off", target.disabled || target.readOnly);
    update?.(props, changed);
    apply(one);
    after();
  });
}

/** An input with options to choose from. */
function choosing(one, control, offer) {
  field(one, control, (props, changed) => {
    if (!("options" in changed)) return;
    const before = one.read();
    offer(list(props.options));
    one.put(isSettled(one) ? props.value : before);
  });
  on(control, "change", () => edited(one));
}

/** An input that is typed into. */
function typing(one, input, update) {
  one.typed = true;
  one.read ??= () => input.value;
  one.put = (value) => {
    const { selectionStart: from, selectionEnd: to } = input;
    input.value = str(value);
    if (from != null && document.activeElement === input) input.setSelectionRange(from, to);
  };
  field(one, input, (props) => {
    input.placeholder = str(props.placeholder);
    if (props.max_length > 0) input.maxLength = props.max_length;
    else input.removeAttribute("maxlength");
    update(props);
  });
  on(input, "compositionstart", () => (one.held = true));
  on(input, "compositionend blur", () => (one.held = false));
  on(input, "input compositionend", () => edited(one, TYPING));
  on(input, "blur", () => flush(one));
  on(input, "keydown", ({ key, isComposing }) => {
    if (key === "Enter" && !isComposing && input.localName === "input") flush(one);
  });
}

/** An empty one is null. What is no number, or out of bounds, is told to the visitor and to nobody else. */
function numberInput(one) {
  const [input, fault] = [make("input"), make("p", "fault")];
  Object.assign(input, { type: "number", inputMode: "decimal" });
  fault.role = "status";
  one.read = () => {
    const { badInput, rangeOverflow, rangeUnderflow } = input.validity;
    const isPart = one.props.whole === true && input.valueAsNumber % 1;
    if (badInput || rangeOverflow || rangeUnderflow || isPart) return undefined;
    return input.value === "" ? null : input.valueAsNumber;
  };
  typing(one, input, ({ min, max, step }) => {
    Object.assign(input, { min: str(min), max: str(max), step: step > 0 ? str(step) : "any" });
  });
  one.el.append(fault);
  one.look = (isAsked) => {
    const isWrong = one.read() === undefined;
    const bounds = `${input.min && ` from ${input.min}`}${input.max && ` up to ${input.max}`}`;
    say(fault, isWrong ? `Please enter a ${one.props.whole ? "whole " : ""}number${bounds}.` : "");
    input.ariaInvalid = String(isWrong);
    if (isWrong && isAsked === true) input.focus();
  };
  on(input, "change", one.look);
  on(input, "input", () => fault.textContent && one.look());
  on(input, "blur", () => {
    if (input.validity.badInput && !formOf(one)) one.dirty = false; // half typed, and left so
    settle();
    one.look();
  });
}

// --- Tabs ---

function tabs(one) {
  const bar = make("div", "tab-bar");
  bar.role = "tablist";
  one.inside = make("div");
  let chosen = null;
  one.choose = (tab) => {
    chosen = tab;
    one.placed();
  };
  one.placed = () => {
    if (!one.children.includes(chosen)) [chosen] = one.children;
    for (const tab of one.children) {
      const isChosen = tab === chosen;
      tab.el.hidden = !isChosen;
      tab.button.ariaSelected = String(isChosen);
      tab.button.tabIndex = isChosen ? 0 : -1;
    }
    const buttons = one.children.map(({ button }) => button);
    if (buttons.some((button, at) => bar.children[at] !== button) || bar.children[buttons.length]) {
      bar.replaceChildren(...buttons);
    }
  };
  on(bar, "keydown", (event) => {
    const at = one.children.indexOf(chosen);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    one.choose(one.children.at(to % one.children.length));
    chosen.button.focus();
  });
  simple(one, make("div", "tabs", bar, one.inside), () => {});
}

function tab(one) {
  const button = (one.button = make("button", "tab-button"));
  stack(one, "tab");
  [button.id, one.el.id] = [newId(), newId()];
  [button.role, one.el.role] = ["tab", "tabpanel"];
  button.setAttribute("aria-controls", one.el.id);
  one.el.setAttribute("aria-labelledby", button.id);
  on(button, "click", () => one.parent.choose(one));
  one.update = ({ label }) => say(button, label);
}

// --- Data ---

function alignment(name) {
  return name === "right" || name === "center" ? name : "";
}

let more = null; // what not every page has: tables, charts, trees, nested data, questions
let coming = null;

/** Do something with it: at once, if it is here. */
function withMore(action, otherwise) {
  if (more) return action(more);
  const use = ([module]) => (more ??= module.parts({ make, say, on, str, list, act, toast, newId, alignment, attempt, edited, apply }));
  coming ??= Promise.all([import("./more.js"), styled("more.css")]).then(use);
  const missing = (error) => {
    coming = null; // the next one may have more luck
    console.warn("A part of the page cannot be loaded.", error);
    otherwise?.();
  };
  coming.then(() => attempt("a part", () => action(more)), missing);
}

/** Once there are these styles, too. */
function styled(file) {
  const link = Object.assign(make("link"), { rel: "stylesheet", href: new URL(`./${file}`, import.meta.url) });
  document.head.append(link);
  return new Promise((done) => on(link, "load error", done));
}

/** A widget that it draws. */
function later(one, name, tag = "div") {
  simple(one, make(tag, name), (props, changed) => {
    const isNew = !more && (one.el.ariaBusy = "true");
    const draw = () => {
      if (isNew) one.el.ariaBusy = null;
      pick(more, one.kind)(one, props, changed);
    };
    withMore(draw, () => say(one.el, "This could not be loaded."));
  });
}

// --- What the server's data may become ---

const TAGS =
  "p h1 h2 h3 h4 h5 h6 em strong s code pre a ul ol li blockquote hr br table thead tbody tr th td img".split(" ");
const DEEPEST = 100;

/** Markdown, as the server has parsed it. */
function nodes(described, depth = 0) {
  const all = document.createDocumentFragment();
  for (const node of list(described)) {
    if (typeof node === "string") all.append(node);
    else if (TAGS.includes(node?.[0]) && depth < DEEPEST) all.append(element(node, depth));
    else console.warn("A piece of text cannot be shown.");
  }
  return all;
}

function element([tag, attributes, inside], depth) {
  const given = Object(attributes);
  if (tag === "img") return picture(given.src, given.alt, given.title);
  const el = make(tag, tag === "td" || tag === "th" ? alignment(given.align) : "");
  if (tag === "a" && isAddress(given.href, /^(https?|mailto):/)) {
    el.href = given.href;
    if (el.origin !== location.origin) Object.assign(el, { rel: "noopener noreferrer", target: "_blank" });
  }
  if (given.title) el.title = str(given.title);
  if (tag === "ol" && Number.isInteger(given.start)) el.start = given.start;
  if (tag === "th") el.scope = "col"; // Markdown knows no others
  el.append(nodes(inside, depth + 1));
  return tag === "table" ? make("div", "scroll", el) : el;
}

function picture(src, alt, title = "") {
  const isFine = isAddress(src, /^(https?:|data:image\/(png|jpeg|gif|webp)[;,])/i);
  if (!isFine) return make("span", "no-image", alt || "No image");
  return Object.assign(make("img"), { src, alt: str(alt), title: str(title), referrerPolicy: "no-referrer" });
}

/** Whether the browser would read it as one of these. */
function isAddress(address, allowed) {
  try {
    return typeof address === "string" && allowed.test(new URL(address, document.baseURI).href);
  } catch {
    return false; // no address at all
  }
}

// --- Helpers ---

/** An element with text or elements in it. */
function make(tag, name = "", ...children) {
  const el = document.createElement(tag);
  if (name) el.className = name;
  if (tag === "button") el.type = "button";
  el.append(...children.map((child) => (child instanceof Node ? child : str(child))));
  return el;
}

/** Text into an element, if it is another: else what is selected in it would be lost. */
function say(el, text) {
  if (el.textContent !== str(text)) el.textContent = str(text);
}

function on(target, names, action) {
  for (const name of names.split(" ")) target.addEventListener(name, action);
}

function str(value) {
  return typeof value === "object" && value ? JSON.stringify(value) : String(value ?? "");
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function same(a, b) {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}

/** One of a table's own entries, never what all objects have. */
function pick(table, name) {
  if (!Object.hasOwn(table, name)) throw new TypeError("there is none of that name");
  return table[name];
}

function attempt(what, action) {
  try {
    action();
  } catch (error) {
    console.warn("Passed over:", what, error);
  }
}

function toast(message, detail = "") {
  const open = [...toasts.children];
  if (open.some((one) => one.firstChild.textContent === message)) return;
  if (open.length > 3) open[0].remove();
  const close = make("button", "close", "Dismiss");
  const one = make("div", "toast", make("p", "", message), close);
  one.role = "alert";
  if (detail) one.append(make("details", "", make("summary", "", "Details"), make("pre", "", detail)));
  else setTimeout(() => one.remove(), 10_000);
  on(close, "click", () => one.remove());
  toasts.append(one);
}

// --- Start ---

status.role = "status";
document.body.prepend(status);
document.body.append(toasts);
attempt("the first page", () => FRAMES.page(JSON.parse(document.getElementById("page").textContent)));
html.dataset.state = "connecting";
connect();

setInterval(ping, PING);
on(window, "online", wake);
on(document, "visibilitychange", () => (document.hidden ? flushAll() : wake()));
on(window, "pagehide", () => {
  flushAll();
  isOver = true;
  hangUp();
});
on(window, "pageshow", ({ persisted }) => {
  if (!persisted || html.dataset.state === "ended") return;
  isOver = false;
  connect();
});
