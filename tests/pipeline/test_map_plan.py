"""Plans of map stages: what runs is what has no result, whatever happened before, and no more of the listings is read than it takes."""

import itertools
import os
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dvlite.errors import FormatError, ObjectMissing, UsageError
from dvlite.formats import manifest
from dvlite.formats.lockfile import Facts, Locked
from dvlite.formats.manifest import Entry
from dvlite.formats.map_stage import facts_of
from dvlite.formats.pointer import Pointer
from dvlite.formats.record import Input, MapRun, Output, Run
from dvlite.oid import MANIFEST, digest_bytes, format_oid, parse_oid
from dvlite.pipeline import map_inputs
from dvlite.pipeline.datum_links import datums_of_run
from dvlite.pipeline.datums import Datums, listings_of_run, shape_of, shape_of_run
from dvlite.pipeline.known_data import KnownData
from dvlite.pipeline.map_plan import plan_map
from dvlite.pipeline.task_folder import LISTS
from tests.pipeline.stages_of import stages_of


class Data:
    """Directories of data by path, each a mapping of names to content; answers as the work tree does. Counts the nodes that are read."""

    def __init__(self, **folders):
        self.nodes, self.reads = {}, []
        self.known = KnownData({}, None)
        for path, files in folders.items():
            self.put(path.replace("__", "/"), files)

    def put(self, path, files):
        self.known.know(path, Pointer("directory", *self.listing(files)))

    def listing(self, files):
        entries = [entry(name, content) for name, content in files.items()]
        tree = manifest.build(manifest.from_entries(sorted(entries, key=lambda each: each.path)))
        self.nodes |= dict(tree.nodes)
        return tree.root, tree.size_bytes, tree.files

    def read(self, digest):
        self.reads.append(digest)
        if digest not in self.nodes:
            raise ObjectMissing("no such node", hint="")
        return self.nodes[digest]

    def matches(self, pattern):
        return []

    def expected(self, path):
        known = self.known.pointers[path]
        return Locked(path, known.oid, known.size_bytes, known.files)

    def leaves(self, path, version):
        return manifest.leaves(parse_oid(version.oid)[1], self.read)


def entry(name, content):
    return Entry(os.fsencode(name), manifest.FILE, len(content), digest_bytes(content.encode()))


def map_stage(over="data/**/*.jpg", outs="thumbs/${stem}.png", by="", more=""):
    over = over if isinstance(over, str) else "{" + ", ".join(f"{k}: '{v}'" for k, v in over.items()) + "}"
    over = over if over[0] == "{" else f"'{over}'"
    listed = ", ".join(f"'{out}'" for out in outs.split())
    text = f"stages:\n  s:\n    map: {{over: {over}{by and f', by: {by}'}}}\n    cmd: x ${{in}} ${{out}}\n    outs: [{listed}]\n{more}"
    return stages_of(text)[0]


def entry_of(stage, data, cmd=""):
    rows = [replace(map_inputs.row_of(data, over), path=over.path) for over in stage.over]
    return stage.entry(Facts(cmd or stage.spec.cmd, map=facts_of(stage.spec.map)), rows)


def planned(stage, data, earlier=(), cmd=""):
    return plan_map(stage, entry_of(stage, data, cmd), data, data.read, earlier)


def names(plan):
    return [unit.name for unit in plan.to_run()]


def result(out, unit):
    """Returns what a command makes at a path: it depends on the inputs, and on nothing else."""
    return entry(out, f"{unit.name} {[file.oid for file in unit.inputs]}")


def finished(stage, data, plan, fails=(), cmd=""):
    """Runs what a plan says, but for what fails, and returns the record."""
    shape, ran, outputs = shape_of(stage), 0, []
    edits = {folder: dict(kept.edits) for folder, kept in plan.kept.items()}
    for unit in plan.to_run():
        if unit.name in fails:
            continue
        ran += 1
        for out in unit.outs:
            folder = next(folder for folder in shape.folders if out.startswith(folder + "/"))
            path = os.fsencode(out[len(folder) + 1 :])
            edits[folder][path] = replace(result(out, unit), path=path)
    for folder, kept in plan.kept.items():
        root = kept.root or data.listing({})[0]
        tree = manifest.edit(root, edits[folder], data.read)
        data.nodes |= dict(tree.nodes)
        outputs.append(Output(path=folder, oid=format_oid(MANIFEST, tree.root), size_bytes=0))
    now = entry_of(stage, data, cmd)
    inputs = []
    for over, dep in zip(stage.over, now.deps, strict=True):
        place = map_inputs.within(data, over.spec)
        inside = {"inside": place.path, "inside_oid": place.version.oid} if place else {}
        inputs.append(Input(path=over.path, oid=dep.oid, size_bytes=dep.size_bytes, files=dep.files, **inside))
    mapped = MapRun(base=plan.base, datums=plan.total, ran=ran, reused=plan.reused, failed=plan.left - ran)
    status = "ok" if ran == plan.left else "failed"
    return Run(id="", invocation="", stage="s", file="dvlite.yaml", status=status, facts=now.facts, inputs=tuple(inputs), outputs=tuple(outputs), mapped=mapped)  # fmt: skip


def outputs_of(data, run):
    """Returns the outputs of a run by path, as content."""
    found = {}
    for out in run.outputs:
        for leaf in manifest.leaves(parse_oid(out.oid)[1], data.read):
            found |= {f"{out.path}/{os.fsdecode(leaf.paths[i])}": leaf.digest(i) for i in range(len(leaf))}
    return found


# --- what is a datum


def test_each_file_that_matches_is_a_datum():
    data = Data(data={"a/x.jpg": "1", "b.jpg": "2", "README": "no", "a/.h.jpg": "hidden"})
    units = list(planned(map_stage(), data).to_run())
    assert [(unit.name, unit.inputs[0].path, unit.outs) for unit in units] == [
        ("a/x.jpg", "data/a/x.jpg", ("thumbs/a/x.png",)),
        ("b.jpg", "data/b.jpg", ("thumbs/b.png",)),
    ]
    assert units[0].values == {
        "in": ("data/a/x.jpg",), "out": ("thumbs/a/x.png",),
        "name": ("a/x.jpg",), "path": ("a/x.jpg",), "stem": ("a/x",),
    }  # fmt: skip
    assert units[0].inputs[0].oid == "blake3:" + digest_bytes(b"1").hex()


def test_a_pattern_in_a_part_of_tracked_data_goes_over_that_part():
    data = Data(
        data={"train/a.jpg": "1", "train/s/b.jpg": "2", "test/c.jpg": "3", "train.jpg": "4", "train-2/d.jpg": "5"}
    )
    stage = map_stage("data/train/**/*.jpg")
    assert names(planned(stage, data)) == ["a.jpg", "s/b.jpg"]
    alone = Data(data={"a.jpg": "1", "s/b.jpg": "2"})
    assert entry_of(stage, data).deps[0].oid == format_oid(MANIFEST, alone.known.pointers["data"].digest)


def test_where_all_matches_the_row_is_the_folder_itself():
    data = Data(data={"a.jpg": "1", "s/b.jpg": "2"})
    assert entry_of(map_stage(), data).deps[0].oid == data.known.pointers["data"].oid


def test_folders_are_units_with_all_that_is_in_them():
    data = Data(data={"s1/a": "1", "s1/d/b": "2", "s1-x/c": "3", "s2/d": "4", "loose": "5"})
    kept = {}
    stage = map_stage("data/*/", "o/${name}")
    plan = plan_map(stage, entry_of(stage, data), data, data.read, keep=kept.__setitem__)
    units = list(plan.to_run())
    assert ([unit.name for unit in units], plan.total) == (["s1-x", "s1", "s2"], 3)
    (folder,) = units[1].inputs
    assert (folder.path, folder.oid, folder.files) == (
        "data/s1",
        f"manifest:{data.listing({'a': '1', 'd/b': '2'})[0].hex()}",
        2,
    )
    assert parse_oid(folder.oid)[1] in kept


def test_files_are_grouped_by_a_capture():
    data = Data(data={"p2/1.dcm": "a", "p1/2.dcm": "b", "p1/1.dcm": "c", "p1/x.txt": "d"})
    plan = planned(map_stage("data/{patient}/*.dcm", "o/${patient}", by="patient"), data)
    units = list(plan.to_run())
    assert [(unit.name, [file.path for file in unit.inputs], unit.outs) for unit in units] == [
        ("p1", ["data/p1/1.dcm", "data/p1/2.dcm"], ("o/p1",)),
        ("p2", ["data/p2/1.dcm"], ("o/p2",)),
    ]
    assert units[1].values == {
        "in": ("data/p2/1.dcm",),
        "out": ("o/p2",),
        "name": ("p2",),
        "patient": ("p2",),
        LISTS: ("in",),
    }
    assert plan.total == 2


def test_inputs_are_joined_and_what_one_lacks_is_counted():
    data = Data(images={"1.jpg": "a", "2.jpg": "b", "4.jpg": "c"}, labels={"2.txt": "d", "3.txt": "e", "1.txt": "f"})
    stage = map_stage({"image": "images/{id}.jpg", "label": "labels/{id}.txt"}, "o/${id}.json", by="id")
    plan = planned(stage, data)
    (first, second) = plan.to_run()
    assert first.values["in.image"] == ("images/1.jpg",)
    assert first.values["in"] == ("images/1.jpg", "labels/1.txt")
    assert second.outs == ("o/2.json",)
    assert [(item.pattern, item.groups, item.example) for item in plan.lacking] == [
        ("images/{id}.jpg", 1, "3"),
        ("labels/{id}.txt", 1, "4"),
    ]


def test_inputs_with_nothing_in_common_are_an_error():
    data = Data(images={"1.jpg": "a"}, labels={"one.txt": "d"})
    stage = map_stage({"image": "images/{id}.jpg", "label": "labels/{id}.txt"}, "o/${id}.json", by="id")
    with pytest.raises(FormatError, match=r"'images/\{id\}.jpg' and 'labels/\{id\}.txt' have no id in common"):
        planned(stage, data)


def test_a_pattern_over_several_tracked_folders_is_one_listing_with_nodes_of_its_own():
    data = Data(data__a={"1.jpg": "x"}, data__b={"2.jpg": "y", "no": "z"})
    plan = planned(map_stage("data/*/*.jpg"), data)
    assert names(plan) == ["a/1.jpg", "b/2.jpg"]
    data.nodes |= plan.nodes  # as a run stores them
    run = finished(map_stage("data/*/*.jpg"), data, plan)
    data.put("data/b", {"2.jpg": "new"})
    assert names(planned(map_stage("data/*/*.jpg"), data, [run])) == ["b/2.jpg"]


@pytest.mark.parametrize("name", ["a b'\"\n$x", "-rf", "\udcff", "ü"])
def test_names_may_be_anything(name):
    data = Data(data={f"{name}.jpg": "1"})
    (unit,) = planned(map_stage(), data).to_run()
    assert (unit.name, unit.outs) == (f"{name}.jpg", (f"thumbs/{name}.png",))


def test_a_path_that_a_program_could_take_for_an_option_is_none():
    stage = stages_of(
        "stages:\n  s:\n    map: {over: '*.jpg'}\n    wdir: data\n    cmd: x ${in}\n    outs: ['../o/${stem}']"
    )[0]
    (unit,) = planned(stage, Data(data={"-rf.jpg": "1"})).to_run()
    assert unit.values["in"] == ("./-rf.jpg",)
    assert unit.values["out"] == ("../o/-rf",)


# --- what is in each other's way


@pytest.mark.parametrize(
    ("files", "outs"),
    [
        ({"a.jpg": "1", "b.jpg": "2", "a.png": "3"}, "o/${stem}.x"),
        ({"d/a.jpg": "1", "e/b.jpg": "3", "f/a.jpg": "2"}, "o/${id}.x"),
        ({"a.jpg": "1", "a-b.jpg": "2", "a/c.jpg": "3"}, "o/${stem}"),
    ],
)
def test_two_datums_that_make_one_path_are_an_error_with_both_names(files, outs):
    over = "data/*/{id}.jpg" if "id" in outs else "data/**"
    with pytest.raises(FormatError, match=r"the datums '.*' and '.*' of s would both make 'o/") as raised:
        planned(map_stage(over, outs), Data(data=files))
    assert "\n" not in raised.value.message


def test_a_new_datum_that_makes_what_is_there_already_is_an_error():
    data, stage = Data(data={"a.jpg": "1", "b.jpg": "2"}), map_stage("data/**")
    run = finished(stage, data, planned(stage, data))
    data.put("data", {"a.jpg": "1", "b.jpg": "2", "a.gif": "3"})
    with pytest.raises(FormatError, match=r"'a.gif' and 'a.jpg' of s would both make 'thumbs/a.png'"):
        planned(stage, data, [run])
    data.put("data", {"a.gif": "3", "b.jpg": "2"})  # it takes the place
    assert names(planned(stage, data, [run])) == ["a.gif"]


def test_two_outputs_of_one_datum_in_one_place_are_an_error():
    with pytest.raises(FormatError, match=r"two outputs of the datum 'a.jpg' of s would both make 'o/a'"):
        planned(map_stage(outs="o/${stem} o/${stem}/x"), Data(data={"a.jpg": "1"}))


def test_an_output_that_must_not_be_written_is_refused():
    data = Data(data={".gitx.jpg": "1"})
    with pytest.raises(UsageError, match=r"cannot make 'o/\.git/config'"):
        list(planned(map_stage("data/.{a}x.jpg", "o/.${a}/config"), data).to_run())


# --- what runs


def state(data, **files):
    data.put("data", {name.replace("_", "."): content for name, content in files.items()})


def test_only_what_is_new_or_changed_runs_and_what_vanished_takes_its_outputs_along():
    data, stage = Data(data={"a.jpg": "1", "b.jpg": "2", "c.jpg": "3"}), map_stage()
    first = finished(stage, data, planned(stage, data))
    state(data, a_jpg="1", b_jpg="new", d_jpg="4")
    plan = planned(stage, data, [first])
    assert (names(plan), plan.total, plan.reused, plan.removed, plan.left) == (["b.jpg", "d.jpg"], 3, 1, 1, 2)
    second = finished(stage, data, plan)
    assert sorted(outputs_of(data, second)) == ["thumbs/a.png", "thumbs/b.png", "thumbs/d.png"]
    assert outputs_of(data, second) == outputs_of(data, finished(stage, data, planned(stage, data)))


def test_what_failed_runs_again_and_the_rest_does_not():
    data, stage = Data(data={"a.jpg": "1", "b.jpg": "2"}), map_stage()
    run = finished(stage, data, planned(stage, data), fails=["a.jpg"])
    assert run.status == "failed"
    assert names(planned(stage, data, [run])) == ["a.jpg"]


def test_data_that_goes_back_to_what_it_was_has_its_results():
    data, stage = Data(data={"a.jpg": "1", "b.jpg": "2"}), map_stage()
    first = finished(stage, data, planned(stage, data))
    state(data, a_jpg="x", b_jpg="2")
    second = finished(stage, data, planned(stage, data, [first]))
    state(data, a_jpg="1", b_jpg="2", c_jpg="3")
    plan = planned(stage, data, [second, first])
    assert names(plan) == ["c.jpg"]
    assert outputs_of(data, finished(stage, data, plan)).keys() == {"thumbs/a.png", "thumbs/b.png", "thumbs/c.png"}


def test_another_command_runs_all():
    data, stage = Data(data={"a.jpg": "1"}), map_stage()
    run = finished(stage, data, planned(stage, data))
    assert names(planned(stage, data, [run], cmd="y ${in}")) == ["a.jpg"]


def test_a_run_whose_listings_are_gone_does_not_count():
    data, stage = Data(data={f"{n}.jpg": "1" for n in range(3000)}), map_stage()
    whole = finished(stage, data, planned(stage, data))
    state(data, a_jpg="1")
    lost = {digest for digest in data.nodes if len(data.nodes[digest]) > 5000}
    for digest in lost:
        del data.nodes[digest]
    assert names(planned(stage, data, [whole])) == ["a.jpg"]


def test_a_folder_unit_runs_again_when_a_file_in_it_changes_and_goes_with_its_last():
    data, stage = Data(data={"s1/a": "1", "s1/b": "2", "s2/a": "3", "s3/a": "4"}), map_stage("data/*/", "o/${name}")
    run = finished(stage, data, planned(stage, data))
    data.put("data", {"s1/a": "1", "s2/a": "3"})
    plan = planned(stage, data, [run])
    assert (names(plan), plan.removed, plan.total) == (["s1"], 1, 2)


def test_a_join_runs_again_what_one_of_its_files_changed():
    data = Data(images={"1.jpg": "a", "2.jpg": "b", "3.jpg": "c"}, labels={"1.txt": "d", "2.txt": "e", "3.txt": "f"})
    stage = map_stage({"image": "images/{id}.jpg", "label": "labels/{id}.txt"}, "o/${id}.json", by="id")
    run = finished(stage, data, planned(stage, data))
    data.put("labels", {"1.txt": "d", "2.txt": "new"})
    plan = planned(stage, data, [run])
    assert (names(plan), plan.removed, plan.lacking[0].example) == (["2"], 1, "3")


def test_the_shape_of_a_run_is_that_of_its_stage():
    text = "stages:\n  s:\n    map: {over: '../data/{id}/*', by: id}\n    wdir: w\n    cmd: x ${in}\n    outs: ['../o/${id}']"
    stage = stages_of(text, "sub/dvlite.yaml")[0]
    run = Run(
        id="",
        invocation="",
        stage="s",
        file="sub/dvlite.yaml",
        status="ok",
        facts=Facts("x ${in}", "w", map=facts_of(stage.spec.map)),
    )
    shape = shape_of_run(run)
    assert (shape.outs, shape.wdir, shape.by) == (shape_of(stage).outs, "sub/w", ("id",))
    assert [item.pattern for item in shape.over] == ["sub/data/{id}/*"]


def test_a_record_alone_leads_from_an_input_to_its_datum_and_its_outputs():
    data, stage = Data(data={"a.jpg": "1", "b.jpg": "2"}), map_stage()
    run = finished(stage, data, planned(stage, data))
    shape = shape_of_run(run)
    datums = Datums(shape, listings_of_run(shape, run.inputs), data.read)
    assert datums.key_of(0, "a.jpg") == "a.jpg"
    assert datums.key_of(0, "a.txt") is None
    assert datums.outs("a.jpg") == ("thumbs/a.png",)
    assert [unit.name for unit in datums.units({"b.jpg"})] == ["b.jpg"]


def test_what_wrote_a_path_is_found_by_a_file_in_it_and_by_a_folder_around_it():
    data, stage = Data(data={"a.jpg": "1", "d/b.jpg": "2", "d/c.jpg": "3"}), map_stage(outs="made/${path}")
    links = datums_of_run(finished(stage, data, planned(stage, data)), data.read)
    assert links.making({"made/a.jpg"}) == links.making({"made/a.jpg/inside", "made/a.jpg/more"}) == ("a.jpg",)
    assert links.making({"made/d"}) == ("d/b.jpg", "d/c.jpg")
    assert links.making({"made/a", "made/d/b"}) == ()


def test_a_plan_reads_a_few_nodes_of_many():
    files = {f"{n % 50:02d}/{n:04d}.jpg": str(n) for n in range(8_000)}
    data, stage = Data(data=files), map_stage()
    run = finished(stage, data, planned(stage, data))
    data.put("data", {**files, "07/new.jpg": "new"})
    now = entry_of(stage, data)
    data.reads.clear()
    plan = plan_map(stage, now, data, data.read, [run])
    assert names(plan) == ["07/new.jpg"]
    assert len(data.reads) < len(data.nodes) / 2


# --- any history

NAMES = ["a.jpg", "b.jpg", "d/a.jpg", "d/b.jpg", "e/a.jpg", "no.txt"]
STATES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2"]), min_size=1).filter(
    lambda files: files.keys() - {"no.txt"}
)
SHAPES = [
    map_stage("data/**/*.jpg", "o/${path}"),
    map_stage("data/**/*.jpg", "o/${stem}.png p/${stem}/x"),
    map_stage("data/**/{id}.jpg", "o/${id}", by="id"),
]


@pytest.mark.parametrize("stage", SHAPES)
@settings(max_examples=25, deadline=None)
@example(history=[({"a.jpg": "1"}, ["a.jpg"]), ({"a.jpg": "1"}, []), ({"b.jpg": "1"}, []), ({"a.jpg": "1"}, [])])
@given(
    history=st.lists(
        st.tuples(STATES, st.lists(st.sampled_from([*NAMES, "a", "b"]), max_size=2)), min_size=1, max_size=5
    )
)
def test_outputs_are_those_of_a_run_from_nothing_and_nothing_runs_twice(stage, history):
    data, runs, done = Data(), [], set()
    for files, fails in history:
        data.put("data", files)
        plan = planned(stage, data, runs)
        units = {unit.name: unit for unit in plan.to_run()}
        assert (len(units), plan.left + plan.reused) == (plan.left, plan.total)
        assert not {(name, unit.inputs) for name, unit in units.items()} & done
        everything = {unit.name: unit for unit in planned(stage, data).to_run()}
        assert plan.total == len(everything)
        runs.insert(0, finished(stage, data, plan, fails))
        failed = {name for name in fails if name in units}
        done |= {(name, unit.inputs) for name, unit in everything.items() if name not in failed}
        wanted = {
            out: result(out, unit).digest
            for unit in everything.values()
            if unit.name not in failed
            for out in unit.outs
        }
        assert outputs_of(data, runs[0]) == wanted
        assert list(itertools.islice(plan.to_run(), 2)) == list(units.values())[:2]
