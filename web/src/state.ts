// What the user has chosen, and what follows from it.

import { computed, effect, signal } from "@preact/signals";
import { asNumber, byId, content, field, find, ofSpace, type Column } from "./data";
import { matching } from "./filter";

export type Sort = { id: string; descending: boolean };
export const PALETTE = ["#2f7ed8", "#d9730d", "#2e9e5b", "#c2348b", "#7a5af5", "#b8860b", "#0f9fa8", "#d1453b", "#6b7a89", "#8a5a3c"];
const MOST_COLUMNS = 50;

export const filter = signal("");
export const sort = signal<Sort | null>(null);
export const groupBy = signal("");
export const onlyChanged = signal(true);
export const columnsChosen = signal<ReadonlySet<string> | null>(
  content.asked.length ? new Set(content.asked.flatMap(find).map((column) => column.id)) : null,
);
export const chosen = signal<readonly number[]>([]);
export const route = signal(location.hash);
export const dark = signal(matchMedia("(prefers-color-scheme: dark)").matches);

addEventListener("hashchange", () => (route.value = location.hash));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => (dark.value = event.matches));

const parsed = computed(() => matching(filter.value));
export const problems = computed(() => parsed.value.problems);

export const ordered = computed<readonly number[]>(() => {
  const rows = parsed.value.rows;
  const by = sort.value && byId.get(sort.value.id);
  if (!by) return rows;
  const sign = sort.value!.descending ? -1 : 1;
  const numbers = by.numeric ? by.values.map(asNumber) : null;
  const texts = numbers ? null : by.values.map((value) => (value === null ? null : by.space === "run" ? String(value) : JSON.stringify(value)));
  const isNone = (row: number) => (numbers ? numbers[row] === null || Number.isNaN(numbers[row]) : texts![row] === null);
  return rows.toSorted((a, b) => {
    const none = Number(isNone(a)) - Number(isNone(b)); // last, in both directions
    if (none || isNone(a)) return none || a - b;
    if (numbers) return sign * (numbers[a]! - numbers[b]!) || a - b;
    return sign * (texts![a]! < texts![b]! ? -1 : texts![a]! > texts![b]! ? 1 : 0) || a - b;
  });
});

/** Whether runs of one stage differ in a column, among the runs that match. */
const differing = computed(() => {
  const rows = parsed.value.rows;
  const stages = field.stage.values.map((stage) => String(stage).split("@")[0]); // the instances of a template are one
  const ids = new Set<string>();
  for (const space of ["param", "metric", "env", "input"] as const) {
    for (const column of ofSpace(space)) {
      const first = new Map<unknown, string>();
      const values = column.values;
      for (const row of rows) {
        const before = first.get(stages[row]);
        const value = typeof values[row] === "object" ? JSON.stringify(values[row]) : String(values[row]);
        if (before === undefined) first.set(stages[row], value);
        else if (before !== value) {
          ids.add(column.id);
          break;
        }
      }
    }
  }
  return ids;
});

const isVaried = (column: Column) => new Set(column.values.slice(0, content.listed)).size > 1;

/** Metrics that most runs have come first. */
export const metrics = computed(() => {
  const rows = parsed.value.rows;
  const known = new Map(ofSpace("metric").map((column) => [column, rows.reduce((sum, row) => sum + Number(column.at(row) !== null), 0)]));
  const most = Math.max(0, ...known.values());
  return [...known.keys()].sort((a, b) => Number(known.get(b)! * 2 > most) - Number(known.get(a)! * 2 > most));
});

export const defaults = computed(() => {
  const first = [field.name, field.status, field.start, field.seconds, ...(isVaried(field.stage) ? [field.stage] : [])];
  const isChecked = field.checks.values.some((value) => value !== null);
  const last = [...(isChecked ? [field.checks] : []), ...(Object.keys(content.tags).length ? [field.tags] : []), field.commit];
  return [...first, ...[...metrics.value, ...ofSpace("param")].slice(0, MOST_COLUMNS), ...last];
});

export const visible = computed<Column[]>(() => {
  const wanted = columnsChosen.value;
  const base = wanted ? [field.name, ...[...byId.values()].filter((column) => wanted.has(column.id) && column !== field.name)] : defaults.value;
  if (!onlyChanged.value || parsed.value.rows.length < 2) return base;
  return base.filter((column) => column.space === "run" || column.id === sort.value?.id || differing.value.has(column.id));
});

export const changed = differing;

export function toggle(row: number): void {
  chosen.value = chosen.value.includes(row) ? chosen.value.filter((other) => other !== row) : [...chosen.value, row];
}

export const colour = (place: number) => PALETTE[place % PALETTE.length];

/** The chosen runs, or without any the first of the table. */
export const compared = computed(() => (chosen.value.length ? chosen.value : ordered.value.slice(0, 6)));

effect(() => {
  document.title = `${content.title}: runs`;
});
