// Small things that several views show.

import type { ComponentChildren } from "preact";
import { content, field, name } from "./data";
import { chosen, colour, toggle } from "./state";

const SIGNS: Record<string, string> = { ok: "✓", cached: "↺", asserted: "✓", failed: "✗", tainted: "!", canceled: "–", passed: "✓", expired: "!" };

export function Status({ row }: { row: number }) {
  return <Sign status={String(field.status.at(row))} />;
}

export function Sign({ status }: { status: string }) {
  return <span class={`status ${status}`}><i aria-hidden="true">{SIGNS[status] ?? ""}</i>{status}</span>;
}

export function Tags({ row }: { row: number }) {
  const tags = content.tags[row] ?? [];
  return <>{tags.map((tag) => <span class="tag" key={tag}>{tag}</span>)}</>;
}

export function Dot({ place }: { place: number }) {
  return <span class="dot" aria-hidden="true" style={{ background: colour(place) }} />;
}

export function RunLink({ row }: { row: number }) {
  return <a href={`#/run/${row}`}>{name(row)}</a>;
}

export function Chosen() {
  if (!chosen.value.length) return null;
  return (
    <div class="picked" role="group" aria-label="Chosen runs">
      {chosen.value.slice(0, 12).map((row, place) => (
        <span class="chip" key={row}>
          <Dot place={place} /><RunLink row={row} />
          <button type="button" aria-label={`Drop ${name(row)}`} onClick={() => toggle(row)}>×</button>
        </span>
      ))}
      {chosen.value.length > 12 && <span class="dim">and {chosen.value.length - 12} more</span>}
      <button type="button" class="plain" onClick={() => (chosen.value = [])}>Clear</button>
    </div>
  );
}

export function Which({ rows, what }: { rows: readonly number[]; what: string }) {
  if (chosen.value.length) return <Chosen />;
  return <p class="dim">{what} the first {rows.length} runs of the table. Choose others with the boxes there.</p>;
}

export function Field({ label, children }: { label: string; children: ComponentChildren }) {
  return <label class="field"><span>{label}</span>{children}</label>;
}

type Choices = { label: string; value: string; onChange: (value: string) => void; options: [string, string][] };
export function Select({ label, value, onChange, options }: Choices) {
  return (
    <Field label={label}>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([id, title]) => <option key={id} value={id}>{title}</option>)}
      </select>
    </Field>
  );
}

export function Check({ label, value, onChange }: { label: string; value: boolean; onChange: (value: boolean) => void }) {
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}
