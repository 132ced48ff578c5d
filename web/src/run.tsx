// The page of one run: everything that its record has.

import type { ComponentChildren } from "preact";
import { bytes, content, contentsOf, count, duration, field, name, ofSpace, shown, type Column, type Datums, type Item, type Text } from "./data";
import { Preview } from "./files";
import { Lineage } from "./lineage";
import { Sign, Status, Tags } from "./parts";
import { chosen, toggle } from "./state";

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return <section class="part"><h3>{title}</h3>{children}</section>;
}

function Values({ columns, row }: { columns: Column[]; row: number }) {
  return (
    <table class="values">
      <tbody>
        {columns.map((column) => (
          <tr key={column.id}>
            <th scope="row" title={column.key}>{column.title}</th>
            <td class={column.numeric ? "number" : ""} title={shown(column.at(row))}>{column.text(row)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Items({ items, label }: { items: Item[]; label: string }) {
  return (
    <div class="wide" tabIndex={0} role="region" aria-label={label}>
      <table class="values">
        <tbody>
          {items.map((item) => (
            <tr key={item.path}>
              <th scope="row"><code>{item.path}{item.directory ? "/" : ""}</code></th>
              <td><code class="dim">{item.id.slice(0, 8)}</code></td>
              <td class="number">{bytes(item.size)}</td>
              <td class="number dim">{item.directory ? `${count(item.files)} files` : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Checks({ items }: { items: Item[] }) {
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Checks">
      <table class="values">
        <tbody>
          {items.flatMap((item) => item.checks.map(([check, state, problems]) => (
            <tr key={`${item.output} ${item.path} ${check}`}>
              <th scope="row"><code>{item.path}{item.directory ? "/" : ""}</code> {item.output ? "written" : "read"}</th>
              <td class="words">{check}</td>
              <td class="words"><Sign status={state} /></td>
              <td class="words">{problems.map((problem, at) => <div key={at}>{problem}</div>)}</td>
            </tr>
          )))}
        </tbody>
      </table>
    </div>
  );
}

function Artifacts({ items }: { items: [string, number | null, string][] }) {
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Artifacts">
      <table class="values">
        <tbody>
          {items.map(([path, size, where]) => (
            <tr key={path}>
              <th scope="row"><code>{path}</code></th>
              <td class="number">{bytes(size)}</td>
              <td><code class="dim">{where}</code></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function datumsText({ total, ran, reused, failed, not_run }: Datums): string {
  const done = ([[ran, "ran"], [reused, "reused"], [failed, "failed"], [not_run, "not run"]] as const).filter(([number]) => number > 0);
  return count(total) + (done.length ? `: ${done.map(([number, what]) => `${count(number)} ${what}`).join(", ")}` : "");
}

function Failures({ datums }: { datums: Datums }) {
  const more = datums.failed - datums.failures.length;
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Datums that failed">
      <table class="values">
        <tbody>
          {datums.failures.map(([datum, problem], at) => (
            <tr key={at}><th scope="row"><code>{datum}</code></th><td class="words">{problem}</td></tr>
          ))}
        </tbody>
      </table>
      {more > 0 && <p class="dim">And {count(more)} more.</p>}
    </div>
  );
}

const MARKS: Record<string, string> = { "+": "add", "-": "del", "@": "hunk" };

function Lines({ text, label, from, isDiff = false }: { text: Text; label: string; from: string; isDiff?: boolean }) {
  if (text.problem) return <p class="dim">The {label} is {text.problem}. <code>{from}</code> prints it.</p>;
  const left = text.left_out > 0 && <p class="dim">{bytes(text.left_out)} {isDiff ? "after this" : "before this"} are left out. <code>{from}</code> prints all.</p>;
  return (
    <>
      {!isDiff && left}
      <pre tabIndex={0} role="region" aria-label={label}>
        {isDiff ? text.text.split("\n").map((line, at) => <span key={at} class={MARKS[line[0]] ?? ""}>{line}{"\n"}</span>) : text.text}
      </pre>
      {isDiff && left}
    </>
  );
}

const inWords = (word: string) => (/^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

export function RunPage({ row }: { row: number }) {
  if (!Number.isInteger(row) || row < 0 || !(row in field.name.values)) return <p class="empty">There is no such run on this page.</p>;
  const detail = content.details[row];
  const has = (column: Column) => column.at(row) !== null;
  const [params, metrics, env] = (["param", "metric", "env"] as const).map((space) => ofSpace(space).filter(has));
  const items = contentsOf(row);
  const files = content.files[row] ?? [];
  const command = (rest: string) => `dvlite runs show ${inWords(name(row))}${rest}`;
  const facts: [string, ComponentChildren][] = [
    ["Started", field.start.text(row)],
    ["Took", duration(field.seconds.at(row)) + (detail?.cpu_seconds ? `, ${duration(detail.cpu_seconds)} of CPU` : "")],
    ["Datums", detail?.datums ? datumsText(detail.datums) : ""],
    ["Memory", bytes(detail?.max_rss_bytes)],
    ["Exit code", field.exit_code.text(row)],
    ["Signal", shown(detail?.signal)],
    ["Outputs of", field.of.text(row)],
    ["Imported from", shown(detail?.imported)],
    ["Address there", shown(detail?.url)],
    ["Stage", `${field.stage.text(row)} in ${field.file.text(row)}`],
    ["By", [field.user.text(row), field.host.text(row)].filter(Boolean).join(" on ")],
    ["Commit", field.commit.at(row) ? <code>{field.commit.text(row)}</code> : ""],
    ["Repository", shown(detail?.repo)],
    ["Job", shown(detail?.ci)],
    ["Changed while it ran", (detail?.taint ?? []).join(", ")],
    ["dvlite", shown(detail?.dvlite)],
  ];
  const isChosen = chosen.value.includes(row);
  return (
    <section class="view run" aria-labelledby="run">
      <a class="back" href="#/">← All runs</a>
      <div class="bar">
        <h2 id="run">{name(row)}</h2>
        <Status row={row} /><Tags row={row} />
        {row < content.listed && <button type="button" aria-pressed={isChosen} onClick={() => toggle(row)}>{isChosen ? "Chosen" : "Choose to compare"}</button>}
      </div>
      {(content.notes[row] ?? []).map(([text, time, user], at) => (
        <blockquote key={at}>{text}<footer>{user ? `${user}, ` : ""}{time.slice(0, 16).replace("T", " ")}</footer></blockquote>
      ))}
      <div class="columns">
        {metrics.length > 0 && <Section title="Metrics"><Values columns={metrics} row={row} /></Section>}
        {params.length > 0 && <Section title="Parameters"><Values columns={params} row={row} /></Section>}
        <Section title="Run">
          <dl>{facts.filter(([, text]) => text !== "").map(([label, text]) => <div key={label}><dt>{label}</dt><dd>{text}</dd></div>)}</dl>
        </Section>
      </div>
      {detail?.datums && detail.datums.failed > 0 && <Section title="Datums that failed"><Failures datums={detail.datums} /></Section>}
      <Section title="Lineage"><Lineage row={row} /></Section>
      <div class="columns">
        {items.some((item) => !item.output) && <Section title="Inputs"><Items items={items.filter((item) => !item.output)} label="Inputs" /></Section>}
        {items.some((item) => item.output) && <Section title="Outputs"><Items items={items.filter((item) => item.output)} label="Outputs" /></Section>}
      </div>
      {items.some((item) => item.checks.length > 0) && <Section title="Checks"><Checks items={items} /></Section>}
      {detail?.artifacts && <Section title="Artifacts, where it ran"><Artifacts items={detail.artifacts} /></Section>}
      {files.length > 0 && (
        <Section title="Pictures and tables">
          <div class="side">{files.map((item) => <figure key={item.path} class="card"><figcaption>{item.path}</figcaption><Preview item={item} of={name(row)} /></figure>)}</div>
        </Section>
      )}
      {detail?.cmd && <Section title="Command"><pre tabIndex={0} role="region" aria-label="command">{detail.wdir && detail.wdir !== "." ? `cd ${detail.wdir}\n` : ""}{detail.cmd}</pre></Section>}
      {(detail?.edited?.length || detail?.diff) && (
        <Section title="Edits that were not committed">
          {detail.edited?.length ? <p>{detail.edited.map((path) => <code class="path" key={path}>{path}</code>)}</p> : null}
          {detail.diff && <Lines text={detail.diff} label="diff" from={command(" --diff")} isDiff />}
        </Section>
      )}
      {env.length > 0 && <Section title="Environment"><Values columns={env} row={row} /></Section>}
      {(content.unread[row] ?? []).length > 0 && (
        <Section title="Series that could not be read"><ul>{content.unread[row].map((text) => <li key={text}>{text}</li>)}</ul></Section>
      )}
      {detail?.log && <Section title="Log"><Lines text={detail.log} label="log" from={command(" --log")} /></Section>}
      {!detail && <p class="dim">Command, edits and log of this run are not on the page. <code>{command("")}</code> prints them.</p>}
    </section>
  );
}
