// The panel in which columns are chosen.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { columns, field, type Space } from "./data";
import { columnsChosen, visible } from "./state";

const isOpen = signal(false);
const word = signal("");
const GROUPS: [Space, string][] = [["run", "Run"], ["metric", "Metrics"], ["param", "Parameters"], ["input", "Inputs"], ["env", "Environment"]];

export function Columns() {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const isKey = event instanceof KeyboardEvent;
      if (isKey ? event.key === "Escape" : !box.current?.contains(event.target as Node)) {
        if (isKey && isOpen.value) box.current?.querySelector("button")?.focus();
        isOpen.value = false;
      }
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, []);
  const now = columnsChosen.value ?? new Set(visible.value.map((column) => column.id));
  function flip(id: string) {
    const next = new Set(now);
    if (!next.delete(id)) next.add(id);
    columnsChosen.value = next;
  }
  const wanted = word.value.toLowerCase();
  return (
    <div class="menu" ref={box}>
      <button type="button" aria-expanded={isOpen.value} aria-controls="columns" onClick={() => (isOpen.value = !isOpen.value)}>Columns</button>
      {isOpen.value && (
        <div class="panel" id="columns" role="group" aria-label="Columns">
          <div class="bar">
            <input type="search" aria-label="Search columns" placeholder="Search" value={word.value} onInput={(event) => (word.value = event.currentTarget.value)} />
            <button type="button" class="plain" onClick={() => (columnsChosen.value = null)}>Default</button>
          </div>
          {GROUPS.map(([space, title]) => {
            const some = columns.filter((column) => column.space === space && column !== field.name && column.key.toLowerCase().includes(wanted)).slice(0, 200);
            return some.length > 0 && (
              <fieldset key={space}>
                <legend>{title}</legend>
                {some.map((column) => (
                  <label class="check" key={column.id} title={column.key}>
                    <input type="checkbox" checked={now.has(column.id)} onChange={() => flip(column.id)} /><span>{column.title}</span>
                  </label>
                ))}
              </fieldset>
            );
          })}
        </div>
      )}
    </div>
  );
}
