// Chosen runs side by side, as columns.

import { signal } from "@preact/signals";
import { columns, contentsOf, field, judge, shown, type Column } from "./data";
import { compared } from "./state";
import { Check, Dot, RunLink, Which } from "./parts";

const onlyDifferent = signal(true);
const SECTIONS: [string, (column: Column) => boolean][] = [
  ["Run", (column) => column.space === "run" && column !== field.name],
  ["Metrics", (column) => column.space === "metric"],
  ["Parameters", (column) => column.space === "param"],
  ["Inputs", (column) => column.space === "input"],
  ["Environment", (column) => column.space === "env"],
];

type Entry = { title: string; key: string; texts: string[]; titles: string[]; numeric: boolean; verdicts?: string[] };

function outputs(rows: readonly number[]): Entry[] {
  const of = rows.map((row) => new Map(contentsOf(row).filter((item) => item.output).map((item) => [item.path, item.id.slice(0, 8)])));
  const paths = [...new Set(of.flatMap((map) => [...map.keys()]))];
  return paths.map((path) => {
    const texts = of.map((map) => map.get(path) ?? "");
    return { title: path, key: path, texts, titles: texts, numeric: false };
  });
}

export function Compare() {
  const rows = compared.value;
  const sections = [
    ...SECTIONS.map(([title, belongs]): [string, Entry[]] => [title, columns.filter(belongs).map((column) => ({
      title: column.title, key: column.key, numeric: column.numeric && column.space !== "run",
      texts: rows.map((row) => column.text(row)), titles: rows.map((row) => shown(column.at(row))), verdicts: rows.map(judge(column, rows)),
    }))]),
    ["Outputs", outputs(rows)] as [string, Entry[]],
  ];
  const filled = sections
    .map(([title, entries]): [string, Entry[]] => [title, entries.filter(({ texts }) =>
      texts.some((text) => text !== "") && (!onlyDifferent.value || rows.length < 2 || new Set(texts).size > 1))])
    .filter(([, entries]) => entries.length);
  return (
    <section class="view" aria-labelledby="compare">
      <div class="bar">
        <h2 id="compare">Compare</h2>
        <Check label="Only what differs" value={onlyDifferent.value} onChange={(value) => (onlyDifferent.value = value)} />
      </div>
      <Which rows={rows} what="These are" />
      <div class="wide" tabIndex={0} role="region" aria-label="Compared runs">
        <table class="compare">
          <thead>
            <tr>
              <th scope="col"><span class="hidden">Value</span></th>
              {rows.map((row, place) => <th scope="col" key={row}><Dot place={place} /><RunLink row={row} /></th>)}
            </tr>
          </thead>
          {filled.map(([title, entries]) => (
            <tbody key={title}>
              <tr class="section"><th scope="rowgroup" colSpan={rows.length + 1}>{title}</th></tr>
              {entries.map(({ title: label, key, texts, titles, numeric, verdicts }) => {
                const isSame = new Set(texts).size < 2;
                return (
                  <tr key={key} class={isSame ? "same" : ""}>
                    <th scope="row" title={key}>{label}</th>
                    {texts.map((text, at) => <td key={rows[at]} class={`${numeric ? "number" : ""} ${verdicts?.[at] ?? ""}`} title={titles[at]}>{text || <span class="none" aria-label="none">–</span>}</td>)}
                  </tr>
                );
              })}
            </tbody>
          ))}
        </table>
      </div>
      {!filled.length && <p class="empty">Nothing differs between these runs.</p>}
    </section>
  );
}
