"""Comparing two run records, part by part."""

import pytest

from dvlite.formats.record import Code, Input, Output
from dvlite.runs.compare import RunCell, compare_runs, side_by_side
from tests.runs.recorded import oid, run

CLEAN = Code(commit="ab" * 20)


def changed(old, new, **options):
    found = compare_runs(old, new, options.get("code_paths", ()), options.get("better", {}))
    return {
        part: [change.key for change in getattr(found, part)]
        for part in ("params", "metrics", "data", "code", "command", "environment", "outputs")
        if getattr(found, part)
    }


def test_a_run_does_not_differ_from_itself():
    one = run(1)
    found = compare_runs(one, one, (), {})
    assert changed(one, one) == {}
    assert found.same == ("params", "metrics", "data", "code", "command", "environment", "outputs")
    empty = run(1, params={}, metrics={}, outputs=())
    assert compare_runs(empty, empty, (), {}).same == ("data", "code", "command", "environment")


def test_values_are_added_removed_or_changed_and_true_is_not_one():
    old, new = (
        run(1, params={"gone": 1, "same": 1, "kind": 1, "lr": 1}),
        run(1, params={"same": 1.0, "kind": True, "lr": 2, "new": 3}),
    )
    found = compare_runs(old, new, (), {}).params
    assert [(change.key, change.state) for change in found] == [
        ("gone", "removed"),
        ("kind", "changed"),
        ("lr", "changed"),
        ("new", "added"),
    ]


@pytest.mark.parametrize(("direction", "better"), [("higher", True), ("lower", False), (None, None)])
def test_a_metric_is_better_in_its_declared_direction(direction, better):
    old, new = run(1, metrics={"acc": 0.5}), run(1, metrics={"acc": 0.6})
    directions = {} if direction is None else {"acc": direction}
    assert [change.better for change in compare_runs(old, new, (), directions).metrics] == [better]


def test_several_runs_stand_side_by_side_where_any_differs_from_the_first():
    runs = [
        run(1, params={"lr": lr, "same": 1, **extra}, metrics={"acc": acc})
        for lr, acc, extra in ((1, 0.5, {}), (1, 0.6, {"new": None}), (2, 0.4, {}))
    ]
    rows = side_by_side([compare_runs(runs[0], other, (), {"acc": "higher"}) for other in runs[1:]])
    none = RunCell(has=False)
    assert {row.key: row.cells for row in rows} == {
        "new": (none, RunCell(value=None), none),
        "lr": (RunCell(value=1), RunCell(value=1), RunCell(value=2)),
        "acc": (RunCell(value=0.5), RunCell(value=0.6, better=True), RunCell(value=0.4, better=False)),
    }


def test_inputs_in_git_are_code_and_others_data():
    def of(version):
        inputs = [Input(path=path, oid=oid(f"{path} {version}"), size_bytes=1) for path in ("a.py", "data")]
        return run(1, inputs=tuple(inputs), code=CLEAN)

    assert changed(of(1), of(2), code_paths={"a.py"}) == {"data": ["data"], "code": ["a.py"]}


def test_another_commit_alone_is_no_change_of_code_nor_are_edits_that_the_record_covers():
    clean = run(1, code=CLEAN)
    covered = ("params.yaml", "data/tiles/a", "data/tiles.dvlite", "dvlite.yaml", "model.pt")
    edited = run(1, code=Code(commit="cd" * 20, dirty=covered, diff=oid("edits")))
    assert changed(clean, edited) == {}
    other = run(1, code=Code(commit="cd" * 20, dirty=(*covered, "lib.py"), diff=oid("edits")))
    (change,) = compare_runs(clean, other, (), {}).code
    assert (change.key, change.new) == ("edits", {"paths": ["lib.py"], "diff": oid("edits")})


def test_metrics_files_are_compared_by_value_only():
    def of(version):
        files = (
            Output(path="m.json", oid=oid(version), size_bytes=1, role="metric"),
            Output(path="m", oid=oid(version), size_bytes=1),
        )
        return run(1, outputs=files)

    assert changed(of(1), of(2)) == {"outputs": ["m"]}


def test_facts_of_the_machine_are_not_compared():
    old, new = run(1, environment={"python": "3.11", "cpus": 4}), run(1, environment={"python": "3.12", "cpus": 8})
    assert changed(old, new) == {"environment": ["python"]}
