// The page of runs. Everything is in the document that it stands in: nothing is asked of any host.

import "uplot/dist/uPlot.min.css";
import "./page.css";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { columns as allColumns, content, count, field, listed } from "./data";
import { Columns } from "./columns";
import { Compare } from "./compare";
import { Curves } from "./curves";
import { Files } from "./files";
import { Parallel } from "./parallel";
import { Check, Chosen, Select } from "./parts";
import { RunPage } from "./run";
import { Scatter } from "./scatter";
import { chosen, filter, groupBy, onlyChanged, ordered, problems, route } from "./state";
import { showTop, Table } from "./table";

const VIEWS: [string, string][] = [["", "Runs"], ["compare", "Compare"], ["curves", "Curves"], ["scatter", "Scatter"], ["parallel", "Parallel"], ["files", "Pictures"]];

function Filter() {
  const rows = ordered.value.length;
  return (
    <div class="filter">
      <input
        type="search" id="filter" aria-label="Filter runs" aria-describedby="matching" spellcheck={false} autocomplete="off"
        placeholder="Filter: lr<0.1 acc>=0.9 status=ok tag=best, or any words" value={filter.value}
        onInput={(event) => {
          filter.value = event.currentTarget.value;
          showTop();
        }}
      />
      <span id="matching" role="status" class={problems.value.length ? "wrong" : "dim"}>
        {problems.value.length ? problems.value.join("; ") : rows === listed ? `${count(rows)} runs` : `${count(rows)} of ${count(listed)} runs`}
      </span>
    </div>
  );
}

function Runs() {
  const groups = allColumns.filter((column) => column === field.stage || column === field.status || column === field.user || column === field.host || column === field.sweep || column === field.commit || column === field.tags || column.space === "param" || column.space === "input");
  return (
    <>
      <div class="tools">
        <Select label="Group by" value={groupBy.value} onChange={(id) => { groupBy.value = id; showTop(); }} options={[["", "nothing"], ...groups.map((column): [string, string] => [column.id, column.title])]} />
        <Check label="Only changed columns" value={onlyChanged.value} onChange={(value) => (onlyChanged.value = value)} />
        <Columns />
        <Chosen />
        {chosen.value.length > 1 && <a class="button" href="#/compare">Compare {chosen.value.length}</a>}
      </div>
      <Table />
    </>
  );
}

function View() {
  const [, view = "", argument = ""] = route.value.split("/");
  if (view === "run") return <RunPage row={Number(argument || NaN)} />;
  if (view === "compare") return <Compare />;
  if (view === "curves") return <Curves />;
  if (view === "scatter") return <Scatter />;
  if (view === "parallel") return <Parallel />;
  return view === "files" ? <Files /> : <Runs />;
}

function Page() {
  const [, view = ""] = route.value.split("/");
  useEffect(() => {
    performance.mark("dvlite:drawn");
  }, []);
  useEffect(() => scrollTo(0, 0), [route.value]);
  return (
    <div class={view === "" ? "whole table" : "whole"}>
      <header>
        <h1>{content.title}</h1>
        <nav aria-label="Views">
          {VIEWS.map(([id, title]) => <a key={id} href={`#/${id}`} aria-current={id === view ? "page" : undefined}>{title}{id === "compare" && chosen.value.length > 0 && <b>{chosen.value.length}</b>}</a>)}
        </nav>
        {view !== "run" && <Filter />}
      </header>
      <main><View /></main>
      <footer class="dim">
        {listed < content.known ? `${count(listed)} of ${count(content.known)} runs` : `${count(listed)} runs`}, written {content.written.slice(0, 16).replace("T", " ")} UTC by dvlite {content.dvlite}
      </footer>
    </div>
  );
}

render(<Page />, document.getElementById("page")!);
