"""Walks as lines of text, whatever the names in them are."""

import re

from dvlite.lineage.report import LineageArtefact, LineageGraph, LineageLink, LineageRun, LineageRunName, LineageUse
from dvlite.runs.history import LineageCommit
from dvlite.text.lineage_tree import dot, mermaid, tree
from tests.runs.synthetic import oid

HOSTILE = 'a"]; end\n\x1b[31m`<script>`\\" -> \u202e'


def link(path):
    return LineageLink(oid=oid(path), path=path, size_bytes=1000)


def artefact(path, **fields):
    return LineageArtefact(oid=oid(path), path=path, size_bytes=1000, **fields)


def name(text, status="ok"):
    return LineageRunName(run=oid(text, "run"), name=f"{text}-123456", status=status)


def run(text, inputs="", outputs="", **fields):
    return LineageRun(
        **{
            "run": oid(text, "run"),
            "name": f"{text}-123456",
            "stage": text,
            "file": "dvlite.yaml",
            "status": "ok",
            "start": "",
        }
        | {"inputs": tuple(map(link, inputs.split())), "outputs": tuple(map(link, outputs.split()))}
        | fields
    )


def lines(found):
    return [re.sub(r" [0-9a-f]{8}\b", "", line) for line in found]


def test_up_draws_runs_and_what_they_were_given():
    graph = LineageGraph(
        starts=(link("model"),),
        artefacts=(
            artefact("model", origin="run", made_by=(name("train"), name("again", "cached"))),
            artefact("code.py", origin="code"),
            artefact("data", origin="data", commit=LineageCommit(commit="0d9e8f7" + "0" * 33, subject="More gulls")),
            artefact("found"),
        ),
        runs=(
            run(
                "train",
                "code.py data found",
                "model",
                metrics={"m.json:acc": 0.5},
                taint=("code.py",),
                status="tainted",
            ),
        ),
    )
    assert lines(tree(graph, down=False)) == [
        "model (1000 B)",
        "  train-123456  tainted (code.py changed while it ran)  acc=0.5  (also made by again-123456 (cached))",
        '    data (1000 B)  commit 0d9e8f7 "More gulls"',
        "    found (1000 B)  unknown (not recorded)",
        "    code: code.py",
    ]


def test_down_draws_each_thing_once_and_marks_what_is_in_use():
    graph = LineageGraph(
        starts=(link("data"),),
        artefacts=(
            artefact(
                "data", used_by=(LineageUse(run=oid("a", "run"), others=(name("b"),)), LineageUse(run=oid("c", "run")))
            ),
            artefact("x", used_by=(LineageUse(run=oid("c", "run")),), now=("x",)),
            artefact("y", now=("z",), cut_runs=0),
            artefact("w", cut_runs=12),
        ),
        runs=(run("a", "data", "x"), run("c", "data x", "y w"), run("f", "data", "", status="failed")),
    )
    assert lines(tree(graph, down=True)) == [
        "data (1000 B)",
        "  a-123456  ok  (and b-123456)",
        "    x (1000 B)  in use",
        "      c-123456  ok",
        "        y (1000 B)  in use as z",
        "        w (1000 B)",
        "          ... 12 more, --depth",
        "  c-123456  ok  (above)",
    ]


def test_a_walk_deeper_than_pythons_stack_is_drawn():
    count = 5000
    runs = [run(f"r{i}", f"f{i + 1}", f"f{i}") for i in range(count)]
    artefacts = [artefact(f"f{i}", made_by=(name(f"r{i}"),)) for i in range(count)]
    graph = LineageGraph(starts=(link("f0"),), artefacts=tuple(artefacts), runs=tuple(runs))
    assert len(list(tree(graph, down=False))) == 2 * count + 1


def test_names_of_strangers_cannot_leave_their_label():
    path = HOSTILE.replace(" ", "_")
    graph = LineageGraph(
        starts=(link(path),),
        artefacts=(artefact(path, origin="run", made_by=(name("train"),)),),
        runs=(run("train", "", path, metrics={HOSTILE: HOSTILE}, status=HOSTILE),),
    )
    for found in (*tree(graph, down=False), *mermaid([graph]), *dot([graph])):
        assert found.isprintable()
    for found in mermaid([graph]):
        match = re.fullmatch(
            r'  (?:a0\["([^"\[\]<>`\\;]|#\d+;)*"\]|r0\(\["([^"\[\]<>`\\;]|#\d+;)*"\]\)|r0 --> a0)|flowchart LR', found
        )
        assert match, found
    labels = [match for found in dot([graph]) if (match := re.search(r'label="((?:[^"\\]|\\.)*)", shape', found))]
    assert len(labels) == 2


def test_diagrams_have_each_edge_once():
    graph = LineageGraph(
        starts=(link("model"),),
        artefacts=(artefact("model", made_by=(name("train"),)), artefact("d/a", held_by=(link("d"),)), artefact("d")),
        runs=(run("train", "d/a", "model"),),
    )
    text = "\n".join(mermaid([graph, graph]))
    assert text.count("-->") == 2
    assert text.count("-.->") == 1
    assert "\n".join(dot([graph, graph])).count(" -> ") == 3
