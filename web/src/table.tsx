// The table: only the rows on screen are in the document, however many there are.

import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { asNumber, count, field, judge, name, shown, type Column } from "./data";
import { chosen, colour, groupBy, ordered, sort, toggle, visible } from "./state";
import { byId } from "./data";
import { Status, Tags } from "./parts";

const ROW = 36;
const MARGIN = 8; // rows beyond the edge of the screen
const PICK = 44; // width of the column of boxes

type Line = { row: number } | { group: string; rows: number[]; open: boolean };

const top = signal(0);
const height = signal(600);
const closed = signal<ReadonlySet<string>>(new Set());

const lines = computed<Line[]>(() => {
  const by = byId.get(groupBy.value);
  if (!by) return ordered.value.map((row) => ({ row }));
  const groups = new Map<string, number[]>();
  for (const row of ordered.value) {
    const key = by.text(row);
    const rows = groups.get(key);
    if (rows) rows.push(row);
    else groups.set(key, [row]);
  }
  return [...groups].flatMap(([group, rows]): Line[] => {
    const open = !closed.value.has(group);
    return [{ group, rows, open }, ...(open ? rows.map((row) => ({ row })) : [])];
  });
});

const widths = computed(() => visible.value.map((column) => {
  const rows = ordered.value;
  const step = Math.max(1, Math.floor(rows.length / 100));
  let longest = "";
  for (let at = 0; at < rows.length; at += step) {
    const text = column.text(rows[at]);
    if (text.length > longest.length) longest = text;
  }
  const isBold = column === field.name;
  const room = column === field.status ? 22 : column === field.tags ? 40 : 4;
  const width = Math.max(letters(longest, isBold) + room, letters(column.title, true) + 14) + 24;
  return Math.min(Math.max(Math.ceil(width), 64), isBold ? 320 : 260);
}));

const judges = computed(() => new Map(visible.value.map((column) => [column.id, judge(column, ordered.value)])));

let ruler: CanvasRenderingContext2D | null = null;

/** How wide a text is in the font of the table. */
function letters(text: string, isBold: boolean): number {
  ruler ??= document.createElement("canvas").getContext("2d")!;
  ruler.font = `${isBold ? 600 : 400} 14px system-ui, -apple-system, "Segoe UI", sans-serif`;
  return ruler.measureText(text.slice(0, 80)).width;
}

function order(column: Column): void {
  const now = sort.value;
  const startsDown = column.better ? column.better === "higher" : column.space === "metric" || column === field.start;
  if (now?.id !== column.id) sort.value = { id: column.id, descending: startsDown };
  else if (now.descending === startsDown) sort.value = { id: column.id, descending: !startsDown };
  else sort.value = null;
  top.value = 0;
}

const isNumber = (column: Column) => column.numeric && column !== field.start;

function Head({ column, width }: { column: Column; width: number }) {
  const isSorted = sort.value?.id === column.id;
  const way = isSorted ? (sort.value!.descending ? "descending" : "ascending") : "none";
  return (
    <th scope="col" aria-sort={way} class={isNumber(column) ? "number" : column === field.name ? "name" : ""} style={{ width: `${width}px` }}>
      <button type="button" class="head" title={`${column.key} (${column.space})`} onClick={() => order(column)}>
        <span>{column.title}</span>
        <i aria-hidden="true">{isSorted ? (sort.value!.descending ? "↓" : "↑") : ""}</i>
      </button>
    </th>
  );
}

function Cell({ column, row }: { column: Column; row: number }) {
  if (column === field.name) {
    return <th scope="row" class="name"><a href={`#/run/${row}`} data-row={row} title={name(row)}>{name(row)}</a></th>;
  }
  if (column === field.status) return <td><Status row={row} /></td>;
  if (column === field.tags) return <td><Tags row={row} /></td>;
  const text = column.text(row);
  const isEmpty = text === "";
  const exact = column.space === "run" ? text : shown(column.at(row));
  const title = typeof column.at(row) === "number" && column.space !== "run" ? String(column.at(row)) : exact;
  const verdict = judges.value.get(column.id)?.(row) ?? "";
  const kind = isNumber(column) ? "number" : column.space === "input" || column === field.commit ? "code" : "";
  return (
    <td class={`${kind} ${verdict}`} title={verdict ? `${title}, the ${verdict} of these runs` : title}>
      {isEmpty ? <span class="none" aria-label="none">–</span> : text}
    </td>
  );
}

function Row({ row, index }: { row: number; index: number }) {
  const place = chosen.value.indexOf(row);
  return (
    <tr aria-rowindex={index + 2} class={place < 0 ? "" : "chosen"} style={{ height: `${ROW}px` }}>
      <td class="pick">
        <label style={{ accentColor: place < 0 ? undefined : colour(place) }}>
          <input type="checkbox" checked={place >= 0} onChange={() => toggle(row)} aria-label={`Choose ${name(row)}`} />
        </label>
      </td>
      {visible.value.map((column) => <Cell key={column.id} column={column} row={row} />)}
    </tr>
  );
}

function mean(column: Column, rows: number[]): string {
  if (column.space !== "metric" || !column.numeric) return "";
  let sum = 0;
  let known = 0;
  for (const row of rows) {
    const value = asNumber(column.at(row));
    if (value !== null && Number.isFinite(value)) {
      sum += value;
      known++;
    }
  }
  return known ? shown(+(sum / known).toPrecision(4)) : "";
}

function Group({ line, index }: { line: Extract<Line, { group: string }>; index: number }) {
  const by = byId.get(groupBy.value);
  function flip() {
    const next = new Set(closed.value);
    if (!next.delete(line.group)) next.add(line.group);
    closed.value = next;
  }
  return (
    <tr aria-rowindex={index + 2} class="group" style={{ height: `${ROW}px` }}>
      <th scope="rowgroup" colSpan={2} class="name">
        <button type="button" aria-expanded={line.open} onClick={flip}>
          <i aria-hidden="true">{line.open ? "▾" : "▸"}</i> <span class="dim">{by?.title}</span> {line.group || "none"}
          <small>{count(line.rows.length)}</small>
        </button>
      </th>
      {visible.value.slice(1).map((column) => {
        const text = mean(column, line.rows);
        return <td key={column.id} class="number" title={text && `mean of ${column.title}`}>{text && `ø ${text}`}</td>;
      })}
    </tr>
  );
}

export function Table() {
  const scroller = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = scroller.current!;
    const observer = new ResizeObserver(() => (height.value = box.clientHeight));
    observer.observe(box);
    box.scrollTop = top.value;
    return () => observer.disconnect();
  }, []);
  const all = lines.value;
  const first = Math.max(0, Math.min(Math.floor(top.value / ROW) - MARGIN, all.length - 1));
  const last = Math.min(all.length, Math.ceil((top.value + height.value) / ROW) + MARGIN);
  const shownWidths = widths.value;

  /** Arrows go from run to run, space chooses one. */
  function onKeyDown(event: KeyboardEvent) {
    const link = (event.target as HTMLElement).closest<HTMLElement>("a[data-row]");
    if (!link) return;
    const row = Number(link.dataset.row);
    if (event.key === " ") {
      event.preventDefault();
      toggle(row);
      return;
    }
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -all.length, End: all.length }[event.key];
    if (!by) return;
    event.preventDefault();
    const isRow = (line: Line): line is { row: number } => "row" in line;
    let at = all.findIndex((line) => isRow(line) && line.row === row) + by;
    at = Math.max(0, Math.min(at, all.length - 1));
    while (at > 0 && at < all.length - 1 && !isRow(all[at])) at += Math.sign(by);
    const target = all[at];
    if (!isRow(target)) return;
    const box = scroller.current!;
    const y = at * ROW;
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + 2 * ROW > box.scrollTop + box.clientHeight) box.scrollTop = y + 3 * ROW - box.clientHeight;
    top.value = box.scrollTop;
    requestAnimationFrame(() => requestAnimationFrame(() => box.querySelector<HTMLElement>(`a[data-row="${target.row}"]`)?.focus({ preventScroll: true })));
  }

  return (
    <div class="scroller" ref={scroller} tabIndex={0} role="region" aria-label="Runs" onScroll={() => (top.value = scroller.current!.scrollTop)} onKeyDown={onKeyDown}>
      <table class="runs" aria-rowcount={all.length + 1} style={{ width: `${shownWidths.reduce((sum, width) => sum + width, PICK)}px` }}>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col" class="pick" style={{ width: `${PICK}px` }}><span class="hidden">Chosen</span></th>
            {visible.value.map((column, at) => <Head key={column.id} column={column} width={shownWidths[at]} />)}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true" style={{ height: `${first * ROW}px` }}><td /></tr>}
          {all.slice(first, last).map((line, at) =>
            "row" in line
              ? <Row key={line.row} row={line.row} index={first + at} />
              : <Group key={`group ${line.group}`} line={line} index={first + at} />)}
          {last < all.length && <tr aria-hidden="true" style={{ height: `${(all.length - last) * ROW}px` }}><td /></tr>}
        </tbody>
      </table>
      {all.length === 0 && <p class="empty">No run matches.</p>}
    </div>
  );
}

export function showTop(): void {
  top.value = 0;
  document.querySelector(".scroller")?.scrollTo(0, 0);
}
