"""Markdown: whatever names and values are, they show as they are."""

import itertools
import re

import click
import pytest

from dvlite.checks.verdicts import CheckVerdict
from dvlite.cli import main
from dvlite.commands.check import CheckResult
from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.metrics import MetricsDiffResult
from dvlite.commands.model import ModelLine, ModelListResult
from dvlite.commands.runs import RunsListResult
from dvlite.pipeline.metric_files import MetricDifference
from dvlite.plots.collect import Plot, PlotCurve
from dvlite.plots.review import Review
from dvlite.reports.verify_markdown import checks_markdown
from dvlite.reports.verify_markdown import markdown as verify_markdown
from dvlite.runs.columns import RunColumn, RunSummary
from dvlite.show import Show
from dvlite.text import diff_markdown, metrics, model, runs
from dvlite.workspace.changes import Counts, FileChange
from tests.reports.samples import HOSTILE, hostile

OURS = {"<!-- -->", "<!-- dvlite verify -->", "<!-- dvlite diff -->", "<br>", "<code>", "</code>", "<pre>", "</pre>"}
OURS |= {"<!-- dvlite check -->", "<details>", "<summary>", "</summary>", "</details>"}


def hostile_diff(name):
    change = FileChange(change="renamed", path=f"{name}/{name}", old_path=f"{name}/old{name}", size_bytes=1)
    path = PathDiff(path=name, kind="directory", counts=Counts(renamed=1), files=(change,), incomplete=name)
    curve = PlotCurve(revision=name, file=name, column=name, points=2, x=(name,), y=(0.5,))
    plot = Plot(title=name, template="line", curves=(curve,))
    review = Review(old=name, new=name, metrics=(changed(name),), plots=(plot,), charts={0: name})
    return diff_markdown.text(DiffResult(old=name, new=name, paths=(path,), review=review), Show())


def changed(name):
    return MetricDifference(file=name, key=name, stage=name, state="changed", old=name, new=f"{name} 2")


def hostile_metrics(name):
    return metrics.markdown(MetricsDiffResult(old=name, new=name, metrics=(changed(name),)), Show())


def hostile_runs(name):
    columns = [RunColumn(title=name, space="param", key="p"), RunColumn(title=name, space="metric", key="m")]
    columns += [RunColumn(title=key, space="run", key=key) for key in ("run", "status", "tags", "user", "host", "when")]
    run = RunSummary(
        run="run:" + "0" * 64,
        name=name,
        stage=name,
        file=name,
        status=name,
        start=name,
        seconds=1.0,
        tags=(name,),
        params={"p": name},
        metrics={"m": [name]},
        user=name,
        host=name,
    )
    result = RunsListResult(runs=(run,), columns=tuple(columns), chosen=True, known=1, now="2026-11-22T14:02:00")
    return runs.markdown(result, Show())


def hostile_checks(name):
    verdict = CheckVerdict(
        check=name, path=name, state="failed", on={}, file=name, line=1, problems=(name, name), hint=name
    )
    return checks_markdown(CheckResult(checks=(verdict,))).splitlines()


def hostile_models(name):
    line = ModelLine(
        name=name, newest=1, versions=1, stages={name: 1}, path=name, oid=f"blake3:{'0' * 64}", run_name=name
    )
    return model.markdown(ModelListResult(models=(line,)), Show())


WRITERS = {
    "check": hostile_checks,
    "diff": hostile_diff,
    "metrics diff": hostile_metrics,
    "model list": hostile_models,
    "runs list": hostile_runs,
    "verify": lambda _name: verify_markdown(hostile(), limit_bytes=1 << 20).splitlines(),
}


def verbs_with_markdown(group=main.app, words=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs_with_markdown(command, (*words, name))
        elif any("--md" in option.opts for option in command.params):
            yield " ".join((*words, name))


def test_every_verb_that_writes_markdown_is_tested_here():
    assert set(WRITERS) == set(verbs_with_markdown())


@pytest.mark.parametrize("verb", WRITERS)
@pytest.mark.parametrize("name", [*HOSTILE, "www.example.com", "![x](y)", "*b* _i_ ~s~ #1 !2 $x$"])
def test_no_name_or_value_is_html_a_link_a_mention_or_a_cell(verb, name):
    lines = list(WRITERS[verb](name))
    text = "\n".join(lines)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]", text)
    assert set(re.findall(r"<[^<>]*>", re.sub(r"`[^`\n]*`", "", text))) <= OURS
    for is_table, rows_of_one in itertools.groupby(lines, lambda line: line.startswith("|")):
        assert not is_table or len({len(re.split(r"(?<!\\)\|", row)) for row in rows_of_one}) == 1
    left = re.sub(r"`[^`\n]*`|<code>[^<]*</code>|<pre>[^<]*</pre>|(?<=<summary>).*(?=</summary>)", "", text)
    assert not re.search(r"@(?!<!-- -->)|(?<!\\)[\[\]]|(?<!\\)://|www\.|(?<!\\)[*_~$](?!\\)", left)
