/**
 * The drawing of a chart: SVG with axes, a few round numbers, lines or bars. `live.js` loads it for the first chart of
 * a page. Pure: data that `live.js` has checked, and a width in pixels, become an element. `live.css` has the colours.
 */

/** Round numbers that hold all values between them. */
function ticksOf(values, isBars) {
  let low = values.reduce((a, b) => Math.min(a, b), isBars ? 0 : Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), isBars ? 0 : -Infinity);
  if (!values.length) [low, high] = [0, 1];
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (size < 1e-290) [low, high] = [0, 1];
  else if (high - low <= size * 1e-9) [low, high] = [low - size / 10, high + size / 10]; // too near to be told apart
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const count = Math.max(1, Math.ceil(high / step) - first) + 1;
  return Array.from({ length: count }, (_, at) => (first + at) * step);
}

function shortNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  if (size >= 1e4) return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 }).format(value);
  return String(Number(value.toPrecision(6)));
}

function svg(tag, attributes, ...children) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

/** Where each mark begins and ends: stacked, on what is there already, up from 0 or down from it. */
function spans({ labels, series }, isStacked) {
  const [up, down] = [labels.map(() => 0), labels.map(() => 0)];
  const span = (value, at) => {
    if (!isStacked || value === null) return [0, value];
    const pile = value < 0 ? down : up;
    const from = pile[at];
    pile[at] += value;
    return [from, pile[at]];
  };
  return series.map(({ values }) => values.map(span));
}

/** @param {{labels: string[], series: {name: string, values: (number | null)[]}[]}} data null is a gap */
export function drawing({ labels, series }, width, isBars, title, isStacked = false) {
  const points = labels.length;
  const height = width < 480 ? 220 : 280;
  const ends = spans({ labels, series }, isStacked);
  const ticks = ticksOf(ends.flat().flatMap(([, end]) => end ?? []), isBars);
  const [low, high] = [ticks[0], ticks.at(-1)];
  const left = 16 + 7 * Math.max(...ticks.map((tick) => shortNumber(tick).length));
  const [top, right, bottom] = [10, width - 10, height - 28];
  const band = (right - left) / Math.max(1, points);
  const x = (at) => left + band * (at + 0.5);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const what = `${isBars ? "Bar" : "Line"} chart${title && `: ${title}`}`;
  const from = `from ${shortNumber(low)} to ${shortNumber(high)}`;
  const about = svg("desc", {}, `${series.length} series, ${points} points, ${from}. A table follows.`);
  const all = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": what }, about);
  for (const tick of ticks) {
    all.append(
      svg("line", { class: tick === 0 ? "zero" : "rule", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, shortNumber(tick)),
    );
  }
  for (let at = 0; at < points; at += Math.ceil(points / Math.max(1, Math.floor((right - left) / 76)))) {
    const text = labels[at].length > 11 ? `${labels[at].slice(0, 10)}…` : labels[at];
    all.append(svg("text", { x: x(at), y: height - 8, "text-anchor": "middle" }, text));
  }
  series.forEach(({ name, values }, which) => {
    const group = svg("g", { class: `series-${which % 6}` });
    const wide = (band * 0.76) / (isStacked ? 1 : series.length);
    const isGap = (at) => (values[at] ?? null) === null;
    const pen = (at) => `${isGap(at - 1) ? "M" : "L"}${x(at).toFixed(1)} ${y(values[at]).toFixed(1)}`;
    if (!isBars) group.append(svg("path", { d: values.map((_, at) => (isGap(at) ? "" : pen(at))).join("") }));
    values.forEach((value, at) => {
      if (isGap(at) || (!isBars && band < 9 && !(isGap(at - 1) && isGap(at + 1)))) return;
      const [base, end] = ends[which][at];
      const [from, to] = [y(Math.max(base, end)), y(Math.min(base, end))];
      const start = x(at) - band * 0.38 + (isStacked ? 0 : wide * which);
      const mark = isBars
        ? svg("rect", { x: start, y: from, width: Math.max(0.5, wide * 0.92), height: to - from })
        : svg("circle", { cx: x(at), cy: y(value), r: 3.5 });
      mark.append(svg("title", {}, `${labels[at]}: ${name} ${value}`));
      group.append(mark);
    });
    all.append(group);
  });
  return all;
}
