"""The worked examples in docs/reference/formats/ are what the code writes and reads.

A page shows bytes in a block marked `hex NAME` (hex digits, `#` begins a remark) or `text NAME`. Each test reads one, parses it with
the code, compares what it says, and writes the same again: so neither a page nor a format can change without the other.
"""

import dataclasses
import re
import sys
from array import array
from pathlib import Path

import pytest

from dvlite.errors import FormatError
from dvlite.formats import (
    checks,
    condemned,
    config,
    lockfile,
    manifest,
    model_tag,
    parameters,
    pipeline,
    pointer,
    recipe,
    record,
    reference,
    root,
    series,
    served,
    snapshot,
    store_config,
    task,
    tombstone,
)
from dvlite.formats.lockfile import Facts
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, SYMLINK, Entry
from dvlite.formats.snapshot import Version
from dvlite.oid import digest_bytes, digest_manifest, format_oid
from dvlite.store import batch, check_round, index, pack
from dvlite.store.check_round import CheckRound
from dvlite.store.pack import CHUNKS, FILES, KIND_CHUNK, KIND_FILE, RAW, PackWriter, Record
from dvlite.workspace import sparse, statindex
from dvlite.workspace.scan import Scan

PAGES = Path(__file__).parent.parent / "docs" / "reference" / "formats"
WITHOUT_EXAMPLE = {"README.md", "promise.md", "remote.md"}  # overviews, and a layout of what other pages show
BLOCK = re.compile(r"^```(hex|text|yaml) ([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

CLONE = "404142434445464748494a4b4c4d4e4f"
TARGET, SCRIPT, SONG = b"wren.txt", b"#!/bin/sh\n", b"wren\n"
DIRECTORY = [
    Entry(b"empty", EMPTY_DIR, 0, manifest.NO_DIGEST),
    Entry(b"link", SYMLINK, len(TARGET), digest_bytes(TARGET)),
    Entry(b"run.sh", FILE | EXECUTABLE, len(SCRIPT), digest_bytes(SCRIPT)),
    Entry(b"wren.txt", FILE, len(SONG), digest_bytes(SONG)),
]


def examples() -> dict[str, tuple[str, bytes]]:
    """Returns the page and the bytes of every named block."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        for kind, name, body in BLOCK.findall(page.read_text(encoding="utf-8")):
            assert name not in found, f"{name} is shown twice"
            lines = [line.partition("#")[0] for line in body.splitlines()]
            found[name] = (page.name, bytes.fromhex("".join(lines)) if kind == "hex" else body.encode())
    return found


EXAMPLES = examples()


def shown(name: str) -> bytes:
    return EXAMPLES[name][1]


def page_of(name: str) -> str:
    return (PAGES / EXAMPLES[name][0]).read_text(encoding="utf-8")


def files_pack() -> pack.Pack:
    """Returns the pack of the examples; the sixteen random bytes are counted up."""
    writer = PackWriter(FILES, bytes(range(16)))
    for raw in (TARGET, SCRIPT, SONG):
        writer.add(KIND_FILE, digest_bytes(raw), raw)
    return writer.finish()


def chunks_pack() -> pack.Pack:
    writer = PackWriter(CHUNKS, bytes(range(32, 48)))
    for raw in (b"a" * 300, b"b" * 500):
        writer.add_stored(Record(KIND_CHUNK, RAW, 0, len(raw), len(raw), digest_bytes(raw)), raw)
    return writer.finish()


def test_every_format_page_has_a_worked_example():
    with_example = {page for page, _ in EXAMPLES.values()}
    assert {page.name for page in PAGES.glob("*.md")} - WITHOUT_EXAMPLE == with_example


def test_every_example_is_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    assert not [name for name in EXAMPLES if f'shown("{name}")' not in source]


def test_a_pointer_to_a_directory():
    tree = manifest.build(manifest.from_entries(DIRECTORY))
    found = pointer.parse(shown("pointer-directory"), "x")
    assert found == pointer.Pointer("directory", tree.root, tree.size_bytes, tree.files)
    assert pointer.dump(found) == shown("pointer-directory")


def test_a_pointer_to_a_file():
    found = pointer.parse(shown("pointer-file"), "x")
    assert (found.digest, found.size_bytes, found.executable) == (digest_bytes(SCRIPT), len(SCRIPT), True)
    assert found.meta == "meta:\n  source: https://example.com/run.sh\n"
    assert pointer.dump(found) == shown("pointer-file")


def test_a_pointer_to_an_imported_file():
    found = pointer.parse(shown("pointer-source"), "x")
    assert (found.source.path, found.source.oid) == ("models/wren.pt", found.oid)
    assert pointer.dump(found) == shown("pointer-source")


def test_a_lockfile():
    tree = manifest.build(manifest.from_entries(DIRECTORY))
    song = format_oid("blake3", digest_bytes(SONG))
    found = lockfile.parse(shown("lockfile"), "x")
    (stage,) = found.stages
    assert (stage.name, stage.line, stage.facts.cmd) == ("sing", 4, "python sing.py | tee log.txt")
    assert stage.deps == (lockfile.Locked("../wren.txt", song, len(SONG)),)
    assert stage.facts.params == {"params.yaml:loudness": 0.5}
    kept, made = stage.outs
    assert kept == lockfile.Locked("log.txt", song, len(SONG), cache=False)
    assert made.pointer() == pointer.Pointer("directory", tree.root, tree.size_bytes, tree.files)
    assert lockfile.dump(found) == shown("lockfile")


def test_a_leaf_of_a_manifest():
    data = shown("manifest-leaf")
    leaf = manifest.decode(data, digest_manifest(data))
    assert [leaf[i] for i in range(len(leaf))] == DIRECTORY
    assert manifest.encode_leaf(leaf, 0, len(leaf)) == data
    assert format_oid("manifest", digest_manifest(data)) in page_of("manifest-leaf")


def test_a_branch_of_a_manifest():
    names = [f"{i:04d}.jpg".encode() for i in range(1000)]
    entries = manifest.from_entries([Entry(name, FILE, 1000, digest_bytes(name)) for name in names])
    data = shown("manifest-branch")
    branch = manifest.decode(data, digest_manifest(data))
    assert branch.last_paths == [b"0771.jpg", b"0999.jpg"]
    assert manifest.encode_branch(branch) == data
    assert manifest.build(entries).nodes[-1] == (digest_manifest(data), data)
    assert format_oid("manifest", digest_manifest(data)) in page_of("manifest-branch")


def test_a_recipe():
    whole = b"a" * 300 + b"b" * 1500
    found = recipe.parse(shown("recipe"), digest_bytes(whole))
    name = chunks_pack().name
    assert found.size_bytes == len(whole)
    assert found.terms == (recipe.Term(name, 0, 2, 1, 800), recipe.Term(name, 1, 1, 2, 1000))
    assert recipe.dump(found) == shown("recipe")


def test_a_recipe_with_stretches():
    whole, name = b"a" * 300 + b"b" * 400, chunks_pack().name
    found = recipe.parse(shown("recipe-stretches"), digest_bytes(whole))
    assert found.terms == (recipe.Term(name, 0, 1, 1, 300), recipe.Term(name, 1, 1, 1, 400, 100))
    assert recipe.dump(found) == shown("recipe-stretches")


def test_a_recipe_in_parts():
    data, name = shown("recipe-part"), chunks_pack().name
    part, again = recipe.dump_part([recipe.Term(name, 0, 1, 65_536, 65_536 * 300)])
    assert again == data
    assert part.digest.hex() in page_of("recipe-part")
    file = digest_bytes(b"a" * 2 * part.length_bytes)
    found = recipe.parse(shown("recipe-parts"), file)
    assert found == recipe.Recipe(file, 2 * part.length_bytes, parts=(part, part))
    assert recipe.dump(found) == shown("recipe-parts")
    assert recipe.parse_part(data, part, file)[0].repeat == 65_536


def test_a_pack():
    data, name = shown("pack"), digest_bytes(shown("pack"))
    assert name.hex() in page_of("pack")
    records = pack.open_whole(data, name)
    stored = [data[record.offset : record.offset + record.stored_length] for record in records]
    assert [pack.unpack(record, raw) for record, raw in zip(records, stored, strict=True)] == [TARGET, SCRIPT, SONG]
    assert pack.scan(data, name) == records  # what the table says is what the records say
    assert bytes(files_pack().data) == data


def test_the_lengths_in_the_page_of_packs():
    assert (pack.HEADER_BYTES, pack.RECORD_BYTES, pack.ROW_BYTES, pack.TRAILER_BYTES) == (32, 48, 48, 32)


def test_an_index():
    data = shown("index")
    assert digest_bytes(data).hex() in page_of("index")
    found = list(index.Index(data, "x"))
    assert sorted(found) == sorted(index.rows_of(files_pack()))
    made = files_pack()
    entries = {made.name: index.PackEntry(FILES, len(made.data))}
    assert index.Index(data, "x").packs == entries
    assert index.encode(found, bytes(range(16, 32)), entries) == data


def test_a_task_and_its_result():
    found = task.parse(shown("task"), "x")
    assert task.checked(found) == shown("task")
    result = task.parse_result(shown("task-result"), "x")
    assert task.dump_result(result) == shown("task-result")
    assert found.id == result.task
    assert f"`{found.id}`" in page_of("task")
    assert task.result_name(found.id, shown("task-result")) in page_of("task")
    assert found.units[0].inputs[0].oid == format_oid("blake3", digest_bytes(SONG))


def test_a_root():
    names = re.findall(r"roots/[0-9a-f]{64}-[0-9a-f]{32}-[0-9a-f]{32}", page_of("root"))
    found = root.parse(shown("root"), names[0])
    assert root.dump(found, names[0]) == shown("root")
    tree = the_snapshot()
    assert names == [root.name(tree.root, found.clone, bytes(range(48, 64)))]
    assert found.count == tree.files


def the_snapshot():
    birds = manifest.build(manifest.from_entries(DIRECTORY))
    return snapshot.build(
        [
            Version("data/birds", "manifest", birds.root, birds.size_bytes),
            Version("run.sh", "blake3", digest_bytes(SCRIPT), len(SCRIPT), executable=True),
        ]
    )


def test_a_reference():
    items = reference.parse(shown("reference"), "x")
    assert [(item.name, item.stamp.rpartition(" ")[2]) for item in items] == [
        ("gull/1.jpg", "48213"),
        ("wren.jpg", "52011"),
    ]
    assert items[1].stamp.startswith("3sL4kqtJlcpXroDTDmJ ")
    assert reference.dump(items) == shown("reference")
    assert reference.digest_text(reference.stamps_of(items)).startswith("2 ")
    for line in (
        b"{}",
        b"[]",
        b'{"path": 1}',
        b'{"path": "x", "size": true}',
        b'{"path": "x", "etag": 1}',
        b"\xff",
        b"[" * 9999,
    ):
        with pytest.raises(FormatError, match="line 2"):
            reference.parse(b'{"path": "x"}\n' + line, "x")


def test_a_snapshot():
    tree = the_snapshot()
    assert tree.nodes == ((tree.root, shown("snapshot")),)
    assert tree.root.hex() in page_of("snapshot")


def test_a_tombstone():
    found = tombstone.parse(shown("tombstone"), "x")
    assert tombstone.dump(found) == shown("tombstone")
    assert f"purged/{tombstone.name_of(shown('tombstone'))}" in page_of("tombstone")


def test_a_condemned_list():
    found = condemned.parse(shown("condemned"), "x")
    assert found == [files_pack().name]
    assert condemned.dump(found, bytes(range(64, 80))) == shown("condemned")
    assert digest_bytes(shown("condemned")).hex() in page_of("condemned")


def test_the_config_of_a_store():
    assert store_config.parse(shown("store-config"), "x") == store_config.DEFAULT
    assert store_config.dump(store_config.DEFAULT) == shown("store-config")


def test_a_complete_note():
    data = shown("complete-note")
    place = f"{CLONE}/00112233445566778899aabbccddeeff/complete/blake3-{digest_bytes(SONG).hex()}\n"
    assert data[:32] == digest_bytes(place.encode() + data[32:])
    packs = sorted((made.name, len(made.data)) for made in (chunks_pack(), files_pack()))
    assert data[32:] == b"".join(name + size.to_bytes(8, "big") for name, size in packs)


@pytest.mark.skipif(sys.byteorder != "little", reason="a stat index has the byte order of its machine")
def test_a_stat_index(tmp_path):
    page = tmp_path / "shown"
    page.write_bytes(shown("stat-index"))
    head = statindex.open_index(page)
    assert head is not None
    rows = head.load()
    assert rows is not None
    assert (head.root, head.rows, head.racy_rows) == (digest_bytes(SONG), 1, 0)
    times = (array("q", [1763820000000000001]), array("q", [1763820000000000002]))
    scan = Scan([b""], bytearray([FILE]), array("q", [len(SONG)]), *times, array("Q", [4711]))
    assert dataclasses.replace(rows.scan, paths=list(rows.scan.paths)) == scan
    assert head.vouches_for(scan)
    statindex.write(tmp_path / "written", head.root, rows.scan, rows.digests, rows.racy)
    assert (tmp_path / "written").read_bytes() == shown("stat-index")


def test_sparse_patterns(tmp_path):
    (tmp_path / "sparse.json").write_bytes(shown("sparse"))
    found = sparse.load(tmp_path)
    assert found == {"data/images": ("**/000.jpg", "gull", "wren")}
    chooses = sparse.selector(found["data/images"])
    paths = [b"gull/005.jpg", b"heron/000.jpg", b"heron/001.jpg", b"wren/new/1.jpg", b"gulls/1.jpg"]
    assert [chooses(path) for path in paths] == [True, True, False, True, False]
    sparse.store(tmp_path / "written", found)
    assert (tmp_path / "written" / "sparse.json").read_bytes() == shown("sparse")


def test_a_config_file():
    settings = config.merge([config.parse(shown("config"), "config.yaml", config.COMMITTED)])
    assert settings.project == "00112233445566778899aabbccddeeff"
    assert (settings.default_remote, settings.remote_names) == ("origin", ("lab", "origin"))
    lab = settings.remote("lab")
    assert lab is not None
    assert lab.options["endpoint_url"].value == "https://minio.example.com"
    kept = config.edit(shown("config"), "core.remote", "lab", "config.yaml")
    assert kept == shown("config").replace(b"remote: origin", b"remote: lab")  # the comment and the other lines stay


def test_a_pipeline_file():
    parsed = pipeline.parse(shown("pipeline"), "dvlite.yaml")
    prepare, train = parsed.stages
    assert [(plot.line, plot.template, plot.title) for plot in parsed.loose.plots] == [
        (3, "line", ""),
        (4, "roc", "ROC"),
        (5, "line", "loss"),
    ]
    assert (prepare.name, prepare.line, train.cmd_line) == ("prepare", 10, 12)
    assert [param.keys for param in train.params] == [("lr",), ("net.depth",), ("seed",), ()]
    assert [(out.path, out.cache, out.persist, out.push) for out in train.outs if not out.metric] == [
        ("model.pt", True, False, True),
        ("report", False, False, True),
        ("state", True, True, True),
        ("tmp.bin", True, False, False),
    ]
    assert train.outs[-1].better == {"accuracy": "higher", "loss": "lower"}
    assert [item.kind for item in train.capture] == ["package", "env", "command"]
    assert [(one.name, one.check.on) for one in parsed.checks] == [
        ("tiles", {"push": "block", "ci": "warn"}),
        ("images", dict.fromkeys(("push", "merge", "ci"), "block")),
    ]
    assert train.env == {"OMP_NUM_THREADS": "1"}
    page = page_of("pipeline")
    assert not [
        key for key in (*pipeline.STAGE_KEYS, *pipeline.METRIC_KEYS, *checks.CHECK_KEYS) if f"| `{key}` |" not in page
    ]


def test_a_file_of_parameters():
    data = shown("parameters")
    found = parameters.flatten(parameters.load(data, "params.yaml"))
    assert found == {"lr": 0.01, "net.depth": 18, "net.sizes": [64, 128], "a.b.c": 0.001}
    assert all(f"`{key}`" in page_of("parameters") for key in found)
    changed = parameters.changed(data, "params.yaml", "lr", parameters.value_of("0.003"))
    assert changed == data.replace(b"0.01", b"0.003")
    assert f"`{changed.splitlines()[0].decode()}`" in page_of("parameters")


def test_a_file_of_series():
    found = series.parse(shown("series"), "m.jsonl").series
    assert {name: (list(one.steps), list(one.values)) for name, one in found.items()} == {
        "loss": ([1, 2, 3], [0.9, 0.7, 0.6]),
        "val.acc": ([1, 3], [0.5, 0.75]),
    }


def test_a_run_record():
    found = record.parse(shown("run-record"), "x")
    assert isinstance(found, record.Run)
    assert record.dump(found) == shown("run-record")
    assert f"`{record.name(shown('run-record'))}`" in page_of("run-record")
    keys = {field.name for kind in (record.Run, Facts, record.Note) for field in dataclasses.fields(kind)} - {"facts"}
    assert not [key for key in keys if f"`{key}`" not in page_of("run-record")]


def test_a_note():
    found = record.parse(shown("note-record"), "x")
    assert (found.op, found.value, found.time) == ("tag", "best", "2026-11-22T14:20:00.000Z")
    assert record.dump(found) == shown("note-record")
    assert f"`{record.name(shown('note-record'))}`" in page_of("note-record")


def test_the_result_of_a_check():
    found = record.parse(shown("check-record"), "x")
    assert isinstance(found, record.CheckRecord)
    assert record.dump(found) == shown("check-record")
    assert f"`{record.name(shown('check-record'))}`" in page_of("check-record")
    keys = {field.name for field in dataclasses.fields(record.CheckRecord)}
    assert not [key for key in keys if f"`{key}`" not in page_of("check-record")]


def test_a_run_batch():
    assert [line.data for line in batch.decode(shown("run-batch"), "x")] == [shown("note-record")]
    assert f"`{batch.name_of(shown('run-batch'))}`" in page_of("run-batch")
    (made,) = batch.encode([shown("note-record")], iter([bytes(range(16))]))
    assert [line.data for line in batch.decode(made.data, "x")] == [shown("note-record")]  # zstd may find shorter bytes


def test_check_round():
    name = files_pack().name
    current = CheckRound(1764385200, 1764298800, {name})
    assert check_round.dump(current) == shown("check-round")


def test_a_served_model():
    model = served.parse(shown("served"), "it")
    assert (model.model, model.version, model.registered, model.at) == ("birds", 7, "birds", "model.onnx")
    assert model.files == (served.ServedFile(path="model.onnx", size=26, sha256="22" * 32),)
    assert [(item.path, item.digest) for item in model.inputs] == [("data/images", "manifest:" + "55" * 32)]
    assert served.dump(model) == shown("served")


def test_the_entry_of_a_model():
    name = model_tag.parse_name("birds@v2")
    entry, said = model_tag.parse(b"tagger x <x@example.com> 0 +0000\n\n" + shown("model-tag"), name)
    assert (entry.path, entry.order, said) == ("models/birds.pt", 3, "")
    assert model_tag.dump(entry, said).encode() == shown("model-tag")
