// The runs of the page: columns of values, as Python wrote them, and how values are shown and compared.

export type Space = "run" | "param" | "metric" | "env" | "input";
export type Value = string | number | boolean | null | object;
export type Better = "higher" | "lower";
type Coded = { u?: Value[]; c?: number[]; v?: Value[] };
export type Text = { text: string; left_out: number; problem: string };
export type Datums = { total: number; ran: number; reused: number; failed: number; not_run: number; failures: [name: string, problem: string][] };
export type Detail = {
  cmd?: string; wdir?: string; repo?: string; code?: string; edited?: string[]; taint?: string[]; signal?: number;
  cpu_seconds?: number; max_rss_bytes?: number; ci?: string; dvlite?: string; log?: Text; diff?: Text;
  datums?: Datums; imported?: string; url?: string; artifacts?: [string, number | null, string][];
};
export type Shown = { path: string; kind: string; uri?: string; rows?: string[][]; problem?: string };
export type Checked = [name: string, state: string, problems: string[]];
export type Series = { run: number; name: string; points: number; steps: number[]; values: (number | null)[]; times?: number[] };
type Content = {
  title: string; written: string; dvlite: string; known: number; listed: number; asked: string[]; order: string | null;
  fields: Record<string, Coded>; columns: ({ space: Space; key: string; better?: Better } & Coded)[]; makers: (number[] | 0)[];
  contents: { run: number[]; output: number[] } & Record<"path" | "id" | "directory" | "size" | "files" | "checks", Coded>;
  tags: Record<number, string[]>; notes: Record<number, [string, string, string][]>; details: Record<number, Detail>;
  files: Record<number, Shown[]>; series: Series[]; unread: Record<number, string[]>;
};

export const content: Content = JSON.parse(document.getElementById("runs")!.textContent!);
export const listed = content.listed;
export const total = content.fields.name.v!.length;

function decoded(coded: Coded): Value[] {
  if (!coded.c) return coded.v!;
  const unique = coded.u!;
  return coded.c.map((code) => (code < 0 ? null : unique[code]));
}

// --- values

/** A number as people read it: six digits; the exact one is in the title. */
export function shown(value: Value | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(+value.toPrecision(6));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const WORDS: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity };

export function asNumber(value: Value | undefined): number | null {
  if (typeof value === "number") return value;
  return typeof value === "string" && value in WORDS ? WORDS[value] : null;
}

const pad = (number: number) => String(number).padStart(2, "0");

export function when(ms: Value): string {
  if (typeof ms !== "number") return "";
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}`;
}

export function duration(value: Value | undefined): string {
  if (typeof value !== "number") return "";
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${pad(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${pad(Math.floor(whole / 60) % 60)}m`;
}

export function bytes(value: Value | undefined): string {
  if (typeof value !== "number") return "";
  let size = value;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (size < 1024 || unit === "TiB") return unit === "B" ? `${size} B` : `${size.toFixed(1)} ${unit}`;
    size /= 1024;
  }
  return "";
}

export const count = (number: number) => number.toLocaleString("en-US");

// --- columns

export class Column {
  readonly id: string;
  title: string;
  private all: Value[] | null = null;
  private isNumeric: boolean | null = null;
  better?: Better;

  /** `different` are the values that the column has, each once, where they are known without looking at every row. */
  constructor(readonly space: Space, readonly key: string, private readonly make: () => Value[], title = key, private readonly different?: Value[]) {
    this.id = `${space}.${key}`;
    this.title = title;
  }

  get values(): Value[] {
    return (this.all ??= this.make());
  }

  at(row: number): Value {
    return this.values[row] ?? null;
  }

  get numeric(): boolean {
    if (this.isNumeric === null) {
      this.isNumeric = false;
      for (const value of this.different ?? this.values) {
        if (value === null) continue;
        this.isNumeric = asNumber(value) !== null;
        if (!this.isNumeric) break;
      }
    }
    return this.isNumeric;
  }

  text(row: number): string {
    const value = this.at(row);
    if (this.space !== "run") return shown(value);
    if (this.key === "start") return when(value);
    if (this.key === "seconds") return duration(value);
    return this.key === "edited" ? (value ? "edited" : "") : shown(value);
  }
}

export const makers = (row: number): number[] => content.makers[row] || [];

/** Parameters also come from the runs upstream; the nearest run wins, and of those as near the newest. */
function withUpstream(own: Value[]): Value[] {
  return own.map((value, row) => {
    if (value !== null || !content.makers[row]) return value;
    const seen = new Set([row]);
    let level = [row];
    for (let depth = 0; level.length && depth < 100; depth++) {
      level = [...new Set(level.flatMap(makers))].filter((before) => !seen.has(before));
      level.sort((a, b) => (field.start.at(b) as number) - (field.start.at(a) as number));
      for (const before of level) {
        seen.add(before);
        if (own[before] !== null) return own[before];
      }
    }
    return null;
  });
}

const TITLES: Record<string, string> = {
  name: "Run", start: "Started", seconds: "Took", status: "Status", stage: "Stage", file: "Pipeline file", commit: "Commit",
  edited: "Edits", of: "Outputs of", exit_code: "Exit code", user: "User", host: "Host", sweep: "Sweep", tags: "Tags", notes: "Notes",
  checks: "Checks",
};
const fieldKeys = Object.keys(TITLES).filter((key) => key in content.fields);
export const field: Record<string, Column> = Object.fromEntries(
  fieldKeys.map((key) => [key, new Column("run", key, () => decoded(content.fields[key]), TITLES[key])]),
);
const perRow = <T,>(from: Record<number, T>, text: (value: T) => string) => () =>
  Array.from({ length: total }, (_, row) => (from[row] ? text(from[row]) : null));
field.tags = new Column("run", "tags", perRow(content.tags, (tags) => tags.join(", ")), TITLES.tags);
field.notes = new Column("run", "notes", perRow(content.notes, (notes) => notes.map(([text]) => text).join("; ")), TITLES.notes);

const values = content.columns.map(({ space, key, better, ...coded }) => {
  const column = new Column(space, key, () => (space === "param" && !key.startsWith("dvlite.yaml:") ? withUpstream(decoded(coded)) : decoded(coded)), key, coded.u);
  column.better = better;
  return column;
});

/** Whether a value is the best or the worst of a metric among some rows, where the pipeline says which is better. */
export function judge(column: Column, rows: readonly number[]): (row: number) => "" | "best" | "worst" {
  if (!column.better) return () => "";
  let least = Infinity;
  let most = -Infinity;
  for (const row of rows) {
    const value = asNumber(column.at(row));
    if (value === null || Number.isNaN(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least >= most) return () => "";
  const [best, worst] = column.better === "higher" ? [most, least] : [least, most];
  return (row) => {
    const value = asNumber(column.at(row));
    return value === best ? "best" : value === worst ? "worst" : "";
  };
}

const checked = decoded(content.contents.checks) as (Checked[] | null)[];

/** How the checks of what a run read and wrote ended: the names of those that did not pass, else how many did. */
field.checks = new Column("run", "checks", () => {
  const ofRow: Checked[][] = [];
  checked.forEach((some, item) => {
    const row = content.contents.run[item];
    if (some) ofRow[row] = (ofRow[row] ?? []).concat(some);
  });
  return Array.from({ length: total }, (_, row) => {
    const wrong = ofRow[row]?.filter(([, state]) => state !== "passed").map(([check, state]) => `${state}: ${check}`);
    return wrong?.length ? [...new Set(wrong)].join(", ") : ofRow[row] ? `${ofRow[row].length} passed` : null;
  });
}, TITLES.checks);

/** Files and directories that runs read, by path: the versions. */
const paths = decoded(content.contents.path) as string[];
const ids = decoded(content.contents.id) as string[];
const sizes = decoded(content.contents.size) as number[];
const fileCounts = decoded(content.contents.files) as number[];
const isDirectory = decoded(content.contents.directory) as boolean[];
const inputPaths = [...new Set(paths.filter((_, item) => content.contents.output[item] === 0))].slice(0, 200);
const inputs = inputPaths.map((path) => new Column("input", path, () => {
  const column: Value[] = Array(total).fill(null);
  paths.forEach((other, item) => {
    if (other === path && content.contents.output[item] === 0) column[content.contents.run[item]] = ids[item].slice(0, 8);
  });
  return column;
}));

export type Item = { path: string; id: string; size: number; files: number; directory: boolean; output: boolean; checks: Checked[] };
export function contentsOf(row: number): Item[] {
  const items: Item[] = [];
  content.contents.run.forEach((run, item) => {
    if (run === row) {
      items.push({ path: paths[item], id: ids[item], size: sizes[item], files: fileCounts[item], directory: isDirectory[item],
        output: content.contents.output[item] === 1, checks: checked[item] ?? [] });
    }
  });
  return items;
}

const shortened = (key: string) => (key.includes(":") ? key.slice(key.indexOf(":") + 1) || key : key);
const uses = new Map<string, number>();
for (const column of values) uses.set(shortened(column.key), (uses.get(shortened(column.key)) ?? 0) + 1);
for (const column of values) {
  if (column.space !== "env" && uses.get(shortened(column.key)) === 1) column.title = shortened(column.key);
}

export const columns: Column[] = [...Object.values(field), ...values, ...inputs];
export const byId = new Map(columns.map((column) => [column.id, column]));
export const ofSpace = (space: Space) => columns.filter((column) => column.space === space);
export const rows = Array.from({ length: listed }, (_, row) => row);
export const name = (row: number) => String(field.name.at(row));
/** Series are called after their files, which are left out where the rest says enough. */
export function seriesTitle(full: string): string {
  const short = shortened(full);
  return seriesNames.filter((other) => shortened(other) === short).length > 1 ? full : short;
}

export const seriesNames = [...new Set(content.series.map((one) => one.name))];

// --- which columns a word stands for, as on the command line

function keysMeant(word: string, some: Column[]): Column[] {
  for (const end of ["", ":", "."]) {
    const matching = some.filter(({ key }) => (end ? key.endsWith(end + word) : key === word));
    if (matching.length) return matching;
  }
  return [];
}

const SPACES: Space[] = ["param", "metric", "env", "input"];

export function find(word: string): Column[] {
  const alias = { run: "name", when: "start", tag: "tags", note: "notes" }[word] ?? word;
  if (alias in field) return [field[alias]];
  const dot = word.indexOf(".");
  const space = word.slice(0, Math.max(dot, 0)) as Space;
  if (SPACES.includes(space)) {
    const inside = keysMeant(word.slice(dot + 1), ofSpace(space));
    if (inside.length) return inside;
  }
  const matching = keysMeant(word, SPACES.flatMap(ofSpace));
  return matching.filter((column) => column.space === matching[0].space);
}
