"""Walks up and down over run records."""

from dataclasses import replace

from dvlite.formats.record import Input, Output
from dvlite.lineage.walk import walk
from dvlite.runs.queries import Artefact
from tests.counting import grows_linearly
from tests.runs.synthetic import Memory, content, folder, oid, run

PIPELINE = {
    "prepare": run("prepare", "src/prepare.py data/images/@1", "data/tiles/@1", number=1),
    "train": run("train", "src/train.py data/tiles/@1", "model.pt@1 metrics.json@1", number=2),
    "evaluate": run("evaluate", "model.pt@1", "report.json@1", number=3),
    "train2": run("train", "src/train.py data/tiles/@1", "model.pt@2 metrics.json@2", number=4),
    "other": run("other", "data/sounds/@1", "other.bin@1", number=5),
}


def artefact(item):
    return content(Artefact, item)


def paths(graph):
    return [item.path for item in graph.artefacts.values()]


def stages(graph):
    return sorted(record.stage for record in graph.runs.values())


def walk_up(lookup, item, **options):
    return walk(lookup, [artefact(item)], "up", **options)


def walk_down(lookup, item, **options):
    return walk(lookup, [artefact(item)], "down", **options)


def test_up_reaches_the_sources_and_nothing_beside():
    graph = walk_up(Memory(**PIPELINE), "report.json@1")
    assert stages(graph) == ["evaluate", "prepare", "train"]
    assert set(paths(graph)) == {
        "report.json",
        "model.pt",
        "src/train.py",
        "data/tiles",
        "src/prepare.py",
        "data/images",
    }
    assert oid("model.pt@2") not in graph.artefacts
    assert artefact("data/images/@1").key not in graph.made_by


def test_down_reaches_exactly_what_was_made():
    graph = walk_down(Memory(**PIPELINE), "data/images/@1")
    assert stages(graph) == ["evaluate", "prepare", "train", "train"]
    assert {found.oid for found in graph.artefacts.values()} == {
        folder("data/images/@1"),
        folder("data/tiles/@1"),
        *map(oid, ("model.pt@1", "metrics.json@1", "report.json@1", "model.pt@2", "metrics.json@2")),
    }
    assert stages(walk_down(Memory(**PIPELINE), "data/sounds/@1")) == ["other"]
    assert walk_down(Memory(**PIPELINE), "report.json@1").runs == {}


def test_bytes_found_elsewhere_have_no_path_and_are_found():
    graph = walk(Memory(**PIPELINE), [Artefact(oid("model.pt@1"), "", 1000)], "up")
    assert graph.made_by[oid("model.pt@1")] == (oid("train", "run"),)


def test_of_several_makers_the_preferred_then_the_newest_ok_run_is_shown():
    runs = {
        "a": run("train", "d@1", "m@1", number=1),
        "b": run("train", "d@2", "m@1", number=2),
        "c": run("train", "d@3", "m@1", number=3, status="cached"),
        "d": run("train", "d@4", "m@1", number=4, status="tainted"),
    }
    names = [oid(name, "run") for name in "abcd"]
    makers = walk_up(Memory(**runs), "m@1").made_by[oid("m@1")]
    assert makers == (names[1], names[0], names[2], names[3])
    lookup = Memory(**runs)
    lookup.rank = lambda name: 0 if name == names[2] else 1
    preferred = walk_up(lookup, "m@1")
    assert preferred.made_by[oid("m@1")][0] == names[2]
    assert list(preferred.runs) == [names[2]]
    assert oid("d@3") in preferred.artefacts
    assert oid("d@2") not in preferred.artefacts


def test_runs_that_wrote_the_same_are_one_group():
    runs = {
        "a": run("train", "d@1", "m@1", number=1),
        "b": run("train", "d@1", "m@1", number=2, status="cached"),
        "c": run("train", "d@1", "m@2", number=3),
        "d": run("train", "d@1", "", number=4, status="failed"),
    }
    graph = walk_down(Memory(**runs), "d@1")
    groups = graph.used_by[oid("d@1")]
    assert [(group.run, group.others) for group in groups] == [
        (oid("a", "run"), (oid("b", "run"),)),
        (oid("c", "run"), ()),
        (oid("d", "run"), ()),
    ]


def test_few_bytes_join_only_under_the_same_path():
    stamp = Output(path="done", oid=oid("nothing"), size_bytes=0)
    package = Input(path="src/__init__.py", oid=oid("nothing"), size_bytes=0)
    waits = Input(path="done", oid=oid("nothing"), size_bytes=0)
    runs = {
        "download": replace(run("download", "list@1", number=1), outputs=(stamp,)),
        "train": replace(run("train", "", "m@1", number=2), inputs=(package,)),
        "count": replace(run("count", "", "n@1", number=3), inputs=(waits,)),
    }
    look = Memory(**runs)
    assert stages(walk_down(look, "list@1")) == ["count", "download"]
    assert stages(walk_up(look, "m@1")) == ["train"]
    assert stages(walk_up(look, "n@1")) == ["count", "download"]


def test_hostile_records_that_make_each_other_end():
    runs = {
        "a": run("a", "x@1 z@1", "y@1", number=1),
        "b": run("b", "y@1", "x@1 y@1", number=2),
        "c": run("c", "z@1", "z@1", number=3),
    }
    for item in ("x@1", "y@1", "z@1"):
        assert walk_up(Memory(**runs), item).runs
        assert walk_down(Memory(**runs), item).runs


def test_depth_cuts_and_says_how_many_runs_lie_behind():
    chain = {f"s{i}": run(f"s{i}", f"f{i}@1", f"f{i + 1}@1", number=i) for i in range(6)}
    graph = walk_up(Memory(**chain), "f6@1", depth=2)
    assert stages(graph) == ["s4", "s5"]
    assert paths(graph) == ["f6", "f5", "f4"]
    assert graph.cut == {oid("f4@1"): 4}
    graph = walk_down(Memory(**chain), "f0@1", depth=1)
    assert stages(graph) == ["s0"]
    assert paths(graph) == ["f0", "f1"]
    assert graph.cut == {oid("f1@1"): 5}
    assert walk_up(Memory(**chain), "f6@1", depth=6).cut == {}
    assert walk_down(Memory(**chain), "f0@1", depth=0).cut == {oid("f0@1"): 6}


def test_every_hidden_run_is_counted_once_and_every_cut_is_marked():
    runs = {
        "source": run("source", "raw@1", "base@1", number=1),
        "left": run("left", "base@1", "l@1", number=2),
        "right": run("right", "base@1", "r@1", number=3),
        "join": run("join", "l@1 r@1", "m@1", number=4),
    }
    graph = walk_up(Memory(**runs), "m@1", depth=2)
    assert graph.cut == {oid("base@1"): 1}
    graph = walk_up(Memory(**runs), "m@1", depth=1)
    assert sorted(graph.cut.values()) == [1, 2]
    assert set(graph.cut) == {oid("l@1"), oid("r@1")}


class WithDirectories(Memory):
    """Directory version `d/@1` holds `d/a@1` and `d/b@1`; `d/@2` holds `d/a@1` and `d/b@2`; `parts` are those that runs know."""

    def __init__(self, parts, **runs):
        super().__init__(**runs)
        self._parts = parts
        self.held = {"d/@1": ("d/a@1", "d/b@1"), "d/@2": ("d/a@1", "d/b@2")}

    def holders(self, found, *, every):
        return [artefact(name) for name, items in self.held.items() if any(artefact(item) == found for item in items)]

    def parts(self, found, *, outputs):
        names = next((items for name, items in self.held.items() if artefact(name) == found), ())
        return [artefact(item) for item in names if item in self._parts]


def test_a_file_is_found_through_its_directory_but_its_siblings_are_not():
    runs = {
        "one": run("train", "d/@1", "m@1", number=1),
        "two": run("train", "d/@2", "m@2", number=2),
        "b": run("look", "d/b@1", "b.txt@1", number=3),
        "a": run("look", "d/a@1", "a.txt@1", number=4),
    }
    lookup = WithDirectories(("d/a@1", "d/b@1"), **runs)

    def made_of(item):
        graph = walk_down(lookup, item)
        return sorted(f"{found.path}" for record in graph.runs.values() for found in record.outputs)

    assert made_of("d/a@1") == ["a.txt", "m", "m"]
    assert made_of("d/b@1") == ["b.txt", "m"]
    assert made_of("d/b@2") == ["m"]
    assert made_of("d/@1") == ["a.txt", "b.txt", "m"]  # of a directory: of the whole, and of its parts
    assert made_of("d/@2") == ["a.txt", "m"]


def test_up_goes_through_the_directory_that_a_run_made():
    runs = {"make": run("make", "raw@1", "d/@2", number=1), "use": run("use", "d/a@1", "m@1", number=2)}
    graph = walk_up(WithDirectories((), **runs), "m@1")
    assert stages(graph) == ["make", "use"]
    assert graph.held_by[oid("d/a@1")][0] == artefact("d/@2")
    assert oid("raw@1") in graph.artefacts


def test_up_goes_into_a_directory_that_runs_filled():
    runs = {"make": run("make", "raw@1", "d/a@1", number=1), "use": run("use", "d/@1", "m@1", number=2)}
    graph = walk_up(WithDirectories(("d/a@1",), **runs), "m@1")
    assert stages(graph) == ["make", "use"]
    assert graph.parts[artefact("d/@1").key] == (artefact("d/a@1"),)


def test_work_grows_with_the_runs_reached_and_no_faster():
    def chain_and_fan(count):
        runs = {f"r{i}": run("step", f"f{i}@1", f"f{i + 1}@1", number=1) for i in range(count)}
        runs |= {f"w{i}": run("wide", "f0@1", f"g{i}@1", number=1) for i in range(count)}
        return Memory(**runs), count

    def walk_both_ways(given):
        look, count = given
        assert len(walk_down(look, "f0@1").runs) == 2 * count
        assert len(walk_up(look, f"f{count}@1").runs) == count

    assert grows_linearly(walk_both_ways, chain_and_fan(200), chain_and_fan(2_000), times=10)
