// The language of the filter: the conditions of `dvlite runs`, and words to search for.

import { asNumber, columns, content, field, find, name, rows, shown, type Column, type Value } from "./data";

type Test = (row: number) => boolean;
export type Parsed = { rows: number[]; problems: string[] };

const CONDITION = /^([^=<>!]+)(>=|<=|!=|==|=|>|<)([\s\S]*)$/;
const AGO = /^(\d{1,6})\s*(m|min|h|d|w)$/;
const MINUTES: Record<string, number> = { m: 1, min: 1, h: 60, d: 1440, w: 10080 };

/** Splits at spaces outside of quotes. */
function words(text: string): string[] {
  return [...text.matchAll(/(?:"[^"]*"?|[^\s"])+/g)].map(([word]) => word.replaceAll('"', ""));
}

function time(text: string, end: boolean): number | null {
  const ago = AGO.exec(text);
  if (ago) return Date.parse(content.written) - Number(ago[1]) * MINUTES[ago[2]] * 60_000;
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const at = Date.parse(day ? `${text}T00:00` : text.replace(" ", "T"));
  return Number.isNaN(at) ? null : at + (day && end ? 86_400_000 : 0);
}

function same(value: Value, text: string): boolean {
  if (value === null) return false;
  const number = asNumber(value);
  return number !== null && text.trim() !== "" && Number(text) === number ? true : shown(value) === text;
}

function compared(column: Column, operator: string, text: string): Test | string {
  if (operator === "=" || operator === "!=") {
    const isPrefix = column === field.commit || column === field.name;
    const wanted = operator === "=";
    return (row) => {
      const value = column.at(row);
      if (value === null) return false;
      return (isPrefix ? String(value).startsWith(text) : same(value, text)) === wanted;
    };
  }
  const bound = Number(text);
  if (Number.isNaN(bound)) return `${column.title} ${operator} ${text}: not a number`;
  const holds: Record<string, (value: number) => boolean> = {
    "<": (value) => value < bound, "<=": (value) => value <= bound, ">": (value) => value > bound, ">=": (value) => value >= bound,
  };
  return (row) => {
    const value = asNumber(column.at(row));
    return value !== null && holds[operator](value);
  };
}

function tagged(tag: string, wanted: boolean): Test {
  return (row) => (content.tags[row] ?? []).includes(tag) === wanted;
}

let haystacks: string[] | null = null;

function searched(word: string): Test {
  const texts = columns.filter((column) => column.space !== "env" && column.space !== "input" && !column.numeric);
  haystacks ??= rows.map((row) =>
    [name(row), ...texts.map((column) => shown(column.at(row)))].join("\n").toLowerCase());
  const all = haystacks;
  return (row) => all[row].includes(word.toLowerCase());
}

function test(word: string): Test | string | null {
  const match = CONDITION.exec(word);
  if (!match) return word.startsWith("!") ? (word.length > 1 ? tagged(word.slice(1), false) : null) : searched(word);
  const [, key, typed, text] = match;
  const operator = typed === "==" ? "=" : typed;
  if (!text) return null; // still being typed
  if (key === "tag" && (operator === "=" || operator === "!=")) {
    const absent = text.startsWith("!");
    return tagged(absent ? text.slice(1) : text, (operator === "=") !== absent);
  }
  if (key === "since" || key === "until") {
    const at = time(text, key === "until");
    if (at === null) return `${text} is not a date: 2026-11-22 or 3d`;
    return (row) => {
      const start = field.start.at(row) as number;
      return key === "since" ? start >= at : start < at;
    };
  }
  const meant = find(key);
  if (!meant.length) return `no run has ${key}`;
  const tests = meant.map((column) => compared(column, operator, text));
  const problem = tests.find((one) => typeof one === "string");
  return problem ?? ((row) => tests.some((one) => (one as Test)(row)));
}

export function matching(text: string): Parsed {
  const tests = words(text).map(test).filter((one) => one !== null);
  const conditions = tests.filter((one): one is Test => typeof one !== "string");
  return {
    rows: conditions.length ? rows.filter((row) => conditions.every((holds) => holds(row))) : rows,
    problems: tests.filter((one): one is string => typeof one === "string"),
  };
}
