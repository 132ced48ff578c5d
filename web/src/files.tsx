// Pictures and tables that runs wrote, side by side: a row for each path, a column for each run.

import { content, name, type Shown } from "./data";
import { chosen, ordered } from "./state";
import { Dot, RunLink, Which } from "./parts";

export function Preview({ item, of }: { item: Shown; of: string }) {
  if (item.problem) return <p class="dim">{item.problem}</p>;
  if (item.uri) return <img src={item.uri} alt={`${item.path} of ${of}`} loading="lazy" />;
  const [head, ...rows] = item.rows ?? [];
  return (
    <div class="wide small" tabIndex={0} role="region" aria-label={`${item.path} of ${of}`}>
      <table>
        <thead><tr>{(head ?? []).map((cell, at) => <th scope="col" key={at}>{cell}</th>)}</tr></thead>
        <tbody>{rows.map((row, at) => <tr key={at}>{row.map((cell, place) => <td key={place}>{cell}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

export function Files() {
  const has = (row: number) => row in content.files;
  const rows = chosen.value.length ? chosen.value : ordered.value.filter(has).slice(0, 4);
  const paths = [...new Set(rows.flatMap((row) => (content.files[row] ?? []).map((item) => item.path)))];
  return (
    <section class="view" aria-labelledby="files">
      <div class="bar"><h2 id="files">Pictures and tables</h2></div>
      {rows.length > 0 && <Which rows={rows} what="These are of" />}
      {!paths.length && <p class="empty">{chosen.value.length ? "These runs have" : "No run of the table has"} no picture (PNG, JPEG, GIF, WebP) and no table (CSV, TSV) among their outputs.</p>}
      {paths.map((path) => (
        <article key={path}>
          <h3>{path}</h3>
          <div class="side">
            {rows.map((row, place) => {
              const item = content.files[row]?.find((other) => other.path === path);
              return (
                <figure key={row} class="card">
                  <figcaption><Dot place={place} /><RunLink row={row} /></figcaption>
                  {item ? <Preview item={item} of={name(row)} /> : <p class="dim">no such output</p>}
                </figure>
              );
            })}
          </div>
        </article>
      ))}
    </section>
  );
}
