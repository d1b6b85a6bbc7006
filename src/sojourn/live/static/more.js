/**
 * What not every page has: tables, charts, trees, nested data, questions before a click, and the address. `live.js`
 * loads it for the first of them, with `more.css`, and hands in its tools; its rules are those of `live.js`. It is one
 * file, past 400 lines, as that is one round trip.
 *
 * Rows and nodes are elements that stay as long as their keys do, so that focus and what is selected survive.
 */

/** @type {Object} what live.js has: make, say, on, str, list, act, toast, newId, alignment, attempt, edited, apply */
let tools;

export function parts(given) {
  tools = given;
  return { table, dataframe: table, tableOf, line_chart: chart, bar_chart: chart, tree, json, address, ask };
}

/** Make these what is in an element, in this order, and move as little as can be. */
function arrange(into, elements) {
  const stay = new Set(elements);
  for (const old of [...into.children]) if (!stay.has(old)) old.remove();
  let next = into.firstElementChild;
  for (const el of elements) {
    if (el === next) next = el.nextElementSibling;
    else into.insertBefore(el, next);
  }
}

/** Where an arrow leads from one of some: the next index, or undefined for a key that is none. */
function step(key, at, count) {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: count - 1 }[key];
  return to === undefined ? undefined : Math.max(0, Math.min(count - 1, to));
}

/** Whether a click ends a selection of text: who copies something chooses nothing. */
function isCopying({ detail, target }, el) {
  const selection = getSelection();
  return detail > 0 && !target.closest("button") && !selection.isCollapsed && selection.containsNode(el, true);
}

// --- Tables ---

const moreRows = (count) => `${count.toLocaleString("en")} more rows are not shown.`;

/** A table that nothing can be done to: for `write`, for charts, and where there are no keys. */
function tableOf(data, empty = "") {
  const { make, str, list, alignment } = tools;
  const columns = list(data?.columns);
  const cells = (tag, row) => row.map((cell, at) => make(tag, alignment(columns[at]?.align), cell));
  const head = make("tr", "", ...cells("th", columns.map((column) => column?.name)));
  for (const th of head.children) th.scope = "col";
  const rows = list(data?.rows).map((row) => make("tr", "", ...cells("td", list(row))));
  const table = make("table", "", make("thead", "", head), make("tbody", "", ...rows));
  if (!rows.length && empty) return [...(columns.length ? [table] : []), make("p", "none", str(empty))];
  return data?.more > 0 ? [table, make("p", "more", moreRows(data.more))] : [table];
}

function table(one, props, changed) {
  one.el.style.maxHeight = props.height > 0 ? `${Math.max(80, props.height)}px` : "";
  Object.assign(one.el, { tabIndex: 0, role: "region", ariaLabel: props.label || "Table" });
  const isUsed = props.keys != null || tools.list(props.sortable).length > 0;
  if (isUsed) (one.rows ??= usedTable(one))(props);
  else if (one.rows || "data" in changed || "empty" in changed) {
    one.rows = null;
    one.el.replaceChildren(...tableOf(props.data, props.empty));
  }
}

/** A table whose rows are chosen and whose headers sort: how it is brought up to date. A row is chosen by a click
 * anywhere in it, or by the button in its first cell: the arrow keys go from one to the next. */
function usedTable(one) {
  const { make, say, on, str, list, act, alignment } = tools;
  const [head, body, words] = [make("tr"), make("tbody"), make("p")];
  one.el.replaceChildren(make("table", "used", make("thead", "", head), body), words);
  let rows = new Map(); // by key; those without one by their number
  let at = ""; // the key of the row that Tab leads to
  const buttonOf = (tr) => tr.querySelector("button");
  const keyOf = new WeakMap();
  const toBe = (key) => {
    const before = rows.get(at);
    if (before && buttonOf(before)) buttonOf(before).tabIndex = -1;
    at = key;
    if (rows.has(at)) buttonOf(rows.get(at)).tabIndex = 0;
  };
  on(body, "click", (event) => {
    const tr = event.target.closest("tr");
    const key = keyOf.get(tr);
    if (typeof key !== "string" || isCopying(event, tr)) return;
    toBe(key);
    act(one, "select", key);
  });
  on(body, "keydown", (event) => {
    const keys = [...rows.keys()].filter((key) => typeof key === "string");
    const to = step(event.key, keys.indexOf(at), keys.length);
    if (to === undefined || !event.target.closest("button")) return;
    event.preventDefault();
    toBe(keys[to]);
    buttonOf(rows.get(at)).focus();
  });
  on(head, "click", ({ target }) => {
    const button = target.closest("button");
    if (button) act(one, "sort", button.value);
  });
  const header = (th, name, { sortable, sorted_by: by }) => {
    th.scope = "col";
    const way = by === name ? "ascending" : by === `-${name}` ? "descending" : null;
    if (!list(sortable).includes(name)) return say(th, name);
    if (th.firstChild?.localName !== "button") th.replaceChildren(make("button", "sort", make("span"), make("i")));
    const [label, arrow] = th.firstChild.children;
    th.firstChild.value = name;
    say(label, name);
    say(arrow, { ascending: "▲", descending: "▼" }[way] ?? "↕");
    arrow.ariaHidden = "true";
    th.ariaSort = way;
  };
  const fill = (tr, tag, count) => {
    while (tr.children.length > count) tr.lastChild.remove();
    while (tr.children.length < count) tr.append(make(tag));
  };
  return (props) => {
    const columns = list(props.data?.columns);
    const keys = list(props.keys);
    fill(head, "th", columns.length);
    const before = rows;
    rows = new Map();
    list(props.data?.rows).forEach((cells, number) => {
      const key = typeof keys[number] === "string" ? keys[number] : number;
      const tr = before.get(key) ?? make("tr");
      rows.set(key, tr);
      keyOf.set(tr, key);
      fill(tr, "td", columns.length);
      const isChosen = typeof key === "string" && columns.length > 0;
      tr.className = isChosen ? "row" : "";
      columns.forEach((column, index) => {
        const td = tr.children[index];
        const text = str(list(cells)[index]);
        td.className = alignment(column?.align);
        const tip = text.length > 30 ? text : ""; // it may be cut
        if (td.title !== tip) td.title = tip;
        if (!isChosen || index) return say(td, text);
        if (!buttonOf(td)) td.replaceChildren(make("button"));
        say(td.firstChild, text);
        td.firstChild.ariaLabel = text.trim() ? null : `Row ${number + 1}`;
        td.firstChild.tabIndex = -1;
      });
    });
    columns.forEach((column, index) => {
      head.children[index].className = alignment(column?.align);
      header(head.children[index], str(column?.name), props);
    });
    arrange(body, [...rows.values()]);
    toBe(rows.has(at) ? at : [...rows.keys()].find((key) => typeof key === "string"));
    const none = rows.size ? "" : str(props.empty);
    const { more } = props.data ?? {};
    words.className = none ? "none" : "more";
    say(words, more > 0 ? moreRows(more) : none);
    words.hidden = !words.textContent;
  };
}

// --- Trees ---

const HIDDEN = "••••••";
const andMore = (count) => `… and ${count.toLocaleString("en")} more`;

/** Nodes that can be opened and closed, and of which one is chosen: by a click, or by Enter on the one where the arrow
 * keys have led. What is in a closed one is made when it is opened. */
function tree(one, props, changed) {
  one.tree ??= usedTree(one);
  one.tree(props, changed);
}

function usedTree(one) {
  const { make, say, on, str, list, act } = tools;
  const top = make("ul");
  const words = make("p", "more");
  top.role = "tree";
  one.el.replaceChildren(top, words);
  const open = new Map(); // what the visitor opened or closed, by id
  let items = new Map(); // elements by id: of all that were ever open, and are still there
  let nodes = new Map(); // what they show
  let at = ""; // the id of the node that Tab leads to
  let selected = "";
  const seen = () => [...top.querySelectorAll("[role=treeitem]")];
  const ids = new WeakMap();
  const idOf = (el) => ids.get(el);
  const holds = (node) => list(node.children).length > 0 || node.more > 0;
  const isOpen = (id, level) => open.get(id) ?? level < 2;

  /** The element of a node, as it is now. */
  const item = (node, level, position, size) => {
    const id = str(node.id);
    const el = items.get(id) ?? build();
    items.set(id, el);
    ids.set(el, id);
    nodes.set(id, node);
    const [line, group] = el.children;
    const [label, note, value] = line.lastChild.children;
    const shows = node.hidden === true ? HIDDEN : node.value == null ? "" : str(node.value);
    say(label, node.label);
    say(note, node.note);
    say(value, shows);
    value.hidden = !shows;
    const spoken = node.hidden === true ? "hidden" : shows.slice(0, 200);
    el.ariaLabel = [str(node.label) || "No name", spoken, str(node.note)].filter(Boolean).join(", ");
    Object.assign(el, { ariaLevel: String(level), ariaPosInSet: String(position), ariaSetSize: String(size) });
    el.ariaSelected = String(id === selected);
    el.tabIndex = id === at ? 0 : -1;
    el.ariaExpanded = holds(node) ? String(isOpen(id, level)) : null;
    group.hidden = el.ariaExpanded !== "true";
    fill(group, group.hidden ? { children: [] } : node, level + 1);
    return el;
  };
  const build = () => {
    const twist = make("span", "twist");
    twist.ariaHidden = "true";
    const words = make("div", "", make("span", "name"), make("span", "note"), make("span", "value"));
    const el = make("li", "", make("div", "node", twist, words), make("ul"));
    el.role = "treeitem";
    el.lastChild.role = "group";
    return el;
  };
  const fill = (group, node, level) => {
    const children = list(node.children).filter((child) => child && typeof child === "object");
    const inside = children.map((child, index) => item(child, level, index + 1, children.length));
    if (node.more > 0) {
      const rest = group.lastChild?.role === "none" ? group.lastChild : make("li", "more");
      rest.role = "none";
      say(rest, andMore(node.more));
      inside.push(rest);
    }
    arrange(group, inside);
  };

  const toggle = (id, isTo) => {
    const el = items.get(id);
    if (!el?.ariaExpanded || el.ariaExpanded === String(isTo)) return;
    open.set(id, isTo);
    item(nodes.get(id), Number(el.ariaLevel), el.ariaPosInSet, el.ariaSetSize);
  };
  const toBe = (id) => {
    if (items.has(at)) items.get(at).tabIndex = -1;
    at = id;
    if (items.has(at)) items.get(at).tabIndex = 0;
  };
  const go = (el) => {
    if (!el) return;
    toBe(idOf(el));
    el.focus();
  };
  const choose = (id) => {
    toggle(id, true);
    act(one, "select", id);
  };
  on(top, "click", (event) => {
    const { target } = event;
    const el = target.closest(".node")?.parentElement;
    if (!el || isCopying(event, el)) return;
    const id = idOf(el);
    const wasOpen = el.ariaExpanded === "true";
    go(el);
    if (target.closest(".twist") && el.ariaExpanded) return toggle(id, !wasOpen);
    if (wasOpen && id === selected) toggle(id, false);
    else choose(id);
  });
  on(top, "keydown", (event) => {
    const { key, ctrlKey, metaKey, altKey, target } = event;
    if (ctrlKey || metaKey || altKey || target.role !== "treeitem") return;
    const all = seen();
    const here = all.indexOf(target);
    const isClosed = target.ariaExpanded === "false";
    const isThere = target.ariaExpanded === "true";
    const to = step(key, here, all.length);
    if (to !== undefined) go(all[to]);
    else if (key === "ArrowRight") isClosed ? toggle(idOf(target), true) : isThere && go(seen()[here + 1]);
    else if (key === "ArrowLeft") isThere ? toggle(idOf(target), false) : go(target.parentElement.closest("li"));
    else if (key === "Enter" || key === " ") choose(idOf(target));
    else if (key.length === 1) {
      const begins = (el) => el.ariaLabel.toLowerCase().startsWith(key.toLowerCase());
      go([...all.slice(here + 1), ...all.slice(0, here)].find(begins));
    } else return;
    event.preventDefault();
  });

  /** Open all that a node is in. */
  const reveal = (id, inside) =>
    list(inside).some((node) => {
      const isHere = node?.id === id || reveal(id, node?.children);
      if (isHere && node.id !== id) open.set(str(node.id), true);
      return isHere;
    });
  return (props, changed) => {
    top.ariaLabel = str(props.label) || "Tree";
    selected = str(props.selected);
    const data = props.nodes ?? {};
    if ("selected" in changed && selected) reveal(selected, data.nodes);
    const before = items;
    items = new Map(before);
    nodes = new Map();
    fill(top, { children: list(data.nodes) }, 1);
    for (const id of before.keys()) if (!nodes.has(id)) items.delete(id);
    if (!items.has(at) || ("selected" in changed && !top.contains(document.activeElement))) {
      toBe(items.has(selected) ? selected : idOf(seen()[0]));
    }
    say(words, data.more > 0 ? andMore(data.more) : "");
    words.hidden = !words.textContent;
  };
}

// --- Nested data ---

function json(one, props) {
  one.open ??= new Map(); // what the visitor opened or closed, by path
  one.el.replaceChildren(jsonNode(props.value, one.open, props.expanded === false ? 0 : 3));
}

/** What is in a closed one is made when it is opened. */
function jsonNode(value, open, depth, name = "", path = "") {
  const { make, on } = tools;
  const label = name && make("span", "json-name", `${name}: `);
  if (value === null || typeof value !== "object") {
    return make("div", "", label, make("span", `json-${typeof value}`, JSON.stringify(value)));
  }
  const entries = Object.entries(value);
  const [start, end] = Array.isArray(value) ? "[]" : "{}";
  const inside = make("div");
  const el = make("details", "", make("summary", "", label, start, make("i", "", entries.length), end), inside);
  const show = () => {
    if (!el.open || inside.firstChild) return;
    inside.append(...entries.map(([key, item]) => jsonNode(item, open, depth - 1, key, `${path}/${key}`)));
  };
  el.open = open.get(path) ?? (depth > 0 && entries.length > 0);
  on(el, "toggle", () => {
    open.set(path, el.open);
    show();
  });
  show();
  return el;
}

// --- Charts ---

/** Drawn by a module of its own, as most pages have no chart, and for the width that it has: letters stay as large as
 * others. Who cannot see it, or does not get the module, has the table. */
function chart(one, props) {
  one.chart ??= drawnChart(one);
  one.chart(props);
}

function drawnChart(one) {
  const { make, say } = tools;
  const [title, legend, plot] = [make("figcaption"), make("ul", "legend"), make("div", "plot")];
  const spoken = make("div", "unseen");
  one.el.replaceChildren(title, legend, plot, spoken);
  let [width, data, isStacked] = [0, chartData(null), false];
  const draw = async () => {
    try {
      const { drawing } = await import("./chart.js");
      const isBars = one.kind === "bar_chart";
      if (width) plot.replaceChildren(drawing(data, width, isBars, title.textContent, isStacked));
    } catch (error) {
      console.warn("A chart cannot be drawn.", error);
      spoken.className = "scroll";
    }
  };
  new ResizeObserver(() => {
    if (plot.clientWidth === width) return;
    width = plot.clientWidth;
    draw();
  }).observe(plot);
  return (props) => {
    data = chartData(props.data);
    isStacked = props.stacked === true;
    const { labels, series } = data;
    say(title, props.title);
    legend.replaceChildren(...series.map(({ name }, at) => make("li", `series-${at % 6}`, make("i"), name)));
    legend.hidden = series.length < 2 && !series[0]?.name;
    const rows = labels.slice(0, 200).map((label, at) => [label, ...series.map(({ values }) => values[at])]);
    spoken.replaceChildren(...tableOf({ columns: [{}, ...series], rows, more: labels.length - rows.length }));
    draw();
  };
}

function chartData(data) {
  const { str, list } = tools;
  const number = (value) => (Number.isFinite(value) ? Math.max(-1e300, Math.min(1e300, value)) : null);
  const series = list(data?.series).map((one) => ({ name: str(one?.name), values: list(one?.values).map(number) }));
  const labels = list(data?.labels).map(str);
  for (const { values } of series) while (labels.length < values.length) labels.push(String(labels.length));
  return { labels, series };
}

// --- The address ---

let addressed = null; // the widget that the address is of

const isId = (part) => part.startsWith("session_id=") && "named" in document.documentElement.dataset;
const queryParts = () => location.search.slice(1).split("&");

/** An input that is not seen: its value is what the address says behind its question mark. A session's id that stands
 * there, too, stays there, and is told to nobody. */
function address(one) {
  const { on, str, attempt, edited, apply } = tools;
  if (!one.read) {
    one.el.hidden = true;
    const said = () => queryParts().filter((part) => !isId(part)).join("&");
    let [given, became] = ["", ""]; // what was put there, and what it reads as
    one.read = () => (said() === became ? given : said());
    one.put = (value) => {
      const url = new URL(location.href);
      url.search = [...queryParts().filter(isId), str(value)].filter(Boolean).join("&");
      attempt("the address", () => history.replaceState(history.state, "", url)); // a frame may not be allowed to
      [given, became] = [value, said()];
    };
    if (!addressed) on(window, "popstate", () => addressed.el.isConnected && edited(addressed));
    addressed = one;
    if (one.read()) edited(one); // who comes with nothing has what is kept
  }
  apply(one);
}

// --- Questions ---

/** Ask before a click. What was asked about may change while somebody thinks: then nothing is done. */
function ask(one, click) {
  const { make, on, str, toast, newId } = tools;
  const { label, confirm } = one.props;
  const [words, no] = [make("p", "", confirm), make("button", "button", "Cancel")];
  const yes = make("button", `button primary ${one.props.danger === true ? "danger" : ""}`, str(label) || "OK");
  const dialog = make("dialog", "ask", words, make("div", "answers", no, yes));
  words.id = newId();
  dialog.role = "alertdialog";
  dialog.setAttribute("aria-labelledby", words.id);
  on(dialog, "close", () => dialog.remove());
  on(dialog, "click", ({ target }) => target === dialog && dialog.close()); // beside it
  on(no, "click", () => dialog.close());
  on(yes, "click", () => {
    dialog.close();
    const isSame = one.props.label === label && one.props.confirm === confirm;
    if (isSame && one.el.isConnected && !one.el.disabled) click();
    else toast("This has changed meanwhile: nothing was done.");
  });
  document.body.append(dialog);
  dialog.showModal();
}
