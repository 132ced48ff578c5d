// One value against another, a point for each run of the table.

import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import uPlot from "uplot";
import { asNumber, byId, field, name, ofSpace, rows as allRows, type Column } from "./data";
import { axis, Chart, valueAxis } from "./chart";
import { changed, chosen, colour, dark, metrics as allMetrics, ordered, toggle } from "./state";
import { byInfluence } from "./influence";
import { Check, Chosen, Dot, Select } from "./parts";

const xId = signal("");
const yId = signal("");
const colourId = signal("");
const isLogX = signal(false);
const isLogY = signal(false);
const pointed = signal<number | null>(null);
const MOST_COLOURS = 9; // the rest are one

const usable = (column: Column) => allRows.some((row) => column.at(row) !== null);
const metrics = () => allMetrics.value.filter((column) => column.numeric && usable(column));
const params = () => {
  const varied = ofSpace("param").filter((column) => usable(column) && changed.value.has(column.id));
  return varied.length ? varied : ofSpace("param").filter(usable);
};
const named = (some: Column[]): [string, string][] => some.map((column) => [column.id, column.title]);

/** Numbers as they are; words by their place in the order of words. */
export function scaled(column: Column, rows: readonly number[]): { of: (row: number) => number | null; words: string[] | null } {
  if (column.numeric) return { of: (row) => asNumber(column.at(row)), words: null };
  const words = [...new Set(rows.map((row) => column.text(row)).filter((text) => text !== ""))].sort().slice(0, 100);
  const places = new Map(words.map((word, place) => [word, place]));
  return { of: (row) => places.get(column.text(row)) ?? null, words };
}

const label = (column: Column) => ({ label: column.title, labelSize: 22, labelGap: 2 });

/** Room at both ends: of points at the edge, uPlot draws one only. */
function padded(isLog: boolean, words: string[] | null) {
  return (_: uPlot, least: number | null, most: number | null): [number, number] => {
    if (words) return [-0.5, Math.max(words.length - 0.5, 0.5)];
    const [low, high] = [least ?? 0, most ?? 1];
    if (isLog && low > 0) return [low / 1.2, high * 1.2];
    const room = (high - low) * 0.03 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  };
}

export function Scatter() {
  const xs = [...params(), field.start, field.seconds, ...metrics()];
  const ys = [...metrics(), field.seconds];
  const y = byId.get(yId.value) ?? ys[0];
  const best = useMemo(() => byInfluence(params(), y, ordered.value), [y]);
  const x = byId.get(xId.value) ?? best.find((column) => column.numeric) ?? best[0] ?? xs[0];
  const by = byId.get(colourId.value);
  const rows = ordered.value;
  const picked = chosen.value;
  const isDark = dark.value;
  const [logX, logY] = [isLogX.value, isLogY.value];

  const { points, data, groups, words } = useMemo(() => {
    const [horizontal, vertical] = [scaled(x, rows), scaled(y, rows)];
    const isDrawn = (value: number | null, log: boolean) => value !== null && Number.isFinite(value) && (!log || value > 0);
    const points = rows
      .map((row) => ({ row, x: horizontal.of(row)!, y: vertical.of(row)! }))
      .filter((point) => isDrawn(point.x, logX && !horizontal.words) && isDrawn(point.y, logY))
      .sort((a, b) => a.x - b.x);
    const counts = new Map<string, number>();
    if (by) for (const { row } of points) counts.set(by.text(row), (counts.get(by.text(row)) ?? 0) + 1);
    const sizes = [...counts].sort((a, b) => b[1] - a[1]).map(([text]) => text);
    const groups = by ? [...sizes.slice(0, MOST_COLOURS).sort(), ...(sizes.length > MOST_COLOURS ? ["others"] : [])] : [""];
    const place = (row: number) => (by ? Math.max(groups.indexOf(by.text(row)), sizes.slice(0, MOST_COLOURS).includes(by.text(row)) ? 0 : groups.length - 1) : 0);
    const lines = groups.map((_, group) => points.map((point) => (place(point.row) === group ? point.y : null)));
    const marked = points.map((point) => (picked.includes(point.row) ? point.y : null));
    const factor = x === field.start ? 0.001 : 1;
    return { points, groups, words: horizontal.words, data: [points.map((point) => point.x * factor), ...lines, marked] as uPlot.AlignedData };
  }, [x, y, by, rows, picked, logX, logY]);

  const options = useMemo(() => () => ({
    scales: {
      x: { time: x === field.start, ...(logX && !words ? { distr: 3 as const } : {}), range: padded(logX, words) },
      y: logY ? { distr: 3 as const } : {},
    },
    legend: { show: false },
    cursor: { points: { show: false } },
    axes: [
      words ? axis({ splits: words.map((_, place) => place), values: words.map((word) => (word.length > 14 ? `${word.slice(0, 13)}…` : word)), ...label(x), size: 36 }) : x === field.start ? axis() : valueAxis({ size: 36, ...label(x) }),
      valueAxis(label(y)),
    ],
    series: [{}, ...groups.map((_, at): uPlot.Series => ({
      stroke: `${colour(at)}b0`, paths: () => null, points: { show: true, size: points.length > 2000 ? 4 : 7, fill: `${colour(at)}70`, stroke: `${colour(at)}b0`, width: 1 },
    })), { stroke: "currentColor", paths: () => null, points: { show: true, size: 13, width: 2, fill: "transparent", stroke: isDark ? "#fff" : "#111" } }],
  }), [x, y, data, isDark]);

  function nearest(plot: uPlot, event: MouseEvent): number | null {
    const box = plot.over.getBoundingClientRect();
    const [left, down] = [event.clientX - box.left, event.clientY - box.top];
    let best: number | null = null;
    let least = 18 ** 2;
    const factor = x === field.start ? 0.001 : 1;
    for (const point of points) {
      const distance = (plot.valToPos(point.x * factor, "x") - left) ** 2 + (plot.valToPos(point.y, "y") - down) ** 2;
      if (distance < least) [best, least] = [point.row, distance];
    }
    return best;
  }

  function listen(plot: uPlot) {
    plot.over.addEventListener("mousemove", (event) => (pointed.value = nearest(plot, event)));
    plot.over.addEventListener("mouseleave", () => (pointed.value = null));
    plot.over.addEventListener("click", (event) => {
      const row = nearest(plot, event);
      if (row !== null) toggle(row);
    });
  }

  if (!x || !y) return <section class="view"><h2>Scatter</h2><p class="empty">No run here has values to draw.</p></section>;
  const under = pointed.value;
  return (
    <section class="view" aria-labelledby="scatter">
      <div class="bar">
        <h2 id="scatter">Scatter</h2>
        <Select label="Across" value={x.id} onChange={(id) => (xId.value = id)} options={named(xs)} />
        <Select label="Up" value={y.id} onChange={(id) => (yId.value = id)} options={named(ys)} />
        <Select label="Colour" value={by?.id ?? ""} onChange={(id) => (colourId.value = id)} options={[["", "none"], ...named([field.status, field.stage, ...params()])]} />
        <Check label="Log across" value={logX} onChange={(value) => (isLogX.value = value)} />
        <Check label="Log up" value={logY} onChange={(value) => (isLogY.value = value)} />
      </div>
      <Chosen />
      <article class="card">
        <Chart label={`${y.title} against ${x.title}, ${points.length} runs`} options={options} data={data} height={440} onPlot={listen} />
        <p class="under" aria-live="polite">
          {under !== null
            ? <><b>{name(under)}</b> {x.title} {x.text(under)} · {y.title} {y.text(under)}{by ? ` · ${by.title} ${by.text(under)}` : ""}</>
            : <span class="dim">Point at a run to see it, click to choose it.</span>}
        </p>
        {by && <ul class="legend">{groups.map((group, at) => <li key={group}><Dot place={at} />{group || "none"}</li>)}</ul>}
      </article>
    </section>
  );
}

