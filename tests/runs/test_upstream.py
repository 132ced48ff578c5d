"""What runs inherit from the runs upstream: parameters and source data."""

import os

import pytest

from dvlite.formats.record import Input, Output
from dvlite.repo.repository import open_repo
from dvlite.runs import filters
from dvlite.runs.filters import Filters, parse_condition
from dvlite.runs.index import open_index
from dvlite.runs.queries import RunQueries
from dvlite.runs.records import Records
from dvlite.runs.upstream import source_data, upstream_params, walk
from tests.counting import grows_linearly
from tests.runs.recorded import name, oid, run


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "runs")


def put(records, *runs):
    for one in runs:
        records.put(one, durable=False)
    return open_index(records)


def reads(path, version, *, inside=None, kind="manifest"):
    holder = {} if inside is None else {"inside": inside[0], "inside_oid": oid(inside[1], "manifest")}
    return Input(path=path, oid=oid(version, kind), size_bytes=1000, **holder)


def writes(path, version, kind="manifest"):
    return Output(path=path, oid=oid(version, kind), size_bytes=1000, files=2)


def rate(value):
    return {"params.yaml:rate": value}


def sources(index, git_repo, *runs):
    found = source_data(
        open_repo(git_repo, os.environ, must_be_initialised=False), RunQueries(index), [name(one) for one in runs]
    )
    return [found[name(one)] for one in runs]


def test_a_walk_visits_each_run_once_a_level_at_a_time():
    edges = {1: [2, 3], 2: [4], 3: [4, 1], 4: [1]}
    levels = []

    def neighbours(level):
        levels.append(level)
        return {run: edges[run] for run in level}

    assert walk([1, 1], neighbours) == edges
    assert levels == [[1], [2, 3], [4]]


def test_a_run_inherits_the_parameters_of_the_nearest_run(records):
    prepared = run(1, stage="prepare", params={**rate(1), "p:a": 1, "p:b": 1}, outputs=(writes("tiles", "t"),))
    trained = run(2, params={"p:b": 2}, inputs=(reads("tiles", "t"),), outputs=(writes("model", "m"),))
    measured = run(3, stage="evaluate", params=rate(3), inputs=(reads("model", "m"),), outputs=())
    with put(records, prepared, trained, measured) as index:
        names = [name(one) for one in (prepared, trained, measured)]
        assert upstream_params(index, [*names, oid("unknown", "run")]) == {
            names[0]: {},
            names[1]: {**rate(1), "p:a": 1},
            names[2]: {"p:b": 2, "p:a": 1},
            oid("unknown", "run"): {},
        }


@pytest.mark.parametrize("few", [filters.FEW_UPSTREAM, 0])
@pytest.mark.parametrize("clock_was_wrong", [False, True])
def test_of_runs_that_wrote_the_same_bytes_the_newest_before_counts_for_listings_and_filters(
    records, monkeypatch, clock_was_wrong, few
):
    monkeypatch.setattr(filters, "FEW_UPSTREAM", few)  # from matches down, or from each run up
    inputs, outputs = (reads("model", "m"),), (writes("model", "m"),)
    early = [run(1, stage="evaluate", params={}, inputs=inputs, outputs=())] if clock_was_wrong else []
    middle = run(3, stage="evaluate", params={}, inputs=inputs, outputs=())
    late = run(5, stage="evaluate", params={}, inputs=inputs, outputs=())
    trained = [run(number, params=rate(value), outputs=outputs) for number, value in ((2, 1), (4, 2))]
    with put(records, *early, middle, late, *trained) as index:
        for value, wanted in ((1, [middle, *early]), (2, [late])):
            condition = parse_condition("param", f"rate={value}")
            rows = index.find(Filters(stage="evaluate", conditions=(condition,), limit=9))
            assert [row.oid for row in rows] == [name(one) for one in wanted]
            inherited = upstream_params(index, [name(one) for one in wanted])
            assert list(inherited.values()) == [rate(value)] * len(wanted)


@pytest.mark.parametrize("few", [filters.FEW_UPSTREAM, 0])
def test_a_filter_takes_inherited_parameters_up_to_the_nearest_run_that_has_its_own(records, monkeypatch, few):
    monkeypatch.setattr(filters, "FEW_UPSTREAM", few)
    prepared = run(1, stage="prepare", params={**rate(1), "p:b": 1}, outputs=(writes("tiles", "t"),))
    trained = run(2, params={"p:b": 2}, inputs=(reads("tiles", "t"),), outputs=(writes("model", "m"),))
    measured = run(3, stage="evaluate", params=rate(3), inputs=(reads("model", "m"),), outputs=())
    with put(records, prepared, trained, measured) as index:
        for text, wanted in (
            ("rate=1", [trained, prepared]),
            ("rate>0", [measured, trained, prepared]),
            ("rate!=1", [measured]),
            ("b=1", [prepared]),
            ("b=2", [measured, trained]),
            ("b!=1", [measured, trained]),
        ):
            rows = index.find(Filters(conditions=(parse_condition("param", text),), limit=9))
            assert [row.oid for row in rows] == [name(one) for one in wanted], text


def test_of_a_long_chain_a_filter_looks_at_the_nearest_runs(records, monkeypatch):
    monkeypatch.setattr(filters, "FEW_UPSTREAM", 0)
    monkeypatch.setattr(filters, "MOST_AHEAD", 4)
    chain = [
        run(
            number,
            params={} if number else rate(1),
            inputs=(reads("state", f"state {number - 1}"),) if number else (),
            outputs=(writes("state", f"state {number}"),),
        )
        for number in range(6)
    ]
    with put(records, *chain) as index:
        rows = index.find(Filters(conditions=(parse_condition("param", "rate=1"),), limit=9))
        assert [row.oid for row in rows] == [name(chain[number]) for number in (3, 2, 1, 0)]


def test_runs_that_form_a_circle_end(records, git_repo):
    one = run(1, params={"p:b": 1}, inputs=(reads("a", "a"), reads("data", "d")), outputs=(writes("b", "b"),))
    two = run(2, params={"p:a": 1}, inputs=(reads("b", "b"),), outputs=(writes("a", "a"),))
    with put(records, one, two) as index:
        assert upstream_params(index, [name(one)]) == {name(one): {"p:a": 1}}
        assert sources(index, git_repo, one)[0]["data"] == oid("d", "manifest")


def test_source_data_is_followed_through_the_directories_that_runs_wrote(records, git_repo):
    prepared = run(1, stage="prepare", inputs=(reads("images", "one"),), outputs=(writes("tiles", "t"),))
    part = reads("tiles/a.bin", "a", inside=("tiles", "t"), kind="blake3")
    trained = run(2, inputs=(part,), outputs=(writes("model", "m", "blake3"),))
    measured = run(3, stage="evaluate", inputs=(reads("model", "m", kind="blake3"),), outputs=())
    with put(records, prepared, trained, measured) as index:
        assert sources(index, git_repo, prepared, trained, measured) == [{"images": oid("one", "manifest")}] * 3


def test_data_is_left_out_where_runs_that_wrote_the_same_bytes_used_different_versions(records, git_repo):
    prepared = [
        run(number, stage="prepare", inputs=(reads("images", version),), outputs=(writes("tiles", "same"),))
        for number, version in enumerate(("one", "two"))
    ]
    trained = run(3, inputs=(reads("tiles", "same"),))
    with put(records, *prepared, trained) as index:
        assert sources(index, git_repo, trained) == [{}]


def test_a_stage_that_reads_its_own_output_is_followed_to_its_first_run(records, git_repo):
    runs = [
        run(
            number,
            inputs=(reads("state", f"state {number - 1}") if number else reads("images", "one"),),
            outputs=(writes("state", f"state {number}"),),
        )
        for number in range(12)
    ]
    with put(records, *runs) as index:
        assert sources(index, git_repo, *runs) == [{"images": oid("one", "manifest")}] * 12


def test_work_grows_with_the_runs_upstream_and_no_faster():
    def chain(count):
        return {number: [number - 1] if number else [] for number in range(count)}

    def walk_up(edges):
        return walk(edges, lambda level: {run: edges[run] for run in level})

    assert grows_linearly(walk_up, chain(200), chain(2_000), times=10)
