// Series of the compared runs over each other; without any, every metric over the runs.

import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import uPlot from "uplot";
import { asNumber, content, count, field, name, seriesNames, seriesTitle, shown, type Column, type Series } from "./data";
import { axis, Chart, timeLabel, valueAxis } from "./chart";
import { chosen, colour, compared, dark, metrics as allMetrics, ordered } from "./state";
import { Check, Dot, Field, RunLink, Select, Which } from "./parts";

const across = signal<"step" | "elapsed" | "clock">("step");
const smoothing = signal(0);
const logarithmic = signal(false);
const MOST_CHARTS = 24;

const bySeries = new Map<string, Map<number, Series>>();
for (const one of content.series) {
  const runs = bySeries.get(one.name) ?? new Map<number, Series>();
  bySeries.set(one.name, runs.set(one.run, one));
}

/** An exponential mean, corrected at its start; gaps stay gaps. */
export function smoothed(values: (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    total = total * weight + (1 - weight);
    return sum / total;
  });
}

function xOf(series: Series): number[] {
  if (across.value === "step") return series.steps;
  const times = series.times!;
  return across.value === "clock" ? times : times.map((time) => time - times[0]);
}

const positive = (values: (number | null)[]) =>
  logarithmic.value ? values.map((value) => (value !== null && value > 0 ? value : null)) : values;

function Curve({ title, rows }: { title: string; rows: readonly number[] }) {
  const runs = bySeries.get(title)!;
  const isUsable = (row: number) => runs.has(row) && (across.value === "step" || runs.get(row)!.times);
  const shownRows = rows.filter(isUsable);
  const [weight, isLog, by, isDark] = [smoothing.value, logarithmic.value, across.value, dark.value];
  const colours = shownRows.map((row) => colour(rows.indexOf(row)));
  const data = useMemo(() => {
    const tables = shownRows.map((row): uPlot.AlignedData => {
      const series = runs.get(row)!;
      const raw = positive(series.values);
      return weight ? [xOf(series), raw, positive(smoothed(series.values, weight))] : [xOf(series), raw];
    });
    return tables.length ? uPlot.join(tables) : ([[]] as unknown as uPlot.AlignedData);
  }, [shownRows.join(), weight, isLog, by]);
  const options = useMemo(() => () => ({
    scales: { x: { time: by === "clock" }, y: isLog ? { distr: 3 as const } : {} },
    legend: { show: false },
    cursor: { points: { size: 7 }, focus: { prox: 24 } },
    focus: { alpha: 0.3 },
    axes: [axis(by === "elapsed" ? { size: 34, values: (_: uPlot, splits: number[]) => splits.map((value) => `${shown(value)} s`) } : by === "clock" ? {} : { size: 34 }), valueAxis()],
    series: [{}, ...shownRows.flatMap((row, at): uPlot.Series[] => {
      const line = { label: name(row), stroke: colours[at], width: 2, spanGaps: true, points: { show: runs.get(row)!.steps.length < 30 && !weight } };
      return weight ? [{ ...line, stroke: `${colours[at]}40`, width: 1, points: { show: false } }, line] : [line];
    })],
  }), [shownRows.join(), weight, isLog, by, isDark]);
  const lines = shownRows.map((row) => runs.get(row)!);
  const points = Math.max(0, ...lines.map((one) => one.points));
  const isThinned = lines.some((one) => one.points > one.steps.length);
  return (
    <article class="card">
      <h3>{seriesTitle(title)}</h3>
      {shownRows.length
        ? <Chart label={`${seriesTitle(title)} of ${shownRows.map(name).join(", ")}`} options={options} data={data} />
        : <p class="empty">None of these runs recorded it{by === "step" ? "" : " with times"}.</p>}
      <ul class="legend">
        {shownRows.map((row) => {
          const last = runs.get(row)!.values.findLast((value) => value !== null);
          return <li key={row}><Dot place={rows.indexOf(row)} /><RunLink row={row} /><b>{shown(last ?? null)}</b></li>;
        })}
      </ul>
      {isThinned && <p class="dim">Up to {count(points)} points, thinned; peaks are kept.</p>}
    </article>
  );
}

/** A metric over the runs of the table, by when they started, one colour for each stage. */
function OverRuns({ column, rows }: { column: Column; rows: readonly number[] }) {
  const stages = [...new Set(rows.map((row) => field.stage.at(row)))].filter((stage) =>
    rows.some((row) => field.stage.at(row) === stage && asNumber(column.at(row)) !== null));
  const isDark = dark.value;
  const isLog = logarithmic.value;
  const data = useMemo(() => {
    const known = rows.filter((row) => asNumber(column.at(row)) !== null && field.start.at(row) !== null)
      .toSorted((a, b) => (field.start.at(a) as number) - (field.start.at(b) as number));
    const lines = stages.map((stage) => positive(known.map((row) => (field.stage.at(row) === stage ? asNumber(column.at(row)) : null))));
    return [known.map((row) => (field.start.at(row) as number) / 1000), ...lines] as uPlot.AlignedData;
  }, [rows, column, isLog]);
  const options = useMemo(() => () => ({
    scales: { y: isLog ? { distr: 3 as const } : {} },
    legend: { show: false },
    axes: [axis(), valueAxis()],
    series: [{ value: (_: uPlot, value: number) => (value ? timeLabel(value) : "") }, ...stages.map((stage, at): uPlot.Series => ({
      label: String(stage), stroke: colour(at), width: 1, paths: () => null, points: { show: true, size: rows.length > 500 ? 4 : 6, fill: colour(at) },
    }))],
  }), [rows, column, isLog, isDark]);
  return (
    <article class="card">
      <h3>{column.title}</h3>
      <Chart label={`${column.title} over ${rows.length} runs`} options={options} data={data} height={220} />
      <ul class="legend">{stages.map((stage, at) => <li key={at}><Dot place={at} />{String(stage)}</li>)}</ul>
    </article>
  );
}

export function Curves() {
  const has = seriesNames.length > 0;
  const withSeries = new Set(content.series.map((one) => one.run));
  const rows = has && !chosen.value.length ? ordered.value.filter((row) => withSeries.has(row)).slice(0, 6) : compared.value;
  const hasTimes = content.series.some((one) => one.times);
  const metrics = allMetrics.value.filter((column) => column.numeric).slice(0, MOST_CHARTS);
  return (
    <section class="view" aria-labelledby="curves">
      <div class="bar">
        <h2 id="curves">Curves</h2>
        {has && hasTimes && (
          <Select label="Across" value={across.value} onChange={(value) => (across.value = value as typeof across.value)}
            options={[["step", "Step"], ["elapsed", "Time since the start"], ["clock", "Wall time"]]} />
        )}
        {has && (
          <Field label="Smoothing">
            <input type="range" min="0" max="0.99" step="0.01" value={smoothing.value} onInput={(event) => (smoothing.value = Number(event.currentTarget.value))} />
            <output>{smoothing.value.toFixed(2)}</output>
          </Field>
        )}
        <Check label="Logarithmic" value={logarithmic.value} onChange={(value) => (logarithmic.value = value)} />
      </div>
      {has
        ? <Which rows={rows} what="These are" />
        : <p class="dim">No run here recorded values over steps, so each metric is shown over the runs of the table, by when they started.</p>}
      <div class="cards">
        {has
          ? seriesNames.slice(0, MOST_CHARTS).map((title) => <Curve key={title} title={title} rows={rows} />)
          : metrics.map((column) => <OverRuns key={column.id} column={column} rows={ordered.value} />)}
      </div>
      {!has && !metrics.length && <p class="empty">No run here has a metric that is a number.</p>}
    </section>
  );
}
