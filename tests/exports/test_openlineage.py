"""Events of OpenLineage: what a run becomes, what a second export leaves as it is, and what OpenLineage's own classes say."""

import importlib
import json
import pkgutil
import types
import typing
from dataclasses import replace

import pytest

from dvlite.errors import UsageError
from dvlite.exports.exported_run import ExportedRun
from dvlite.exports.openlineage import EventFile, EventFolder, dump, events_of
from dvlite.formats import record
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Imported, ImportedArtifact
from tests.runs import synthetic

COMMIT = "c" * 40


def exported(number=1, **fields):
    fields = {"code": Code(repo="git@example.com:acme/birds", commit=COMMIT), "dvlite": "0.1.0", **fields}
    run = synthetic.run("train", "data/images/ src/train.py", "model.pt", number=number, **fields)
    return ExportedRun(run, record.name(record.dump(run)), f"train-{number}")


def written(path, *runs):
    target = EventFile(path, path.name)
    added = [target.add(run, {}) for run in runs]
    target.close()
    return added


def test_a_run_is_a_start_and_an_end_with_data_by_version_and_code_by_commit():
    facts = {"params": {"p.yaml:lr": 0.1, "p.yaml:layers": [1, 2]}, "metrics": {"m.json:acc": 0.9}}
    start, end = events_of(exported(**facts), {"p.yaml:seed": 1})
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["eventTime"] < end["eventTime"]
    assert start["run"]["runId"] == end["run"]["runId"]
    (data, _), (model,) = end["inputs"], end["outputs"]
    assert (data["namespace"], data["name"]) == ("ssh://git@example.com/acme/birds", "data/images")
    assert data["facets"]["version"]["datasetVersion"] == synthetic.folder("data/images/")
    assert model["outputFacets"]["outputStatistics"]["size"] == 1000
    assert start["outputs"] == []
    code = end["job"]["facets"]["sourceCodeLocation"]
    assert (code["version"], code["path"]) == (COMMIT, "dvlite.yaml")
    assert end["run"]["facets"]["parent"]["job"]["name"] == "repro"
    values = {one["key"]: one["value"] for one in end["run"]["facets"]["executionParameters"]["parameters"]}
    assert values == {"p.yaml:lr": "0.1", "p.yaml:layers": "[1, 2]", "p.yaml:seed": "1"}
    assert end["run"]["facets"]["dvlite_run"]["metrics"] == {"m.json:acc": 0.9}


@pytest.mark.parametrize(
    ("fields", "kind", "message", "outputs"),
    [
        ({"status": "failed", "exit_code": 3}, "FAIL", "exit code 3", 0),
        ({"status": "tainted", "taint": ("src/train.py",)}, "FAIL", "changed while it ran: src/train.py", 1),
        ({"status": "canceled", "signal": 2}, "ABORT", "signal 2", 0),
        ({"status": "cached", "of": synthetic.oid("x", "run")}, "COMPLETE", None, 1),
        ({"status": "asserted"}, "COMPLETE", None, 1),
    ],
)
def test_how_a_run_ended_is_in_its_last_event(fields, kind, message, outputs):
    _, end = events_of(exported(**fields), {})
    assert (end["eventType"], len(end["outputs"])) == (kind, outputs)
    assert end["run"]["facets"].get("errorMessage", {}).get("message") == message
    assert end["run"]["facets"]["dvlite_run"]["status"] == fields["status"]


def imported():
    artifacts = (
        ImportedArtifact(path="data", url="s3://acme/raw/a.csv", role="input"),
        ImportedArtifact(path="model", url="file:///models/m.pt", digest="md5:0"),
        ImportedArtifact(path="log.txt"),
    )
    run = replace(exported().run, inputs=(), outputs=(), key="", file="mlmd", end="", status="canceled")
    run = replace(run, imported=Imported(id="7", artifacts=artifacts), code=Code())
    return ExportedRun(run, synthetic.oid("imported", "run"), "train-7")


def test_an_imported_run_that_had_not_ended_only_began_and_names_data_by_its_place():
    (start,) = events_of(imported(), {})
    assert [(one["namespace"], one["name"]) for one in start["inputs"]] == [("s3://acme", "raw/a.csv")]
    assert start["job"]["namespace"] == f"dvlite://{synthetic.PROJECT}"


def test_a_second_export_adds_what_is_new_and_mends_a_line_that_was_cut_off(tmp_path):
    one, two, path = exported(1), exported(2), tmp_path / "e.ndjson"
    assert written(path, one) == [2]
    assert path.stat().st_mode & 0o111 == 0
    assert written(path, one, two) == [0, 2]
    whole = path.read_bytes()
    for cut in (1, 2, 40, len(whole.splitlines(keepends=True)[-1]) - 1):
        path.write_bytes(whole[:-cut])
        written(path, one, two)
        assert path.read_bytes() == whole
    other = b'{"eventTime": "2026-01-01T00:00:00Z", "dataset": {}}'
    path.write_bytes(other)
    assert written(path, one) == [2]
    assert path.read_bytes().splitlines()[0] == other
    folder = EventFolder(tmp_path / "events")
    assert [folder.add(run, {}) for run in (one, one, two)] == [2, 0, 2]
    assert b"".join(file.read_bytes() for file in sorted((tmp_path / "events").iterdir())) == whole


@pytest.mark.parametrize("text", [b"notes", b"notes\n", b"[1]\n", b"{}\n", b'{"eventTime": 1}\n', b"[" * 100_000])
def test_a_file_of_something_else_stays_as_it_is(tmp_path, text):
    (tmp_path / "notes").write_bytes(text)
    with pytest.raises(UsageError, match="line 1 of 'notes'"):
        written(tmp_path / "notes", exported())
    assert (tmp_path / "notes").read_bytes() == text


def test_names_that_are_no_text_are_legal_json():
    run = replace(exported().run, facts=Facts(cmd="echo '\udcff\"\n'"))
    (line, _) = dump(events_of(ExportedRun(run, synthetic.oid("x", "run"), "x"), {})).splitlines()
    assert json.loads(line)["job"]["facets"]["sourceCode"]["sourceCode"] == "echo '?\"\n'"


class Judge:
    """Builds OpenLineage's own classes, made of its schemas, out of events: unknown, missing and ill-typed fields fail."""

    def __init__(self):
        generated = importlib.import_module("openlineage.client.generated")
        self.classes = {}
        for found in pkgutil.iter_modules(generated.__path__):
            module = importlib.import_module(f"{generated.__name__}.{found.name}")
            self.classes |= {name: value for name, value in vars(module).items() if isinstance(value, type)}
        self.event = self.classes["RunEvent"]

    def facet(self, value, base):
        name = value["_schemaURL"].rpartition("/")[2]
        cls = self.classes.get(name, base)
        assert issubclass(cls, base), name
        if name in self.classes:
            assert value["_schemaURL"] == cls._get_schema()
            return self.build(value, cls)
        assert value["_schemaURL"].startswith("urn:dvlite:")
        return self.build({key: value[key] for key in ("_producer", "_schemaURL")}, base)

    def build(self, value, hint):
        origin = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            return next(self.build(value, one) for one in typing.get_args(hint) if one is not type(None))
        if origin is list:
            return [self.build(one, typing.get_args(hint)[0]) for one in value]
        if origin is dict:
            return {key: self.facet(one, typing.get_args(hint)[1]) for key, one in value.items()}
        if not hasattr(hint, "__attrs_attrs__"):
            assert hint is typing.Any or (hint.__name__ == "EventType" and hint(value)) or isinstance(value, hint), (
                value
            )
            return hint(value) if hint.__name__ == "EventType" else value
        hints = typing.get_type_hints(hint)
        fields = {key: self.build(one, hints[key]) for key, one in value.items() if "schemaURL" not in key}
        return hint(**{key.lstrip("_"): one for key, one in fields.items()})


@pytest.mark.long
def test_the_classes_of_openlineage_take_every_event():
    pytest.importorskip("openlineage.client", reason="openlineage-python is not installed")
    judge = Judge()
    params = {"p.yaml:lr": 0.1, "p.yaml:none": None}
    runs = [exported(params=params, metrics={"m.json:acc": 0.9}), exported(code=Code(), dvlite=""), imported()]
    runs += [exported(status=status, exit_code=1) for status in ("failed", "tainted", "canceled", "asserted")]
    for run in runs:
        for event in events_of(run, {"p.yaml:seed": 1}):
            judge.build(json.loads(dump([event])), judge.event)
    event = json.loads(dump([events_of(runs[0], {})[1]]))
    for damage in (
        lambda e: e["run"].update(runId="no uuid"),
        lambda e: e["run"]["facets"]["parent"]["job"].update(nme="x"),
        lambda e: e["job"]["facets"]["jobType"].pop("integration"),
        lambda e: e["outputs"][0]["outputFacets"]["outputStatistics"].update(size="big"),
        lambda e: e.update(eventType="DONE"),
    ):
        damaged = json.loads(json.dumps(event))
        damage(damaged)
        with pytest.raises((TypeError, ValueError, KeyError, AssertionError)):
            judge.build(damaged, judge.event)
