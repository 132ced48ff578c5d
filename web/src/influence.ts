// How much of the variance of a metric goes with a parameter: which ones are worth drawing first.

import { asNumber, type Column } from "./data";

const BINS = 8;
const FEW = 12; // different values that are groups of their own

/** The part, 0 to 1, of the metric's variance that lies between groups of runs with like values of the parameter. */
export function influence(param: Column, metric: Column, rows: readonly number[]): number {
  const step = Math.max(1, Math.floor(rows.length / 2000));
  const pairs: [string | number, number][] = [];
  for (let at = 0; at < rows.length; at += step) {
    const value = asNumber(metric.at(rows[at]));
    if (value === null || !Number.isFinite(value) || param.at(rows[at]) === null) continue;
    const number = param.numeric ? asNumber(param.at(rows[at])) : null;
    pairs.push([number ?? param.text(rows[at]), value]);
  }
  const unique = new Set(pairs.map(([group]) => group));
  if (unique.size < 2 || pairs.length < 3 || (!param.numeric && unique.size > pairs.length / 2)) return 0;
  if (unique.size > FEW && param.numeric) {
    pairs.sort((a, b) => (a[0] as number) - (b[0] as number));
    pairs.forEach((pair, at) => (pair[0] = Math.floor((at * Math.min(BINS, pairs.length / 3)) / pairs.length)));
  }
  const mean = pairs.reduce((sum, [, value]) => sum + value, 0) / pairs.length;
  const groups = new Map<string | number, [number, number]>();
  let all = 0;
  for (const [group, value] of pairs) {
    const [sum, known] = groups.get(group) ?? [0, 0];
    groups.set(group, [sum + value, known + 1]);
    all += (value - mean) ** 2;
  }
  let between = 0;
  for (const [sum, known] of groups.values()) between += known * (sum / known - mean) ** 2;
  return all ? between / all : 0;
}

export function byInfluence(params: Column[], metric: Column | undefined, rows: readonly number[]): Column[] {
  if (!metric) return params;
  const parts = new Map(params.map((param) => [param, influence(param, metric, rows)]));
  return [...params].sort((a, b) => parts.get(b)! - parts.get(a)!);
}
