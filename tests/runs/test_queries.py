"""What walks ask of the index: the same as the records say, many things at a time."""

import contextlib
import random

import pytest

from dvlite.formats.record import Input, Output
from dvlite.lineage.walk import makers_of, run_io, walk
from dvlite.oid import Oid
from dvlite.runs import index as index_module
from dvlite.runs.index import open_index
from dvlite.runs.queries import Artefact, RunQueries
from dvlite.runs.records import Records
from tests.runs.recorded import name, note, oid, run

FOLDER = oid("folder", "manifest")


class Lookup(RunQueries):
    """Queries, as a lookup for walks that knows no directories."""

    def rank(self, run):
        return 0

    def holders(self, artefact, *, every):
        return ()

    def parts(self, artefact, *, outputs=None):
        return super().parts(artefact) if outputs is None else ()


@pytest.fixture
def asked(tmp_path):
    """Returns a maker of lookups over records."""

    opened = contextlib.ExitStack()

    def asked(*found):
        records = Records(tmp_path / "runs")
        for one in found:
            records.put(one, durable=False)
        return Lookup(opened.enter_context(open_index(records)))

    with opened:
        yield asked


def read(path, word, **fields):
    return Input(path=path, oid=oid(word), size_bytes=1000, **fields)


def left(path, word, **fields):
    return Output(path=path, oid=oid(word), size_bytes=1000, **fields)


def test_makers_and_users_of_many_things(asked):
    one = run(1, inputs=(read("a", "a"),), outputs=(left("b", "b"), left("c", "c")))
    two = run(2, inputs=(read("b", "b"), read("again", "a")), outputs=())
    failed = run(3, status="failed", outputs=(left("b", "b"),))
    look = asked(one, two, failed)
    things = [oid("a"), oid("b"), oid("nothing")]
    assert look.makers(things) == {oid("b"): [(name(one), "b")]}
    users = {content: set(ends) for content, ends in look.users(things).items()}
    assert users == {oid("a"): {(name(one), "a"), (name(two), "again")}, oid("b"): {(name(two), "b")}}


def test_makers_are_runs_that_kept_their_outputs_oldest_first(asked):
    model, tiles = oid("model"), oid("tiles", "manifest")
    made = [
        run(1, outputs=(Output(path="a.pt", oid=model, size_bytes=1),)),
        run(2, outputs=(Output(path="b.pt", oid=model, size_bytes=1),), status="cached"),
        run(3, outputs=(Output(path="c.pt", oid=model, size_bytes=1),), status="failed"),
        run(4, outputs=(), inputs=(Input(path="in.pt", oid=model, size_bytes=1),), status="tainted"),
    ]
    queries = asked(*made)
    assert queries.makers([model, oid("nothing")]) == {model: [(name(made[0]), "a.pt"), (name(made[1]), "b.pt")]}
    assert queries.users([model]) == {model: [(name(made[3]), "in.pt")]}
    assert len(queries.users([tiles])[tiles]) == 3
    assert queries.users([Oid("blake3:" + tiles[-64:])]) == {}  # another kind is another object


def test_runs_are_what_their_records_say(asked, monkeypatch):
    monkeypatch.setattr(index_module, "_NUMBERS_AT_ONCE", 3)
    monkeypatch.setattr(index_module, "_DIGESTS_AT_ONCE", 2)
    inside = {"inside": "data/ready", "inside_oid": FOLDER}
    inputs = (read("data/ready/a", "a", **inside), read("data/ready/b", "b", **inside), read("caf\udce9", "c"))
    made = [run(number, inputs=inputs, stage=f"stage{number}") for number in range(8)]
    look = asked(*made)
    names = [*map(name, made), oid("nobody", "run")]
    assert {oid: ran._replace(inputs=()) for oid, ran in look.runs(names, inputs=True).items()} == look.runs(
        names, inputs=False
    )
    for one, ran in zip(made, look.runs(names, inputs=True).values(), strict=True):
        wanted = run_io(one)
        assert ran._replace(inputs=()) == wanted._replace(inputs=())
        assert sorted(ran.inputs) == sorted(wanted.inputs)
        assert {thing.path: thing.inside for thing in ran.inputs}["data/ready/a"] == ("data/ready", FOLDER)


def test_parts_and_what_lies_below_a_folder(asked):
    within = {"inside": "data/ready", "inside_oid": FOLDER}
    one = run(1, inputs=(read("data/ready/a", "a", **within), read("data/ready.csv", "x")), outputs=())
    two = run(
        2, inputs=(read("data/ready/a", "a2"), read("data/ready/b\udce9", "b")), outputs=(left("data/ready/m", "m"),)
    )
    look = asked(one, two)
    assert look.parts(Artefact(FOLDER, "data/ready")) == [Artefact(oid("a"), "data/ready/a", 1000)]
    below = {(thing.path, thing.oid) for thing in look.below("data/ready", outputs=False)}
    assert below == {("data/ready/a", oid("a")), ("data/ready/a", oid("a2")), ("data/ready/b\udce9", oid("b"))}
    assert [thing.path for thing in look.below("data/ready", outputs=True)] == ["data/ready/m"]
    assert look.below("data/read", outputs=False) == []


def test_directories_are_those_that_were_made_or_held_something(asked):
    made, code = oid("made", "manifest"), oid("code", "manifest")
    one = run(
        1,
        inputs=(Input(path="src", oid=code, size_bytes=9), read("d/a", "a", inside="d", inside_oid=FOLDER)),
        outputs=(Output(path="out", oid=made, size_bytes=500, files=3), left("f", "f")),
    )
    look = asked(one)
    assert set(look.directories()) == {Artefact(made, "out", 500, 3), Artefact(FOLDER, "d", 0, 0)}
    assert look.amount(made) == (500, 3)
    assert look.amount(FOLDER) is None


def test_commits_as_notes_have_them(asked):
    one, two = run(1), run(2)
    content = oid("data", "manifest")
    said = {"subject": "More gulls", "author": "Ada", "written": "2026-11-22T14:02:00.000Z"}
    look = asked(
        one,
        two,
        note(one, "commit", "a" * 40, minute=2, **said),
        note(one, "commit", "b" * 40, minute=1),
        note(one, "source", "c" * 40, minute=3, content=content, subject="First", written="2026-11-21T14:02:00.000Z"),
        note(two, "source", "d" * 40, minute=1, content=content, subject="Later", written="2026-11-22T14:02:00.000Z"),
    )
    assert look.source(content) == "c" * 40
    assert look.source(oid("other")) is None
    assert look.noted_commits(["a" * 40, "b" * 40, "e" * 40]) == {
        "a" * 40: ("More gulls", "Ada", "2026-11-22T14:02:00Z")
    }


def test_walks_over_the_index_are_those_over_the_records(asked):
    draw = random.Random(0)
    words = [f"w{i}" for i in range(30)]
    made = [
        run(
            number,
            stage=draw.choice("abc"),
            inputs=tuple(read(f"p{word}", word) for word in sorted(draw.sample(words[: number + 1], 1))),
            outputs=tuple(left(f"p{word}", word) for word in sorted(draw.sample(words[number + 1 :], 2))),
        )
        for number in range(25)
    ]
    look = asked(*made)
    records = {name(one): run_io(one) for one in made}
    for word in words:
        start = Artefact(oid(word), f"p{word}", 1000)
        for graph in (walk(look, [start], "up"), walk(look, [start], "down")):
            for run_oid, ran in graph.runs.items():
                assert sorted(ran.outputs) == sorted(records[run_oid].outputs)
        below, met = {word}, set()
        while below:  # the plain way
            met |= below
            users = [one for one in made if {item.oid for item in one.inputs} & {oid(each) for each in below}]
            below = {each for each in words for one in users for item in one.outputs if item.oid == oid(each)} - met
        assert {thing.oid for thing in walk(look, [start], "down").artefacts.values()} == {oid(each) for each in met}


def test_makers_are_ordered_by_what_is_preferred_then_time(asked):
    made = [run(number, outputs=(left("m", "m"),), key="0" * 64) for number in range(3)]
    look = asked(*made)
    thing = Artefact(oid("m"), "m", 1000)
    assert [found for found, _ in makers_of([thing], look)[thing.key]] == [name(one) for one in reversed(made)]
    look.rank = lambda run: run != name(made[0])
    first = makers_of([thing], look)[thing.key]
    assert first[0][0] == name(made[0])
