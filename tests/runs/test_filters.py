"""Filters of runs: which runs match, in which order, and which keys a word stands for."""

import pytest

from dvlite.errors import UsageError
from dvlite.formats.record import Input, Output
from dvlite.runs import filters as search
from dvlite.runs.filters import Filters, SortOrder, keys_meant, parse_condition
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from tests.runs.recorded import START_NS, name, note, oid, run


@pytest.fixture
def index_of(tmp_path):
    """Returns a maker of the index of some records."""

    def index_of(*contents):
        records = Records(tmp_path / "runs")
        for content in contents:
            records.put(content, durable=False)
        return open_index(records)

    return index_of


def numbers(rows, runs):
    """Returns the positions in `runs` of the runs of rows."""
    names = [name(one) for one in runs]
    return [names.index(row.oid) for row in rows]


RUNS = [
    run(0, stage="prepare", params={}, metrics={}),
    run(1, params={"params.yaml:lr": 0.1, "p:net.depth": 3}, metrics={"m.json:acc": 0.5}),
    run(2, params={"params.yaml:lr": 0.01, "other.yaml:lr": 1}, metrics={"m.json:acc": 0.9}, status="failed"),
    run(3, params={"params.yaml:lr": "0.01", "p:model": "vit"}, metrics={"m.json:acc": "nan"}, status="tainted"),
    run(
        4,
        params={"params.yaml:lr": 0.01, "p:flag": True},
        metrics={"m.json:acc": 1},
        file="sub/dvlite.yaml",
        sweep="grid",
    ),
]


@pytest.mark.parametrize(("few", "limit"), [(20_000, None), (0, 99)])
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"limit": 2}, [4, 3]),
        ({"stage": "train"}, [4, 3, 2, 1]),
        ({"stage": "sub:train"}, [4]),
        ({"stage": "train", "statuses": ["ok", "failed"]}, [4, 2, 1]),
        ({"statuses": ["ok"]}, [4, 1, 0]),
        ({"conditions": [parse_condition("param", "lr=0.01")]}, [4, 3, 2]),
        ({"conditions": [parse_condition("param", "lr==0.010")]}, [4, 2]),
        ({"conditions": [parse_condition("param", "lr=0.1")]}, [1]),
        ({"conditions": [parse_condition("param", "params.yaml:lr<0.1")]}, [4, 2]),
        ({"conditions": [parse_condition("param", "other.yaml:lr=1")]}, [2]),
        ({"conditions": [parse_condition("param", "depth>=3")]}, [1]),
        ({"conditions": [parse_condition("param", "model=vit")]}, [3]),
        ({"conditions": [parse_condition("param", "model!=vit")]}, []),
        ({"conditions": [parse_condition("param", "lr!=0.1")]}, [4, 3, 2]),
        ({"conditions": [parse_condition("param", "flag=true")]}, [4]),
        ({"conditions": [parse_condition("param", "nothing=1")]}, []),
        ({"conditions": [parse_condition("metric", "acc>0.5")]}, [4, 2]),
        ({"conditions": [parse_condition("metric", "acc>=0.5")]}, [4, 2, 1]),
        ({"conditions": [parse_condition("metric", "acc<=0.9")]}, [2, 1]),
        ({"conditions": [parse_condition("metric", "acc<0.9"), parse_condition("param", "lr>0")]}, [1]),
        ({"conditions": [parse_condition("env", "python=3.11.9")], "limit": 1}, [4]),
        ({"since_ms": START_NS // 10**6 + 2 * 60_000}, [4, 3, 2]),
        ({"until_ms": START_NS // 10**6 + 2 * 60_000}, [1, 0]),
        ({"commit": RUNS[1].code.commit[:7]}, [1]),
        ({"commit": RUNS[1].code.commit}, [1]),
        ({"commit": "eeee"}, [3]),
        ({"tags": ["good"]}, [3, 2]),
        ({"tags": ["!good"]}, [4, 1, 0]),
        ({"tags": ["good", "!old"]}, [3]),
        ({"hidden": True}, [2]),
        ({"hidden": False}, [4, 3, 1, 0]),
        ({"sweep": "grid"}, [4]),
        ({"sweep": ""}, []),
    ],
)
def test_runs_are_found_by_filters(index_of, monkeypatch, few, limit, filters, found):
    for bound in ("FEW", "FEW_UPSTREAM"):
        monkeypatch.setattr(search, bound, few)  # both ways to look for values
    notes = [note(RUNS[n], "tag", "good", minute=9) for n in (1, 2, 3)]
    notes += [note(RUNS[1], "untag", "good", minute=10), note(RUNS[2], "tag", "old", minute=11)]
    notes.append(note(RUNS[3], "commit", "eeee" * 10, minute=12))
    notes += [note(RUNS[n], "hide", "", minute=13) for n in (0, 2)] + [note(RUNS[0], "unhide", "", minute=14)]
    with index_of(*RUNS, *notes) as index:
        assert numbers(index.find(Filters(**{"limit": limit, **filters})), RUNS) == found


@pytest.mark.parametrize("text", ["", "lr", "=1", "acc>high", "acc>nan", "acc>="])
def test_a_condition_that_compares_nothing_is_refused(text):
    with pytest.raises(UsageError):
        parse_condition("metric", text)


def test_runs_are_sorted_by_a_value_before_they_are_cut_and_those_without_it_come_last(index_of):
    values = (0.2, 0.9, "none", 0.5)
    runs = [run(number, metrics={"m.json:acc": value}) for number, value in enumerate(values)]
    runs.append(run(4, metrics={}, seconds=99.0, exit_code=7, status="failed", stage="evaluate"))
    acc = {"space": "metric", "key": "m.json:acc"}
    with index_of(*runs) as index:
        for filters, order, found in (
            ({}, SortOrder(**acc), [0, 3, 1, 2, 4]),
            ({"limit": 2}, SortOrder(**acc, descending=True), [2, 1]),
            ({"stage": "train", "limit": 1}, SortOrder(**acc), [0]),
            ({"conditions": [parse_condition("metric", "acc>0.3")]}, SortOrder(**acc), [3, 1]),
            ({"limit": 1}, SortOrder("run", "start"), [0]),
            ({}, SortOrder("run", "sweep"), [4, 3, 2, 1, 0]),
            ({}, SortOrder("run", "run"), sorted(range(5), key=lambda number: name(runs[number]))),
            ({"limit": 2}, SortOrder("run", "seconds", descending=True), [4, 3]),
            ({"limit": 1}, SortOrder("run", "exit_code", descending=True), [4]),
        ):
            assert numbers(index.find_sorted(Filters(**filters), order), runs) == found, (filters, order)


def test_the_work_of_a_question_follows_what_it_lists_not_the_runs(index_of, monkeypatch):
    for bound in ("FEW", "FEW_UPSTREAM"):
        monkeypatch.setattr(search, bound, 3)
    lr, acc = parse_condition("param", "lr=1"), parse_condition("metric", "acc>0.2")
    by_acc = {"space": "metric", "key": "m.json:acc"}
    questions = {
        "newest": lambda index: index.find(Filters(limit=5, hidden=False)),
        "param": lambda index: index.find(Filters(limit=5, conditions=(lr,))),
        "inherited": lambda index: index.find(Filters(limit=5, conditions=(lr,), stage="evaluate")),
        "metric": lambda index: index.find(Filters(limit=5, conditions=(acc,))),
        "both": lambda index: index.find(Filters(limit=5, conditions=(acc, lr))),
        "best": lambda index: index.find_sorted(Filters(limit=5), SortOrder(**by_acc, descending=True)),
        "least": lambda index: index.find_sorted(Filters(limit=5, conditions=(lr,)), SortOrder(**by_acc)),
    }

    def experiment(number):
        made = Output(path="model.pt", oid=oid(f"model {number}"), size_bytes=9000)
        yield run(2 * number, params={"params.yaml:lr": number % 3}, metrics={}, outputs=(made,))
        read = Input(path="model.pt", oid=made.oid, size_bytes=9000)
        metrics = {"m.json:acc": number * 7919 % 1000 / 1000}
        yield run(2 * number + 1, stage="evaluate", params={}, metrics=metrics, inputs=(read,), outputs=())

    def steps(count):
        taken = {}
        with index_of(*(one for number in range(count) for one in experiment(number))) as index:
            for title, ask in questions.items():
                done = []
                index._connection.set_progress_handler(lambda done=done: done.append(1), 10)
                assert len(ask(index)) == 5
                taken[title] = len(done)
        return taken

    few, many = steps(50), steps(250)
    assert {title: number for title, number in many.items() if number > 1.7 * few[title] + 10} == {}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lr", ["lr"]),
        ("depth", ["p.yaml:net.depth", "q.yaml:net.depth"]),
        ("net.depth", ["p.yaml:net.depth", "q.yaml:net.depth"]),
        ("p.yaml:net.depth", ["p.yaml:net.depth"]),
        ("seed", ["p.yaml:seed"]),
        ("eed", []),
    ],
)
def test_a_word_means_a_whole_key_else_what_follows_its_file_else_its_last_words(word, meant):
    assert keys_meant(word, ["lr", "p.yaml:lr", "p.yaml:net.depth", "q.yaml:net.depth", "p.yaml:seed"]) == meant
