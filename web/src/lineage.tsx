// The runs before and after one, drawn from left to right.

import { field, makers, name, total } from "./data";

const [WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN] = [200, 46, 64, 18, 12];
const MOST_LEVELS = 6;
const MOST_IN_COLUMN = 10;
const SIGNS: Record<string, string> = { ok: "✓", cached: "↺", asserted: "✓", failed: "✗", tainted: "!", canceled: "–" };

let users: Map<number, number[]> | null = null;

function usersOf(row: number): number[] {
  if (!users) {
    users = new Map();
    for (let later = 0; later < total; later++) {
      for (const before of makers(later)) {
        const all = users.get(before);
        if (all) all.push(later);
        else users.set(before, [later]);
      }
    }
  }
  return users.get(row) ?? [];
}

/** The levels of a walk, each with what the one before it leads to; a run stands on the last level that reaches it. */
function levels(start: number, next: (row: number) => number[]): number[][] {
  const level = new Map([[start, 0]]);
  let edge = [start];
  for (let depth = 1; depth <= MOST_LEVELS && edge.length; depth++) {
    edge = [...new Set(edge.flatMap((row) => next(row).slice(0, MOST_IN_COLUMN * 4)))].filter((row) => row !== start);
    for (const row of edge) level.set(row, depth);
  }
  const all: number[][] = [];
  for (const [row, depth] of level) (all[depth] ??= []).push(row);
  return all.slice(1);
}

const clipped = (text: string) => (text.length > 24 ? `${text.slice(0, 23)}…` : text);

export function Lineage({ row }: { row: number }) {
  const before = levels(row, makers).reverse();
  const columns = [...before, [row], ...levels(row, usersOf)].filter(Boolean);
  if (columns.length === 1) return <p class="dim">No recorded run wrote its inputs or read its outputs.</p>;
  const kept = columns.map((column) => column.slice(0, MOST_IN_COLUMN));
  const tallest = Math.max(...columns.map((column) => Math.min(column.length, MOST_IN_COLUMN + 1)));
  const height = tallest * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN;
  const width = columns.length * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN;
  const boxes = new Map<number, { x: number; y: number }>();
  kept.forEach((column, number) => {
    const rows = column.length + (columns[number].length > column.length ? 1 : 0);
    const top = (height - rows * (HEIGHT + GAP_Y) + GAP_Y) / 2;
    column.forEach((one, at) => boxes.set(one, { x: MARGIN + number * (WIDTH + GAP_X), y: top + at * (HEIGHT + GAP_Y) }));
  });
  const arrows = [...boxes].flatMap(([later, end]) =>
    makers(later).flatMap((maker) => {
      const start = boxes.get(maker);
      if (!start || start.x >= end.x) return [];
      const [x1, y1, x2, y2] = [start.x + WIDTH, start.y + HEIGHT / 2, end.x - 6, end.y + HEIGHT / 2];
      const bend = Math.max((x2 - x1) / 2, 20);
      return [`M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`];
    }));
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Lineage">
      <svg class="lineage" role="group" aria-label={`Runs before and after ${name(row)}`} width={width} height={height} viewBox={`0 0 ${width} ${height}`}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="8" markerHeight="8" orient="auto" markerUnits="userSpaceOnUse"><path d="M0,0 L8,4 L0,8 z" /></marker>
        </defs>
        {arrows.map((path) => <path key={path} d={path} marker-end="url(#tip)" />)}
        {[...boxes].map(([one, { x, y }]) => {
          const status = String(field.status.at(one));
          return (
            <a key={one} href={`#/run/${one}`} aria-label={`${name(one)}, ${status}`} aria-current={one === row ? "true" : undefined}>
              <g class={`${status} ${one === row ? "here" : ""}`} transform={`translate(${x},${y})`}>
                <rect width={WIDTH} height={HEIGHT} rx="6" />
                <text x="10" y="19">{clipped(name(one))}</text>
                <text class="note" x="10" y="37">{SIGNS[status] ?? ""} {status}</text>
              </g>
            </a>
          );
        })}
        {columns.map((column, number) => {
          const rest = column.length - kept[number].length;
          const last = rest && boxes.get(kept[number].at(-1)!);
          return last ? <text key={number} class="note" x={last.x + 10} y={last.y + HEIGHT + GAP_Y + 14}>and {rest} more</text> : null;
        })}
      </svg>
    </div>
  );
}
