"""`dvlite runs`: what was run is listed, shown, compared and tagged, as people read it and as JSON, CSV and Markdown."""

import csv
import dataclasses
import io
import os
import time

import pytest

from dvlite.formats import record
from dvlite.formats.record import Code, Input, MapFailure, MapRun, Output
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.repo.repository import open_cache, open_repo
from dvlite.runs.columns import RunColumn
from dvlite.runs.records import Records
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE
from dvlite.text.run_table import ago_text, fitting
from tests.runs import recorded
from tests.runs.recorded import MINUTE_NS, name, oid

LOG = b"epoch 1\repoch 2\n\x1b[31mred\x1b[0m \x1b]0;title\x07\n"


class Runs:
    """Records in a project, made so many minutes ago."""

    def __init__(self, project):
        self.project = project
        self.records = Records(project.root / ".git" / "dvlite" / "runs")
        self.now_ns = time.time_ns()

    def put(self, number, *, minutes=None, **fields):
        at = self.now_ns - (minutes if minutes is not None else 100 - number) * MINUTE_NS
        made = recorded.run(
            number,
            **{
                "id": record.new_id(at, bytes([number] * 8)),
                "start": record.time_text(at),
                "end": record.time_text(at + MINUTE_NS // 2),
                **fields,
            },
        )
        self.records.put(made)
        return made

    def listed(self, *args):
        return [run["run"] for run in self.project.json("runs", *args)["runs"]]


@pytest.fixture
def runs(project):
    return Runs(project)


def short(run):
    return f"{run.stage}-{name(run)[4:10]}"


def values(**params):
    return {f"params.yaml:{key}": value for key, value in params.items()}


def accuracy(value):
    return {"metrics.json:acc": value}


def lines(done):
    return done.stdout.splitlines()


# --- list ---


def test_without_runs_it_says_so_and_what_to_do(project):
    assert lines(project.dvlite("runs")) == ["There are no runs yet: dvlite repro records each run of a stage."]
    assert not (project.root / ".git" / "dvlite" / "runs").exists()
    assert project.json("runs")["runs"] == []


def test_a_listing_shows_what_runs_differ_in(runs):
    commit = runs.project.git("rev-parse", "HEAD").strip()
    old = runs.put(1, minutes=18, params=values(lr=0.01, epochs=20), metrics=accuracy(0.912), code=Code(commit=commit))
    new = runs.put(
        2,
        minutes=2,
        params=values(lr=0.003, epochs=20),
        metrics=accuracy(0.931),
        code=Code(commit=commit, dirty=("params.yaml",)),
    )
    assert [line.split() for line in lines(runs.project.dvlite("runs"))] == [
        ["RUN", "WHEN", "STATUS", "lr", "acc", "COMMIT"],
        [short(new), "2m", "ago", "ok", "0.003", "0.931", f"{commit[:7]}+edits"],
        [short(old), "18m", "ago", "ok", "0.01", "0.912", commit[:7]],
    ]
    head, *_ = lines(runs.project.dvlite("runs", "--columns", "run,epochs,lr"))
    assert head.split() == ["RUN", "epochs", "lr"]
    head, *_ = lines(runs.project.dvlite("runs", "--columns", "all"))
    assert {"lr", "epochs", "acc", "data/tiles", "SECONDS", "COMMIT"} <= set(head.split())


def test_inputs_that_differ_are_columns(runs):
    for number, version in enumerate(("one", "two")):
        inputs = (
            Input(path="data/images", oid=oid(version, "manifest"), size_bytes=1),
            Input(path="src/train.py", oid=oid("same"), size_bytes=1),
        )
        runs.put(number, inputs=inputs)
    head, *rows = lines(runs.project.dvlite("runs"))
    assert "data/images" in head
    assert "src/train.py" not in head
    assert oid("two", "manifest")[9:17] in rows[0]


def test_failed_runs_are_listed_and_another_stage_makes_no_difference(runs):
    runs.put(1, stage="prepare", params={}, metrics={})
    failed = runs.put(2, status="failed", exit_code=3, params=values(lr=1), metrics={})
    head, first, second = lines(runs.project.dvlite("runs"))
    assert first.split()[:1] == [short(failed)]
    assert "failed" in first
    assert head.split() == ["RUN", "WHEN", "STATUS", "lr", "data/tiles", "COMMIT"]
    assert second.split()[-3:-1] == ["-", oid("tiles", "manifest")[9:17]]
    (found,) = runs.project.json("runs", "--status", "failed")["runs"]
    assert (found["exit_code"], found["status"]) == (3, "failed")


def test_the_commit_is_the_one_that_a_note_names(runs):
    one = runs.put(1, code=Code(commit="ab" * 20, dirty=("a",)))
    runs.records.put(recorded.note(one, "commit", "cd" * 20))
    assert lines(runs.project.dvlite("runs"))[1].endswith("  cdcdcdc")
    (found,) = runs.project.json("runs")["runs"]
    assert (found["commit"], found["code"], found["edited"]) == ("cd" * 20, "ab" * 20, True)


def in_a_chain(runs, number, rate, accuracy_now):
    """Puts a run that trains and one that evaluates what it left."""
    model = oid(f"model of {rate}")
    outputs = (Output(path="model.pt", oid=model, size_bytes=100),)
    trained = runs.put(number, params=values(rate=rate, seed=7), metrics={}, outputs=outputs)
    inputs = (Input(path="model.pt", oid=model, size_bytes=100),)
    measured = accuracy(accuracy_now)
    evaluated = runs.put(
        number + 1, stage="evaluate", params=values(seed=9), metrics=measured, inputs=inputs, outputs=()
    )
    return trained, evaluated


def test_a_run_has_the_parameters_of_the_runs_before_it(runs):
    in_a_chain(runs, 1, 0.1, 0.7)
    trained, evaluated = in_a_chain(runs, 3, 0.01, 0.96)
    again = in_a_chain(runs, 5, 0.1, 0.8)[1]  # the same bytes as the first
    assert runs.listed("-p", "rate<0.05", "-m", "acc>0.95") == [name(evaluated)]
    assert runs.listed("-p", "rate=0.01") == [name(evaluated), name(trained)]
    assert runs.listed("-p", "seed=7", "-s", "evaluate") == []
    found = {run["run"]: run for run in runs.project.json("runs")["runs"]}
    assert found[name(evaluated)]["upstream_params"] == values(rate=0.01)
    assert found[name(evaluated)]["params"] == values(seed=9)
    assert found[name(again)]["upstream_params"] == values(rate=0.1)
    rows = [line.split() for line in lines(runs.project.dvlite("runs", "--columns", "run,rate,acc"))]
    assert [short(evaluated), "0.01", "0.96"] in rows


def test_an_ambiguous_stage_is_refused_or_means_the_one_at_the_root(runs):
    one = runs.put(1, file="ml/dvlite.yaml")
    two = runs.put(2, file="report/dvlite.yaml")
    for words in (("runs", "-s", "train"), ("runs", "show", "last:train"), ("lineage", "find", "stage=train")):
        said = runs.project.dvlite(*words, code=2).stderr
        assert "'train' is a stage of several pipeline files" in said
        assert "one of: ml:train, report:train" in said
    assert runs.project.json("runs", "show", "last:ml:train")["run"] == name(one)
    assert runs.listed("-s", "report:train") == [name(two)]
    assert [line.split()[0] for line in lines(runs.project.dvlite("runs"))[1:]] == [
        f"report:{short(two)}",
        f"ml:{short(one)}",
    ]
    assert runs.project.json("runs", "show", f"ml:{short(one)}")["run"] == name(one)
    (runs.project.root / "ml").mkdir()
    shown = runs.project.json("runs", "show", "last:train", cwd="ml")
    assert shown["run"] == name(one), "the one of the current folder, as for repro"
    root = runs.put(3)
    assert runs.listed("-s", "train") == [name(root)]


def test_a_tag_names_a_run_unless_several_have_it(runs):
    one, two = runs.put(1), runs.put(2)
    runs.project.dvlite("runs", "tag", short(one), "best")
    assert runs.project.json("runs", "show", "best")["run"] == name(one)
    runs.project.dvlite("runs", "tag", short(two), "best")
    assert "one of: train-" in runs.project.dvlite("runs", "show", "best", code=2).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("-s", "trian"), "did you mean train?"),
        (("-m", "ac>0.9"), "did you mean acc?"),
        (("-m", "nothing>0.9"), "metrics: acc"),
        (("-p", "rat=1"), "did you mean rate?"),
    ],
)
def test_words_that_no_run_has_are_refused_with_what_may_be_meant(runs, words, hint):
    runs.put(1, params=values(rate=1), metrics=accuracy(0.5))
    assert hint in runs.project.dvlite("runs", *words, code=2).stderr


def test_where_only_lockfiles_name_runs_it_says_how_to_get_the_records(project):
    project.write("dvlite.yaml", "stages:\n  one:\n    cmd: echo 1 > one.txt\n    outs: [one.txt]\n")
    project.dvlite("repro")
    os.rename(project.root / ".git/dvlite/runs", project.root / ".git/gone")
    first, *_ = lines(project.dvlite("runs"))
    assert first == "There are no run records in this clone; lockfiles name 1 run: its record comes with dvlite pull."
    assert "next: dvlite pull" in project.dvlite("runs").stdout


def test_at_most_twenty_are_listed_and_more_if_asked(runs):
    made = [runs.put(number) for number in range(23)]
    newest = [name(one) for one in reversed(made)]
    assert runs.listed() == newest[:20]
    assert runs.listed("-n", "2") == newest[:2]
    assert runs.listed("--all") == newest
    shown = lines(runs.project.dvlite("runs", "-n", "3"))
    assert len(shown) == 5
    assert shown[-1] == "the first 3 runs; for more: -n N, or --all"
    assert len(lines(runs.project.dvlite("runs", "-q", "-n", "3"))) == 4
    assert len(lines(runs.project.dvlite("runs", "-n", "23"))) == 24


@pytest.mark.parametrize("words", [["runs"], ["runs", "list"], ["--json", "runs"], ["runs", "-v", "--all"]])
def test_list_is_what_runs_does_alone(runs, words):
    runs.put(1)
    assert name(runs.put(2))[4:10] in runs.project.dvlite(*words).stdout


def test_filters(runs):
    head = runs.project.git("rev-parse", "HEAD").strip()
    a = runs.put(1, minutes=200, params=values(lr=0.1), metrics=accuracy(0.5))
    b = runs.put(2, minutes=30, params=values(lr=0.01), metrics=accuracy(0.95), status="tainted")
    c = runs.put(3, minutes=5, stage="evaluate", params=values(lr=0.01), metrics=accuracy(0.9), code=Code(commit=head))
    runs.project.dvlite("runs", "tag", short(a), "good", "old")
    runs.project.dvlite("runs", "tag", short(b), "good")
    for words, found in (
        (["--stage", "train"], [b, a]),
        (["-s", "evaluate"], [c]),
        (["--status", "ok"], [c, a]),
        (["--status", "ok", "--status", "tainted"], [c, b, a]),
        (["--param", "lr=0.01"], [c, b]),
        (["-p", "lr<0.1", "-m", "acc>0.9"], [b]),
        (["--metric", "acc>=0.9"], [c, b]),
        (["--tag", "good"], [b, a]),
        (["--tag", "good,!old"], [b]),
        (["--tag", "good", "--tag", "!old"], [b]),
        (["--since", "1h"], [c, b]),
        (["--until", "1h"], [a]),
        (["--since", "2020-01-01", "--until", "2099-01-01"], [c, b, a]),
        (["--commit", "HEAD"], [c]),
        (["--commit", head[:8]], [c]),
        (["--metric", "acc>5"], []),
    ):
        assert runs.listed(*words) == [name(one) for one in found], words
    assert lines(runs.project.dvlite("runs", "--metric", "acc>5"))[0] == "No run matches; 3 runs are known."


def test_sorting_comes_before_cutting_and_nothing_comes_last(runs):
    made = [runs.put(number, metrics=accuracy(value)) for number, value in enumerate((0.2, 0.9, 0.5))]
    without = runs.put(9, metrics={})
    assert runs.listed("--sort", "acc") == [name(one) for one in (made[0], made[2], made[1], without)]
    assert runs.listed("--sort", "-acc", "-n", "1") == [name(made[1])]


def test_columns_are_chosen(runs):
    runs.put(1, params=values(lr=0.01), capture={"torch": "2.9.0"})
    done = runs.project.dvlite("runs", "--columns", "run,torch,data/tiles,lr,stage,seconds")
    head, row = (line.split() for line in lines(done))
    assert head == ["RUN", "torch", "data/tiles", "lr", "STAGE", "SECONDS"]
    assert row[1:] == ["2.9.0", oid("tiles", "manifest")[9:17], "0.01", "train", "30", "s"]


def test_a_key_of_two_files_keeps_its_file(runs):
    runs.put(1, params={"a.yaml:lr": 1, "b.yaml:lr": 2}, metrics={"m.json:lr": 3, "m.json:acc": 1})
    head = lines(runs.project.dvlite("runs"))[0].split()
    assert head[3:-1] == ["a.yaml:lr", "b.yaml:lr", "acc", "m.json:lr", "data/tiles"]
    head = lines(runs.project.dvlite("runs", "--columns", "lr"))[0].split()
    assert head == ["a.yaml:lr", "b.yaml:lr"]


def test_csv_is_exact(runs):
    one = runs.put(
        1, params=values(lr=0.1 + 0.2, words='a "b", c', flag=True, layers=[1, 2]), code=Code(commit="ab" * 20)
    )
    runs.project.dvlite("runs", "tag", "last", "x", "y")
    done = runs.project.dvlite("runs", "--csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["run"] == short(one)
    assert row["when"] == one.start
    assert float(row["lr"]) == 0.1 + 0.2
    assert row["words"] == 'a "b", c'
    assert (row["flag"], row["layers"]) == ("true", "[1, 2]")
    assert (row["tags"], row["commit"]) == ("x y", "ab" * 20)


def test_markdown_is_a_table(runs):
    one = runs.put(1, params=values(cut="a|b"))
    head, rule, row = lines(runs.project.dvlite("runs", "--md", "--columns", "run,when,cut"))
    assert head == "| RUN | WHEN | cut |"
    assert rule == "| --- | --- | --- |"
    assert row == f"| {short(one)} | {one.start} | a\\|b |"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--status", "done"], "'done' is not a status of a run"),
        (["--param", "lr"], "'lr' compares nothing"),
        (["--metric", "acc>high"], "compares with something that is not a number"),
        (["--since", "yesterday"], "'yesterday' is neither a date nor a revision"),
        (["--until", "2026-13-01"], "'2026-13-01' is not a date"),
        (["--commit", "nothing"], "'nothing' is not a commit"),
        (["--sort", "nothing"], "'nothing' is not a column to sort by"),
        (["--sort", "tags"], "'tags' is not a column to sort by"),
        (["--columns", "nothing"], "no listed run has 'nothing'"),
        (["--columns", ","], "--columns names no column"),
        (["-n", "0"], "'-n'"),
    ],
)
def test_words_that_mean_nothing_are_refused(runs, words, said):
    runs.put(1)
    assert said in runs.project.dvlite("runs", *words, code=2).stderr


def test_what_does_not_fit_is_counted(runs, monkeypatch):
    for number in range(2):
        params = values(**{f"a_long_name_{letter}": number for letter in "abcdef"})
        runs.put(number, minutes=10, params=params, metrics=accuracy(number / 10))
    for width, shown, more in ((None, 3, "3 more columns"), ("110", 4, "2 more columns"), ("122", 5, "1 more column")):
        if width is not None:
            monkeypatch.setenv("COLUMNS", width)
        head, *rows, last = lines(runs.project.dvlite("runs"))
        assert head.count("a_long_name") == shown
        assert "acc" in head
        assert max(map(len, [head, *rows])) <= int(width or 100)
        assert last.startswith(f"{more}: --columns all, or --columns a_long_name_")
        assert last not in lines(runs.project.dvlite("runs", "-q"))
    monkeypatch.setenv("COLUMNS", "200")
    assert "--columns" not in runs.project.dvlite("runs").stdout
    monkeypatch.setenv("COLUMNS", "10")
    assert lines(runs.project.dvlite("runs"))[0].split() == ["RUN"]


def test_what_fits_is_chosen_by_what_it_tells():
    def column(title, space):
        return RunColumn(title=title, space=space, key=title)

    spaces = ("run", "param", "param", "param", "metric", "metric", "metric", "input", "input", "run")
    columns = [column(str(i), space) for i, space in enumerate(spaces)]
    rows = [["x" * 8] * len(columns)]
    assert fitting(columns, rows, 98) == list(range(10))
    assert fitting(columns, rows, 88) == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    assert fitting(columns, rows, 68) == [0, 1, 2, 4, 5, 7, 9]
    assert fitting(columns, rows, 38) == [0, 1, 4, 5]
    assert fitting(columns, rows, 5) == [0]
    wide = [["x" * (50 if i == 1 else 8) for i in range(10)]]
    assert fitting(columns, wide, 58) == [0, 2, 4, 5, 7, 9]


# --- the data that runs go back to ---


def reads(path, version, *, inside=None):
    kind = "manifest" if inside is None else "blake3"
    holder = {} if inside is None else {"inside": inside[0], "inside_oid": oid(inside[1], "manifest")}
    return Input(path=path, oid=oid(version, kind), size_bytes=1000, **holder)


def leaves(path, version, kind="manifest"):
    return Output(path=path, oid=oid(version, kind), size_bytes=1000, files=2)


def test_the_data_that_runs_go_back_to_is_a_column(runs):
    for number, version in enumerate(("one", "two")):
        prepared = leaves("tiles", f"tiles {version}")
        runs.put(4 * number, stage="prepare", inputs=(reads("images", version),), outputs=(prepared,))
        made = (leaves("model.pt", f"model {version}", "blake3"),)
        part = reads("tiles/a.bin", f"a {version}", inside=("tiles", f"tiles {version}"))
        runs.put(4 * number + 1, inputs=(part,), outputs=made)
        runs.put(4 * number + 2, stage="evaluate", inputs=(Input(path="model.pt", oid=made[0].oid, size_bytes=1000),))
    found = runs.project.json("runs")["runs"]
    new, old = ({"images": oid(version, "manifest")} for version in ("two", "one"))
    assert [run["sources"] for run in found] == [new, new, new, old, old, old]
    for words in ([], ["--stage", "train"], ["--stage", "evaluate"], ["--columns", "run,images"]):
        head, *rows = lines(runs.project.dvlite("runs", *words))
        assert "images" in head.split()
        assert "tiles" not in head
        half = len(rows) // 2
        assert [new["images"][9:17] in row for row in rows] == [True] * half + [False] * half
    assert "tiles/a.bin" in lines(runs.project.dvlite("runs", "--stage", "train", "--columns", "all"))[0]


def test_code_is_no_data_and_a_tracked_file_is(runs):
    project = runs.project
    project.write("table.csv", "a,b\n")
    project.dvlite("add", "table.csv")
    project.write("lib/a.py", "1")
    project.commit()
    for number in range(2):
        inputs = (
            reads("lib", f"lib {number}"),
            Input(path="table.csv", oid=oid(f"table {number}"), size_bytes=1),
            Input(path="elsewhere.py", oid=oid(f"code {number}"), size_bytes=1),
        )
        runs.put(number, inputs=inputs)
    assert lines(project.dvlite("runs"))[0].split() == ["RUN", "WHEN", "STATUS", "seed", "acc", "table.csv", "COMMIT"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s ago"),
        (59, "59s ago"),
        (60, "1m ago"),
        (89 * 60, "89m ago"),
        (90 * 60, "1h ago"),
        (47 * 3600, "47h ago"),
        (48 * 3600, "2d ago"),
        (59 * 86400, "59d ago"),
        (61 * 86400, "2026-09-22"),
        (-3600, "2026-11-22"),
    ],
)
def test_times_are_told_relative(seconds, said):
    now_ns = recorded.START_NS
    assert ago_text(record.time_text(now_ns - seconds * 10**9), record.time_text(now_ns)) == said
    assert ago_text("", record.time_text(now_ns)) == "-"


# --- show ---


def keep(project, data):
    cache = open_cache(open_repo(project.root, os.environ))
    cache.create()
    with Writer(cache) as writer:
        writer.put(KIND_FILE, digest_bytes(data), data)
        writer.commit()
    return format_oid(FILE, digest_bytes(data))


def test_everything_in_a_record_is_shown(runs):
    one = runs.put(
        1,
        minutes=3,
        file="sub/dvlite.yaml",
        wdir="src",
        status="tainted",
        taint=("src/a.py",),
        cmd="first\nsecond",
        exit_code=0,
        log=oid("log"),
        code=Code(repo="git@example.com:acme/birds", commit="ab" * 20, dirty=("params.yaml",), diff=oid("diff")),
        env={"OMP_NUM_THREADS": "1"},
        capture={"torch": "2.9.0"},
        cpu_seconds=61.0,
        max_rss_bytes=3 << 20,
        ci="https://ci.example.com/1",
        outputs=(
            Output(path="model.pt", oid=oid("model"), size_bytes=1024, sha256="77" * 32),
            Output(path="metrics.json", oid=oid("m"), size_bytes=9, role="metric", cached=False),
        ),
    )
    runs.project.dvlite("runs", "tag", "last", "best")
    runs.project.dvlite("runs", "note", "last", "cleaned labels")
    done = runs.project.dvlite("runs", "show", short(one))
    shown = " ".join(done.stdout.split())
    for words in (
        f"{short(one)} tainted 3m ago (",
        "UTC, 30 s) by you@gpu-3",
        f"run {name(one)}",
        "stage train of sub/dvlite.yaml in the folder src",
        "command first second",
        "src/a.py changed while it ran",
        "code git@example.com:acme/birds abababa + edits to params.yaml (kept, ",
        "tags best",
        "notes cleaned labels (",
        "test@example.com)",
        "params params.yaml:lr 0.01 params.yaml:seed 1",
        "metrics metrics.json:acc 0.01",
        f"inputs data/tiles {oid('tiles', 'manifest')[9:17]} 7 files, 4.9 KiB",
        f"outputs model.pt {oid('model')[7:15]} 1.0 KiB sha256 77777777",
        "9 B metrics",
        "environment python 3.11.9 torch 2.9.0",
        "set OMP_NUM_THREADS=1",
        "used 1m01s of processor time, 3.0 MiB of memory",
        f"log dvlite runs show {short(one)} --log",
        "job https://ci.example.com/1",
    ):
        assert words in shown, words


def test_the_datums_of_a_map_stage_are_counted_and_the_first_that_failed_are_named(runs):
    def shown(*options):
        lines = runs.project.dvlite(*options, "runs", "show", "last").stdout.splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("datums "))
        return [line[13:] for line in lines[at:] if line[:13].strip() in ("", "datums")]

    failures = tuple(MapFailure(name=f"{at}\x1b[31m.txt", problem="exit 1") for at in range(100))
    mapped = MapRun(base="ef" * 32, datums=2000, ran=1, reused=1790, failed=150, failures=failures)
    runs.put(1, status="failed", mapped=mapped)
    lines = shown()
    assert lines[:2] == ["2,000: 1 ran, 1,790 reused, 150 failed, 59 not run", "0\\x1b[31m.txt: exit 1"]
    assert lines[10:12] == ["9\\x1b[31m.txt: exit 1", "and 140 datums more: -v shows more"]
    assert shown("-v")[100:102] == ["99\\x1b[31m.txt: exit 1", "and 50 datums more"]
    record = runs.project.json("runs", "show", "last")["record"]["mapped"]
    assert (record["datums"], record["ran"], record["reused"], record["failed"]) == (2000, 1, 1790, 150)
    assert record["failures"][99] == {"name": "99\x1b[31m.txt", "problem": "exit 1", "log": None}
    runs.put(2, mapped=MapRun(base="ef" * 32, datums=3, reused=3))
    assert shown()[0] == "3: 3 reused"
    runs.put(3, status="asserted", mapped=MapRun(base="ef" * 32, datums=3))
    assert shown()[0] == "3"


def test_a_record_is_whole_in_json(runs):
    one = runs.put(1)
    found = runs.project.json("runs", "show", "last")
    assert found["schema"] == "dvlite.runs-show/1"
    assert found["run"] == name(one)
    assert found["record"]["params"] == dict(one.facts.params)
    assert found["record"]["inputs"][0]["oid"] == one.inputs[0].oid
    names = {field.name for field in (*dataclasses.fields(one), *dataclasses.fields(one.facts))}
    assert found["record"].keys() == names - {"facts"}


def test_series_are_drawn_as_lines_of_blocks_and_are_not_in_json(runs):
    data = "".join(
        f'{{"step": {i}, "loss": {v}, "x\\u001b]0;t": 1}}\n' for i, v in enumerate(["3", "NaN", "2", "1"])
    ).encode()
    many = b"step," + b",".join(b"s%d" % number for number in range(21)) + b"\n1" + b",5" * 21 + b"\n"
    kept = {"log.jsonl": data, "many.csv": many, "cut.jsonl": data + b'{"step"'}
    files = [
        Output(path=path, oid=keep(runs.project, content), size_bytes=len(content), role="metric")
        for path, content in kept.items()
    ]
    runs.put(1, outputs=(files[0], Output(path="gone.csv", oid=oid("gone"), size_bytes=3, role="metric")))
    shown = runs.project.dvlite("runs", "show", "last").stdout.split("series ")[1].split("inputs ")[0].splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "log.jsonl:loss █ ▅▁ 1 to 3 4 points",
        "log.jsonl:x\\x1b]0;t ▄▄▄▄ 1 to 1 4 points",
        "'gone.csv' is not in the cache",
    ]
    assert "series" not in runs.project.json("runs", "show", "last")
    runs.put(2, outputs=(files[1], files[2]))
    assert "and 3 more: -v shows all" in runs.project.dvlite("runs", "show", "last").stdout
    assert "many.csv:s20" in runs.project.dvlite("-v", "runs", "show", "last").stdout
    runs.put(3, outputs=(files[0], Output(path="vast.csv", oid=oid("vast"), size_bytes=9 << 20, role="metric")))
    assert (
        "series       9.0 MiB, too much for a terminal: dvlite view"
        in runs.project.dvlite("runs", "show", "last").stdout
    )


def test_a_failed_run_says_how_it_ended_and_a_cached_one_of_what(runs):
    failed = runs.put(1, status="failed", exit_code=7)
    assert "ended        with exit code 7" in lines(runs.project.dvlite("runs", "show", short(failed)))
    killed = runs.put(2, status="failed", signal=9)
    assert "ended        by signal 9" in lines(runs.project.dvlite("runs", "show", short(killed)))
    cached = runs.put(3, status="cached", of=name(failed))
    assert f"reused the outputs of {short(failed)}" in runs.project.dvlite("runs", "show", short(cached)).stdout


def test_the_log_is_printed_and_can_do_nothing_to_the_terminal(runs):
    one = runs.put(1, log=keep(runs.project, LOG))
    assert lines(runs.project.dvlite("runs", "show", "last", "--log")) == ["epoch 2", "red \\x1b]0;title\\x07"]
    done = runs.project.dvlite("--color", "always", "runs", "show", short(one), "--log")
    assert lines(done)[1].startswith("\x1b[31mred\x1b[0m \\x1b]0;title\\x07")
    assert runs.project.json("runs", "show", "last", "--log")["log"] == LOG.decode()


EDITS = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-\told\r\n+\tnew\x1b[2J\r\n"


def test_the_kept_diff_is_printed_and_can_do_nothing_to_the_terminal(runs):
    code = Code(commit="ab" * 20, dirty=("a.txt",), diff=keep(runs.project, EDITS))
    one = runs.put(1, code=code)
    shown = runs.project.dvlite("runs", "show", "last", "--diff").stdout
    assert shown.encode() == EDITS.replace(b"\x1b", b"\\x1b")
    coloured = runs.project.dvlite("--color", "always", "runs", "show", "last", "--diff").stdout.split("\n")
    assert coloured[1] == "--- a/a.txt"
    assert coloured[3] == "\x1b[36m@@ -1 +1 @@\x1b[0m"
    assert coloured[4].startswith("\x1b[31m-\told")
    assert runs.project.json("runs", "show", "last", "--diff")["diff"] == EDITS.decode()
    assert f"edits        dvlite runs show {short(one)} --diff" in lines(runs.project.dvlite("runs", "show", "last"))
    assert "together" in runs.project.dvlite("runs", "show", "last", "--diff", "--log", code=2).stderr


@pytest.mark.parametrize(("dirty", "said"), [((), "ran as the commit is"), (("a",), "too long to be kept")])
def test_that_no_diff_was_kept_is_said(runs, dirty, said):
    runs.put(1, code=Code(commit="ab" * 20, dirty=dirty))
    assert said in runs.project.dvlite("runs", "show", "last", "--diff", code=2).stderr


def test_that_there_is_no_log_is_said(runs):
    runs.put(2)
    assert "has no log" in runs.project.dvlite("runs", "show", "last", "--log", code=2).stderr


def test_a_log_that_is_nowhere_says_who_has_it(runs, tmp_path):
    runs.put(1, log=oid("elsewhere"))
    said = runs.project.dvlite("runs", "show", "last", "--log", code=12).stderr
    assert "the log of train-" in said
    assert "is not in the cache, and no remote is configured" in said
    assert "dvlite remote add" in said
    runs.project.dvlite("remote", "add", tmp_path / "store")
    said = runs.project.dvlite("runs", "show", "last", "--log", code=12).stderr
    assert "is not in the cache and not on origin" in said
    assert "dvlite push where it ran (you@gpu-3) uploads it" in said


@pytest.fixture
def pushed(prepared, colleague):
    """Returns the clone in which a stage ran with edits, and one of a colleague, who pulled."""

    def build(project):
        train = "{cmd: 'cat notes.txt; echo trained', deps: [notes.txt], always: true}"
        project.write("dvlite.yaml", f"stages:\n  train: {train}\n")
        project.write("notes.txt", "one\n")
        project.commit("Pipeline")
        project.write("notes.txt", "two\n")
        project.dvlite("repro")
        project.commit("Ran")
        project.dvlite("push")

    made = prepared("a-pushed-run-with-edits", build)
    return made, colleague(made)


@pytest.mark.parametrize(("flag", "said"), [("--log", "two\ntrained\n"), ("--diff", "-one\n+two\n")])
def test_a_colleagues_log_and_diff_are_fetched_when_they_are_asked_for(pushed, tmp_path, flag, said):
    _, theirs = pushed
    theirs.dvlite("remote", "trust", tmp_path / "store")
    theirs.dvlite("pull")
    assert theirs.dvlite("runs", "show", "last", flag).stdout.endswith(said)
    (tmp_path / "store").rename(tmp_path / "away")
    assert theirs.dvlite("runs", "show", "last", flag).stdout.endswith(said)


def test_nothing_is_fetched_from_a_remote_that_is_not_trusted(pushed, tmp_path, monkeypatch):
    _, theirs = pushed
    theirs.dvlite("remote", "trust", tmp_path / "store")
    theirs.dvlite("pull")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
    said = theirs.dvlite("runs", "show", "last", "--log", code=1).stderr
    assert "which this user has not approved; nothing was sent" in said
    assert "dvlite remote trust" in said


def test_a_large_log_is_fetched_too(shared, colleague, tmp_path):
    shared.write("dvlite.yaml", "stages:\n  train: {cmd: 'seq 300000', always: true}\n")
    shared.dvlite("config", "cache.pack_below", "64KiB")
    shared.commit("Pipeline")
    shared.dvlite("repro", "-q")
    shared.commit("Ran")
    shared.dvlite("push")
    theirs = colleague(shared)
    theirs.dvlite("remote", "trust", tmp_path / "store")
    theirs.dvlite("pull")
    assert lines(theirs.dvlite("runs", "show", "last", "--log"))[-1] == "300000"


def test_a_run_is_named_in_many_ways(runs):
    one, other = runs.put(1, stage="prepare"), runs.put(2)
    for text, meant in (
        (short(one), one),
        (name(one), one),
        (name(one)[4:12], one),
        (one.id, one),
        ("last", other),
        ("last:prepare", one),
        ("last:train", other),
    ):
        assert runs.project.json("runs", "show", text)["run"] == name(meant)
    for text in ("train-ffffff", "nothing", "last:nothing", "last:"):
        runs.project.dvlite("runs", "show", text, code=2)


# --- diff ---


def test_runs_are_compared_part_by_part(runs, monkeypatch):
    project = runs.project
    project.write("src/train.py", "1")
    project.write("params.yaml", "lr: 1\n")
    project.write(
        "dvlite.yaml",
        "stages:\n  train:\n    cmd: python src/train.py\n    deps: [src/train.py]\n"
        "    metrics:\n      - path: metrics.json\n        cache: false\n        better: {acc: higher, loss: lower}\n",
    )
    project.commit("One")
    first = project.git("rev-parse", "HEAD").strip()
    project.write("src/train.py", "2")
    project.commit("Two")
    second = project.git("rev-parse", "HEAD").strip()

    def made(number, version, commit, **fields):
        inputs = (
            Input(path="src/train.py", oid=oid(f"code {version}"), size_bytes=1),
            Input(path="data/tiles", oid=oid(f"tiles {version}", "manifest"), size_bytes=1),
        )
        return runs.put(number, inputs=inputs, code=Code(commit=commit), **fields)

    old = made(
        1,
        "one",
        first,
        params=values(lr=0.01, gone=1),
        metrics={"metrics.json:acc": 0.912, "metrics.json:loss": 1.0, "metrics.json:other": 1},
        capture={"torch": "2.8.0"},
    )
    new = made(
        2,
        "two",
        second,
        params=values(lr=0.003, new="x"),
        metrics={"metrics.json:acc": 0.931, "metrics.json:loss": 2.0, "metrics.json:other": 2},
        capture={"torch": "2.9.0"},
        status="tainted",
        cmd="python src/train.py --fast",
    )
    done = project.dvlite("runs", "diff", short(old), short(new))
    assert [" ".join(line.split()) for line in lines(done)] == [
        f"{short(old)} ok -> {short(new)} tainted",
        "param gone 1 -> -",
        "param lr 0.01 -> 0.003",
        "param new - -> x",
        "metric acc 0.912 -> 0.931 +0.019 better",
        "metric loss 1 -> 2 +1 worse",
        "metric other 1 -> 2 +1",
        f"data data/tiles {oid('tiles one', 'manifest')[9:17]} -> {oid('tiles two', 'manifest')[9:17]}",
        f"code src/train.py {oid('code one')[7:15]} -> {oid('code two')[7:15]}",
        "command cmd python src/train.py -> python src/train.py --fast",
        "env torch 2.8.0 -> 2.9.0",
        f"output model.pt {oid('model 1')[7:15]} -> {oid('model 2')[7:15]}",
        f"commit {first[:7]} -> {second[:7]}",
    ]
    found = project.json("runs", "diff", short(old), short(new))
    assert found["metrics"][0] == {
        "key": "metrics.json:acc",
        "old": 0.912,
        "new": 0.931,
        "state": "changed",
        "better": True,
    }
    assert found["same"] == []

    third = made(3, "two", first, params=values(lr=0.003), metrics={"metrics.json:acc": 0.9311111, "b:acc": 1})
    many = (short(old), short(new), short(third))
    done = project.dvlite("--color", "always", "runs", "compare", *many)
    assert [" ".join(line.split()) for line in lines(done)] == [
        " ".join(many),
        "status ok tainted ok",
        "param gone 1 - -",
        "param lr 0.01 0.003 0.003",
        "param new - x -",
        "metric metrics.json:acc 0.912 \x1b[32m0.931 \x1b[0m \x1b[32m0.931111 \x1b[0m",
        "metric loss 1 \x1b[31m2 \x1b[0m -",
        "metric other 1 2 -",
        "metric b:acc - - 1",
        f"data data/tiles {oid('tiles one', 'manifest')[9:17]}" + f" {oid('tiles two', 'manifest')[9:17]}" * 2,
        f"code src/train.py {oid('code one')[7:15]}" + f" {oid('code two')[7:15]}" * 2,
        f"commit {first[:7]} {second[:7]} {first[:7]}",
    ]
    monkeypatch.setenv("COLUMNS", "60")
    blocks = project.dvlite("runs", "compare", *many).stdout.split("\n\n")
    assert [block.split("\n")[0].split() for block in blocks] == [list(many[:2]), [many[2]]]
    assert project.json("runs", "compare", *many)["rows"][0]["cells"][1] == {
        "value": None,
        "has": False,
        "better": None,
    }
    assert "same" in project.dvlite("runs", "compare", many[0], many[0]).stdout
    assert "two or more" in project.dvlite("runs", "compare", many[0], code=2).stderr


def test_parts_that_are_the_same_are_named(runs):
    old = runs.put(1, params=values(lr=0.01), metrics=accuracy(0.912), code=Code(commit="ab" * 20), outputs=())
    runs.put(2, params=values(lr=0.003), metrics=accuracy(0.912), code=Code(commit="ab" * 20), outputs=())
    assert lines(runs.project.dvlite("runs", "diff", short(old), "last")) == [
        "param  lr  0.01 -> 0.003",
        "same   metrics, data, code, command, environment",
    ]


def test_edits_of_other_files_are_code(runs):
    clean = runs.put(1, code=Code(commit="1a" * 20), outputs=())
    edited = runs.put(2, code=Code(commit="5d" * 20, dirty=("src/lib.py",), diff=oid("lib")), outputs=())
    assert f"code    edits  - -> src/lib.py ({oid('lib')[7:15]})" in lines(
        runs.project.dvlite("runs", "diff", short(clean), short(edited))
    )


# --- tag, untag, note ---


def test_a_tag_from_a_clock_that_is_ahead_can_be_taken_away(runs):
    one = runs.put(1)
    runs.project.dvlite("runs", "tag", "last", "mine")
    ahead = runs.now_ns + 10 * 365 * 86_400 * 10**9
    tag = next(note for _, data in runs.records if isinstance(note := record.parse(data, "x"), record.Note))
    runs.records.put(
        dataclasses.replace(tag, id=record.new_id(ahead, b"12345678"), value="best", time=record.time_text(ahead))
    )
    assert runs.project.json("runs", "show", short(one))["tags"] == ["mine", "best"]
    assert runs.project.json("runs", "untag", "last", "best")["tags"] == ["mine"]
    assert runs.project.json("runs", "show", "last")["tags"] == ["mine"]
    assert runs.project.json("runs", "tag", "last", "best")["tags"] == ["mine", "best"]
    assert runs.project.json("runs", "show", "last")["tags"] == ["mine", "best"]
    assert runs.project.json("runs", "-t", "best")["runs"][0]["run"] == name(one)


def test_tags_come_and_go_and_travel_as_records(runs):
    one = runs.put(1)
    project = runs.project
    done = project.dvlite("runs", "tag", short(one), "best", "good", "best")
    assert lines(done) == [f"Tagged {short(one)}: best good", "next: dvlite push"]
    assert project.json("runs", "tag", "last", "best")["changed"] == []
    assert project.json("runs")["runs"][0]["tags"] == ["best", "good"]
    assert lines(project.dvlite("runs", "untag", "last", "best"))[0] == f"Untagged {short(one)}: best (now: good)"
    assert project.json("runs", "show", "last")["tags"] == ["good"]
    assert project.json("runs", "tag", "last", "best")["tags"] == ["good", "best"]
    done = project.dvlite("runs", "untag", "last", "never", code=2)
    assert "has no tag 'never'" in done.stderr
    notes = [record.parse(data, "x") for _, data in runs.records]
    made = [found for found in notes if isinstance(found, record.Note)]
    assert sorted(found.op for found in made) == ["tag", "tag", "tag", "untag"]
    assert {found.user for found in made} == {"test@example.com"}
    assert {found.project for found in made} == {open_repo(project.root, os.environ).config.project}


@pytest.mark.parametrize("tag", ["a b", "!a", "a,b", "x" * 101, "a\n"])
def test_what_is_no_tag_is_refused_and_nothing_is_written(runs, tag):
    runs.put(1)
    assert "is not a tag" in runs.project.dvlite("runs", "tag", "last", "fine", "--", tag, code=2).stderr
    assert runs.project.json("runs", "show", "last")["tags"] == []


def test_a_note_is_kept_with_who_and_when(runs):
    runs.put(1)
    found = runs.project.json("runs", "note", "last", "cleaned labels")
    assert found["note"]["text"] == "cleaned labels"
    assert found["note"]["user"] == "test@example.com"
    assert runs.project.json("runs", "show", "last")["notes"] == [found["note"]]
    assert "is empty" in runs.project.dvlite("runs", "note", "last", "  ", code=2).stderr


def test_the_best_run_is_of_those_that_match_and_have_outputs(runs):
    first, second = runs.put(1, sweep="grid"), runs.put(2)
    runs.put(3, status="failed", metrics={"metrics.json:acc": 0.9})
    runs.put(4, metrics={"metrics.json:acc": "nan", "other.json:acc": 1}, stage="rate")
    project = runs.project
    assert "--higher or --lower" in project.dvlite("runs", "best", "metrics.json:acc", code=2).stderr
    best = project.json("runs", "best", "metrics.json:acc", "--higher")
    assert (best["run"]["run"], best["value"], best["better"]) == (name(second), 0.02, "higher")
    assert project.json("runs", "best", "metrics.json:acc", "--lower")["run"]["run"] == name(first)
    assert project.dvlite(
        "-q", "runs", "best", "metrics.json:acc", "--higher", "--sweep", "grid"
    ).stdout.strip() == short(first)
    assert "any of several" in project.dvlite("runs", "best", "acc", "--lower", code=2).stderr
    assert "no metric" in project.dvlite("runs", "best", "acd", "--lower", code=2).stderr
    project.write(
        "dvlite.yaml",
        "stages: {train: {cmd: x, metrics: [{path: metrics.json, better: {acc: lower}}]}}\n",
    )
    assert project.json("runs", "best", "metrics.json:acc")["run"]["run"] == name(first)
    project.dvlite("runs", "rm", short(first))
    assert project.json("runs", "best", "metrics.json:acc")["run"]["run"] == name(second)


def test_hidden_runs_are_in_no_list_until_they_are_shown_again(runs):
    one, failed = runs.put(1), runs.put(2, status="failed")
    project = runs.project
    assert [run["run"] for run in project.json("runs", "rm", "--failed")["runs"]] == [name(failed)]
    assert project.json("runs", "rm", "--failed")["runs"] == []
    assert runs.listed() == [name(one)]
    assert runs.listed("--all") == [name(failed), name(one)]
    assert project.json("runs", "show", "last")["run"] == name(one)
    assert project.json("runs", "show", short(failed))["run"] == name(failed)
    project.dvlite("runs", "rm", "--undo", short(failed))
    assert runs.listed() == [name(failed), name(one)]
    assert "which runs" in project.dvlite("runs", "rm", code=2).stderr
    project.dvlite("runs", "rm", short(one), "--failed", code=2)


def test_hostile_words_of_strangers_do_nothing_to_the_terminal(runs):
    runs.put(1, params={"p:\x1b[2Jlr": "\x1b]0;x\x07", "p:b": 1}, user="\x1b[31mme", cmd="a\x1b[2J")
    runs.put(2, params={"p:\x1b[2Jlr": "x"})
    for words in (
        ["runs"],
        ["runs", "show", "train-" + runs.listed()[1][4:]],
        ["runs", "diff", *runs.listed()],
        ["runs", "--md"],
    ):
        assert "\x1b" not in runs.project.dvlite(*words).stdout


@pytest.mark.parametrize("target", ["/dev/zero", "../fifo"])
def test_a_lockfile_that_is_a_link_to_a_device_is_passed_over(runs, target):
    os.mkfifo(runs.project.root.parent / "fifo")
    os.symlink(target, runs.project.root / "dvlite.lock")
    made = runs.put(1)
    assert runs.listed() == [name(made)]
