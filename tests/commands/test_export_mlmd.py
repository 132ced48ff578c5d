"""`dvlite export mlmd`: what ML-Metadata's own package answers about a thousand runs is what dvlite answers."""

import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from dvlite.formats import record
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Input, Output, Run
from dvlite.progress import NullProgress
from dvlite.runs.records import Records
from tests.runs.synthetic import folder, oid

PYTHON = shutil.which("python-with-mlmd")
START_NS = 1_760_000_000 * 10**9
real = [
    pytest.mark.servers,
    pytest.mark.skipif(
        PYTHON is None, reason="ml-metadata is not installed: make test-servers does it, for Python 3.11"
    ),
]

ASK = """
import json, sys
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
config = pb.ConnectionConfig()
config.sqlite.filename_uri, config.sqlite.connection_mode = sys.argv[1], 1
store = metadata_store.MetadataStore(config)
asked = json.load(sys.stdin)
def found(query):
    options = metadata_store.ListOptions(filter_query=query, limit=5000)
    return sorted(one.external_id for one in store.get_executions(list_options=options))
def upstream(name):
    options = pb.LineageSubgraphQueryOptions(
        starting_executions=pb.LineageSubgraphQueryOptions.StartingNodes(filter_query=f"name = '{name}'"),
        max_num_hops=40, direction=pb.LineageSubgraphQueryOptions.UPSTREAM)
    graph = store.get_lineage_subgraph(options)
    digests = {one.properties["digest"].string_value for one in store.get_artifacts_by_id([a.id for a in graph.artifacts])}
    runs = store.get_executions_by_id([one.id for one in graph.executions])
    return [sorted(one.external_id for one in runs), sorted(digests)]
def state(run):
    return pb.Execution.State.Name(store.get_executions_by_external_ids([run])[0].last_known_state)
print(json.dumps({
    "found": [found(query) for query in asked.get("found", [])],
    "upstream": [upstream(name) for name in asked.get("upstream", [])],
    "states": [state(run) for run in asked.get("states", [])],
    "counts": [len(get()) for get in (store.get_executions, store.get_artifacts, store.get_contexts)],
}))
"""

KILLED = """
import os, sys
from ml_metadata.metadata_store import metadata_store
from dvlite.cli.main import main
def export(file, fail_at):
    if (child := os.fork()) == 0:
        calls, plain = [0], metadata_store.MetadataStore._call_method
        def call(self, *args):
            calls[0] += 1
            if calls[0] == fail_at:
                os._exit(9)
            return plain(self, *args)
        metadata_store.MetadataStore._call_method = call
        sys.stdout = sys.stderr
        code = main(["-q", "export", "mlmd", file])
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
at = 1
while export(f"killed-{at}.sqlite", at):
    assert export(f"killed-{at}.sqlite", 0) == 0, at
    at += 1
print(at)
"""


KUBEFLOW = """
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
config = pb.ConnectionConfig()
config.sqlite.filename_uri, config.sqlite.connection_mode = "kfp.sqlite", 3
store = metadata_store.MetadataStore(config)
kinds = ("system.Metrics", "system.Dataset")
metrics, dataset = (store.put_artifact_type(pb.ArtifactType(name=name)) for name in kinds)
step = store.put_execution_type(pb.ExecutionType(name="system.ContainerExecution"))
pipeline = store.put_context_type(pb.ContextType(name="system.Pipeline"))
run = pb.Execution(type_id=step, last_known_state=pb.Execution.COMPLETE, name="run/1")
run.custom_properties["task_name"].string_value = "train"
run.custom_properties["pod_name"].string_value = "train-123"
run.custom_properties["inputs"].struct_value.update({"lr": 0.5, "layers": [1, 2]})
data = pb.Artifact(type_id=dataset, uri="s3://acme/data")
score = pb.Artifact(type_id=metrics)
score.custom_properties["accuracy"].double_value = 0.75
event = lambda kind, key: pb.Event(type=kind, path=pb.Event.Path(steps=[pb.Event.Path.Step(key=key)]))
pairs = [(data, event(pb.Event.INPUT, "data")), (score, event(pb.Event.OUTPUT, "scores"))]
store.put_execution(run, pairs, [pb.Context(type_id=pipeline, name="birds")])
"""


def runs_of(experiment, project, draw):
    """Yields the runs of an experiment: every tenth training failed, another was reused, tainted or asserted."""
    at, version = START_NS + experiment * 10**12, experiment // 50
    kind, original = experiment % 10, experiment - 1 if experiment % 10 == 5 else experiment
    status = {3: "failed", 5: "cached", 7: "tainted", 8: "asserted"}.get(kind, "ok")
    image = Input(
        path="data/images/a.png",
        oid=oid(f"image {version}"),
        size_bytes=5000,
        inside="data/images",
        inside_oid=folder(f"images {version}"),
    )
    tiles, model, scores = (oid(f"{what} {original}") for what in ("tiles", "model", "scores"))
    small = Input(path="src/__init__.py", oid=oid("nothing"), size_bytes=0)
    commit = hashlib.sha256(b"%d" % (experiment // 100)).hexdigest()[:40]
    lr, name = draw.choice((0.1, 0.03, 0.01, 0.003)), draw.choice(("resnet18", "vit"))

    def run(place, stage, status, inputs, outputs, **more):
        start = at + place * 10**10
        return Run(
            id=record.new_id(start, draw.randbytes(8)),
            invocation=record.new_id(at, hashlib.sha256(b"%d" % experiment).digest()),
            key=hashlib.sha256(f"{stage} {original}".encode()).hexdigest(),
            stage=stage,
            file="dvlite.yaml",
            status=status,
            code=Code(repo="git@example.com:acme/birds", commit=commit),
            inputs=(*inputs, small),
            outputs=tuple(Output(path=path, oid=name, size_bytes=5000) for path, name in outputs),
            start=record.time_text(start),
            end=record.time_text(start + 10**9),
            seconds=1.0,
            project=project,
            sweep="grid" if experiment < 40 else "",
            **more,
        )

    read = lambda path, name: Input(path=path, oid=name, size_bytes=5000)  # noqa: E731
    params = {
        "params.yaml:lr": lr,
        "params.yaml:net": name,
        "params.yaml:deep": [1, "a"],
        "params.yaml:seed": experiment,
    }
    yield run(0, "prepare", "ok", [image], [("tiles", tiles)], facts=Facts(cmd="prepare"))
    yield run(
        1, "train", status, [read("tiles", tiles)], [("model.pt", model)], facts=Facts(cmd="train", params=params)
    )
    last = "canceled" if status == "failed" else "ok"
    metrics = {"scores.json:acc": round(draw.random(), 6), "scores.json:note": 'it\'s "so"'}
    yield run(
        2, "evaluate", last, [read("model.pt", model)], [("s.json", scores)], facts=Facts(cmd=""), metrics=metrics
    )


def project_id(project):
    return re.search(r"^project: (\w+)", project.read(".dvlite/config.yaml").decode(), re.MULTILINE)[1]


def record_runs(project, experiments):
    draw, number = random.Random(experiments.start), project_id(project)
    records = [one for experiment in experiments for one in runs_of(experiment, number, draw)]
    Records(project.root / ".git" / "dvlite" / "runs", NullProgress()).add([record.dump(one) for one in records])
    return records


def exported(project, *words, code=0):
    """Runs dvlite in the environment of ML-Metadata."""
    command = [PYTHON, "-m", "dvlite", "--json", "export", "mlmd", *words]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout or done.stderr)


def answers(project, file, **asked):
    command = [PYTHON, "-c", ASK, str(project.root / file)]
    return json.loads(
        subprocess.run(command, input=json.dumps(asked), check=True, capture_output=True, text=True).stdout
    )


def rows(project, file):
    with sqlite3.connect(f"file:{project.root / file}?mode=ro", uri=True) as database:
        return list(database.iterdump())


@pytest.mark.usefixtures("project")
class TestReal:
    pytestmark = real

    def test_a_thousand_runs_answer_as_dvlite_does_and_a_second_export_adds_nothing(self, project):
        records = record_runs(project, range(334))
        names = [record.name(record.dump(one)) for one in records]
        project.dvlite("runs", "tag", names[1], "best")
        first = exported(project, "m.sqlite")
        assert (first["runs"], first["unchanged"]) == (1002, 0)
        filters = {
            ("-s", "train"): "properties.stage.string_value = 'train'",
            ("-p", "lr<0.03"): "custom_properties.`params.yaml:lr`.double_value < 0.03",
            ("-p", "net=vit", "-m", "acc>0.9"): "custom_properties.`params.yaml:net`.string_value = 'vit'"
            " AND custom_properties.`scores.json:acc`.double_value > 0.9",
            ("--status", "cached"): "last_known_state = CACHED",
            ("--status", "tainted"): "last_known_state = FAILED AND properties.status.string_value = 'tainted'",
            ("--sweep", "grid"): "contexts_a.type = 'dvlite.Sweep' AND contexts_a.name LIKE 'grid@%'",
            ("-t", "best"): "properties.tags.string_value = 'best'",
            ("--commit", records[0].code.commit): f"properties.commit.string_value = '{records[0].code.commit}'",
        }
        asked = [names[place] for place in range(2, 1002, 37 * 3)] + [names[3 * 15 + 2], names[3 * 13 + 2]]
        answer = answers(
            project,
            "m.sqlite",
            found=[*filters.values()],
            upstream=[f"{records[names.index(name)].stage}-{name[4:20]}" for name in asked],
            states=[
                names[3 * experiment + place] for experiment, place in ((0, 1), (3, 1), (3, 2), (5, 1), (7, 1), (8, 1))
            ],
        )
        for words, found in zip(filters, answer["found"], strict=True):
            wanted = sorted(row["run"] for row in project.json("runs", "-n", "5000", *words)["runs"])
            assert found == wanted, words
            assert wanted
        for name, (runs, digests) in zip(asked, answer["upstream"], strict=True):
            graph = project.json("lineage", name)["up"]
            followed = {one["run"] for one in graph["runs"]}
            alike = {one["run"] for item in graph["artefacts"] for one in item["made_by"]}
            assert runs == sorted(followed | alike)
            outputs = {item["oid"] for one in graph["runs"][:1] for item in one["outputs"]}
            assert set(digests) - outputs == {item["oid"] for item in graph["artefacts"]} - outputs
        assert answer["states"] == ["COMPLETE", "FAILED", "CANCELED", "CACHED", "FAILED", "COMPLETE"]
        contents = {item.oid for one in records for item in one.inputs}
        contents |= {item.oid for one in records if one.status not in ("failed", "canceled") for item in one.outputs}
        contents |= {item.inside_oid for one in records for item in one.inputs if item.inside_oid}
        assert answer["counts"] == [1002, len(contents), 1 + 334 + 1]
        before = rows(project, "m.sqlite")
        again = exported(project, "m.sqlite")
        assert (again["unchanged"], again["artifacts"], again["events"], again["contexts"]) == (1002, 0, 0, 0)
        assert rows(project, "m.sqlite") == before
        record_runs(project, range(334, 336))
        assert exported(project, "m.sqlite")["unchanged"] == 1002
        assert answers(project, "m.sqlite")["counts"][0] == 1008
        since = exported(project, "since.sqlite", "--since", records[900].start[:10])
        assert 0 < since["runs"] < 1008
        project.dvlite("runs", "tag", names[0], "later")
        assert exported(project, "m.sqlite")["unchanged"] == 1007
        assert answers(project, "m.sqlite", found=["properties.tags.string_value = 'later'"])["found"] == [[names[0]]]

    def test_an_export_that_was_killed_before_any_call_is_completed_by_the_next(self, project):
        record_runs(project, range(3))
        done = subprocess.run(
            [PYTHON, "-c", KILLED], cwd=project.root, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 8
        tables = (
            "Execution",
            "Artifact",
            "Context",
            "Event",
            "EventPath",
            "Association",
            "Attribution",
            "ExecutionProperty",
            "ArtifactProperty",
        )
        sizes = set()
        for file in project.root.glob("killed-*.sqlite"):
            with sqlite3.connect(file) as database:
                sizes.add(tuple(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables))
        assert len(sizes) == 1

    def test_what_its_tables_cannot_hold_is_exact_in_a_text_and_what_comes_back_is_known(
        self, project, tmp_path, invoke
    ):
        params = {"p.yaml:lr": 1e-7, "p.yaml:big": 2**60, "p.yaml:none": None, "p.yaml:text": "a\0b", "p.yaml:on": True}
        metrics = {"m.json:acc": 0.1 + 0.2, "p.yaml:lr": 3}
        (one, *_) = runs_of(0, project_id(project), random.Random(0))
        odd = replace(one, facts=Facts(cmd="é\n'", params=params), metrics=metrics, stage="a'b")
        Records(project.root / ".git" / "dvlite" / "runs", NullProgress()).add([record.dump(odd)])
        exported(project, "m.sqlite")
        with sqlite3.connect(project.root / "m.sqlite") as database:
            held = dict(
                database.execute("SELECT name, string_value FROM ExecutionProperty WHERE NOT is_custom_property")
            )
            own = {
                name: next(value for value in values if value is not None)
                for name, *values in database.execute(
                    "SELECT name, double_value, string_value, bool_value FROM ExecutionProperty WHERE is_custom_property"
                )
            }
        assert json.loads(held["params"]) == record.held(params)
        assert json.loads(held["metrics"]) == metrics
        assert own["param:p.yaml:lr"] == 0  # six decimals
        assert (own["p.yaml:lr"], own["p.yaml:on"], own["p.yaml:text"]) == (3, 1, "a\ufffdb")
        assert project.json("runs", "import", "mlmd", "m.sqlite")["exported"] == 1

    def test_runs_of_kubeflow_pipelines_come_in_with_what_they_read_and_wrote(self, project):
        subprocess.run([PYTHON, "-c", KUBEFLOW], cwd=project.root, check=True, capture_output=True)
        done = project.json("runs", "import", "mlmd", "kfp.sqlite")
        assert done["stages"] == ["train"]
        run = project.json("runs", "show", done["runs"][0])["record"]
        assert run["params"] == {"mlmd:lr": 0.5, "mlmd:layers": [1.0, 2.0]}
        assert run["metrics"] == {"mlmd:accuracy": 0.75}
        assert run["environment"]["pipeline"] == "birds"
        assert [(one["path"], one.get("role", "output"), one["url"]) for one in run["imported"]["artifacts"]] == [
            ("data", "input", "s3://acme/data"),
            ("scores", "output", ""),
        ]
        shown = project.dvlite("runs", "show", done["runs"][0]).stdout
        assert "read" in shown
        assert "s3://acme/data" in shown
        assert project.json("runs", "import", "mlmd", "kfp.sqlite")["known"] == 1

    def test_no_file_of_another_program_and_none_that_is_in_use_is_written(self, project):
        record_runs(project, range(1))
        project.write("notes.txt", "no database\n" * 100)
        with sqlite3.connect(project.root / "other.db") as database:
            database.execute("CREATE TABLE runs(id)")
        before = project.read("other.db")
        for file, words in (
            ("notes.txt", "is no database of SQLite"),
            ("other.db", "is no database of ML-Metadata"),
            ("no/m.sqlite", "is in a folder that does not exist"),
            (".", "is a folder"),
        ):
            assert words in exported(project, file, code=2)["error"]
        assert project.read("other.db") == before
        exported(project, "m.sqlite")
        database = sqlite3.connect(project.root / "m.sqlite", isolation_level=None)
        database.execute("UPDATE MLMDEnv SET schema_version = 99")
        assert "of another version" in exported(project, "m.sqlite", code=2)["error"]
        database.execute("UPDATE MLMDEnv SET schema_version = 10")
        record_runs(project, range(1, 2))
        database.execute("BEGIN EXCLUSIVE")
        assert "m.sqlite" in exported(project, "m.sqlite", code=1)["error"]
        database.close()
        assert exported(project, "m.sqlite")["unchanged"] == 3


def test_without_its_package_the_extra_is_named(project, monkeypatch):
    for name in ("ml_metadata", "ml_metadata.metadata_store"):
        monkeypatch.setitem(sys.modules, name, None)
    record_runs(project, range(1))
    done = project.dvlite("export", "mlmd", "m.sqlite", code=2)
    assert "dvlite[mlmd]" in done.stderr
    assert not os.path.exists(project.root / "m.sqlite")
    assert (
        "no run matches"
        in project.dvlite("export", "mlmd", "m.sqlite", "--since", "HEAD", "-s", "train", "-m", "acc>2", code=2).stderr
    )
