// Parallel coordinates: an axis for each value, a line for each run; a stretch of an axis becomes a condition of the filter.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { byId, count, ofSpace, rows as allRows, type Column } from "./data";
import { compact, style } from "./chart";
import { scaled } from "./scatter";
import { byInfluence } from "./influence";
import { changed, chosen, colour, dark, filter, metrics, ordered } from "./state";
import { Chosen, Dot, RunLink } from "./parts";

const axes = signal<readonly string[] | null>(null);
const MOST_LINES = 3000;
const [TOP, BOTTOM, SIDE] = [44, 28, 70];
const HEIGHT = 460;

function offered(): Column[] {
  const has = (column: Column) => allRows.some((row) => column.at(row) !== null);
  const varied = [...ofSpace("param"), ...ofSpace("metric")].filter((column) => changed.value.has(column.id));
  return (varied.length > 1 ? varied : [...ofSpace("param"), ...ofSpace("metric")]).filter(has);
}

/** The parameters that go most with the first metric, and this metric last. */
function initial(all: Column[], rows: readonly number[]): string[] {
  const metric = metrics.value.find((column) => column.numeric && all.includes(column));
  const best = byInfluence(all.filter((column) => column.space === "param"), metric, rows).slice(0, 6);
  return [...best.reverse(), ...(metric ? [metric] : [])].map((column) => column.id);
}

type Axis = { column: Column; of: (row: number) => number | null; words: string[] | null; least: number; most: number };

function axisOf(column: Column, rows: readonly number[]): Axis {
  const { of, words } = scaled(column, rows);
  let [least, most] = [Infinity, -Infinity];
  for (const row of rows) {
    const value = of(row);
    if (value === null || !Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least > most) [least, most] = [0, 1];
  if (least === most) [least, most] = [least - 0.5, most + 0.5];
  return { column, of, words, least, most };
}

/** From blue over green to yellow, as the metric grows. */
function shade(part: number, isDark: boolean): string {
  return `hsl(${230 - 175 * part} ${70}% ${isDark ? 45 + 20 * part : 52 - 10 * part}%)`;
}

const clipped = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export function Parallel() {
  const all = offered();
  const rows = ordered.value;
  const wanted = useMemo(() => axes.value ?? initial(all, rows), [axes.value, rows]);
  const columns = wanted.map((id) => byId.get(id)).filter((column): column is Column => column !== undefined);
  const canvas = useRef<HTMLCanvasElement>(null);
  const isDark = dark.value;
  const picked = chosen.value;

  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const box = element.parentElement!;
    const drawn = columns.map((column) => axisOf(column, rows));
    const x = (at: number, width: number) => SIDE + (at * (width - 2 * SIDE)) / Math.max(drawn.length - 1, 1);
    const y = (axis: Axis, value: number) => HEIGHT - BOTTOM - ((value - axis.least) / (axis.most - axis.least)) * (HEIGHT - TOP - BOTTOM);
    let dragged: { at: number; from: number; to: number } | null = null;

    function draw() {
      const width = Math.max(box.clientWidth, drawn.length * 90);
      const scale = devicePixelRatio || 1;
      element!.width = width * scale;
      element!.height = HEIGHT * scale;
      element!.style.width = `${width}px`;
      element!.style.height = `${HEIGHT}px`;
      const pen = element!.getContext("2d")!;
      pen.scale(scale, scale);
      const last = drawn.at(-1);
      const step = Math.max(1, Math.ceil(rows.length / MOST_LINES));
      const line = (row: number) => {
        pen.beginPath();
        let isDown = false;
        drawn.forEach((axis, at) => {
          const value = axis.of(row);
          if (value === null || !Number.isFinite(value)) isDown = false;
          else if (isDown) pen.lineTo(x(at, width), y(axis, value));
          else {
            pen.moveTo(x(at, width), y(axis, value));
            isDown = true;
          }
        });
        pen.stroke();
      };
      pen.lineWidth = 1;
      pen.globalAlpha = Math.max(0.04, Math.min(0.7, 40 / Math.max(rows.length / step, 1)));
      for (let at = 0; at < rows.length; at += step) {
        const value = last?.of(rows[at]) ?? null;
        if (!last || value === null || !Number.isFinite(value)) continue;
        pen.strokeStyle = shade((value - last.least) / (last.most - last.least), isDark);
        line(rows[at]);
      }
      pen.globalAlpha = 1;
      pen.lineWidth = 2.5;
      picked.forEach((row, place) => {
        pen.strokeStyle = colour(place);
        line(row);
      });
      pen.font = "12px system-ui, sans-serif";
      pen.textAlign = "center";
      drawn.forEach((axis, at) => {
        const left = x(at, width);
        pen.strokeStyle = style("--text");
        pen.lineWidth = 1;
        pen.beginPath();
        pen.moveTo(left, TOP);
        pen.lineTo(left, HEIGHT - BOTTOM);
        pen.stroke();
        pen.fillStyle = style("--text");
        pen.fillText(clipped(axis.column.title, 18), left, 16);
        const label = (value: number, down: number) => {
          const text = clipped(axis.words ? (axis.words[Math.round(value)] ?? "") : compact(value), 12);
          const size = pen.measureText(text).width;
          pen.fillStyle = style("--back");
          pen.globalAlpha = 0.8;
          pen.fillRect(left + 5, down - 9, size + 4, 14);
          pen.globalAlpha = 1;
          pen.fillStyle = style("--dim");
          pen.textAlign = "left";
          pen.fillText(text, left + 7, down + 3);
          pen.textAlign = "center";
        };
        if (axis.words) axis.words.slice(0, 20).forEach((_, value) => label(value, y(axis, value)));
        else [0, 0.25, 0.5, 0.75, 1].forEach((part) => label(axis.least + part * (axis.most - axis.least), y(axis, axis.least + part * (axis.most - axis.least))));
        if (dragged?.at === at) {
          pen.fillStyle = `${colour(0)}40`;
          pen.fillRect(left - 10, Math.min(dragged.from, dragged.to), 20, Math.abs(dragged.to - dragged.from));
        }
      });
    }

    const place = (event: PointerEvent) => {
      const bounds = element.getBoundingClientRect();
      return { left: event.clientX - bounds.left, down: Math.min(Math.max(event.clientY - bounds.top, TOP), HEIGHT - BOTTOM), width: bounds.width };
    };
    const onDown = (event: PointerEvent) => {
      const { left, down, width } = place(event);
      const at = drawn.findIndex((axis, number) => !axis.words && Math.abs(x(number, width) - left) < 16);
      if (at < 0) return;
      dragged = { at, from: down, to: down };
      element.setPointerCapture(event.pointerId);
    };
    const onMove = (event: PointerEvent) => {
      if (!dragged) return;
      dragged.to = place(event).down;
      draw();
    };
    const onUp = () => {
      if (!dragged) return;
      const axis = drawn[dragged.at];
      const value = (down: number) => axis.least + ((HEIGHT - BOTTOM - down) / (HEIGHT - TOP - BOTTOM)) * (axis.most - axis.least);
      const [from, to] = [value(Math.max(dragged.from, dragged.to)), value(Math.min(dragged.from, dragged.to))];
      const isClick = Math.abs(dragged.to - dragged.from) < 4;
      dragged = null;
      if (isClick) return draw();
      const key = axis.column.title.includes(" ") ? `"${axis.column.title}"` : axis.column.title;
      filter.value = `${filter.value} ${key}>=${+from.toPrecision(4)} ${key}<=${+to.toPrecision(4)}`.trim();
    };
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(box);
    element.addEventListener("pointerdown", onDown);
    element.addEventListener("pointermove", onMove);
    element.addEventListener("pointerup", onUp);
    return () => {
      observer.disconnect();
      element.removeEventListener("pointerdown", onDown);
      element.removeEventListener("pointermove", onMove);
      element.removeEventListener("pointerup", onUp);
    };
  }, [wanted.join(), rows, isDark, picked]);

  function flip(id: string) {
    const has = wanted.includes(id);
    axes.value = has ? wanted.filter((other) => other !== id) : (() => {
      const isMetric = byId.get(id)?.space === "metric"; // the last axis gives the colours
      const params = wanted.filter((other) => isMetric || byId.get(other)?.space !== "metric");
      return [...params, id, ...wanted.filter((other) => !params.includes(other))];
    })();
  }

  const step = Math.ceil(rows.length / MOST_LINES);
  return (
    <section class="view" aria-labelledby="parallel">
      <div class="bar"><h2 id="parallel">Parallel coordinates</h2></div>
      <fieldset class="axes">
        <legend>Axes</legend>
        {all.slice(0, 60).map((column) => (
          <label class="check" key={column.id}><input type="checkbox" checked={wanted.includes(column.id)} onChange={() => flip(column.id)} /><span>{column.title}</span></label>
        ))}
      </fieldset>
      <Chosen />
      {columns.length < 2 ? <p class="empty">Choose two axes or more.</p> : (
        <article class="card">
          <div class="wide" tabIndex={0} role="region" aria-label="Axes and lines">
            <canvas ref={canvas} role="img" aria-label={`${columns.map((column) => column.title).join(", ")} of ${rows.length} runs`} />
          </div>
          <p class="dim">
            Coloured by {columns.at(-1)!.title}. Draw along an axis to filter by it.{step > 1 ? ` Every ${step}th of ${count(rows.length)} runs is drawn.` : ""}
          </p>
          <ul class="legend">{picked.map((row, at) => <li key={row}><Dot place={at} /><RunLink row={row} /></li>)}</ul>
        </article>
      )}
    </section>
  );
}

