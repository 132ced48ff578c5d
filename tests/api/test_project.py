"""`dvlite.Repo`: the verbs of the command line from Python."""

import inspect
import json
import logging
import multiprocessing
import subprocess
from concurrent.futures import ThreadPoolExecutor

import click
import pytest

import dvlite
from dvlite import files
from dvlite.cli import main
from dvlite.cli.terminal import to_json
from tests.commands.conftest import prepared, shared, start_project  # noqa: F401  (fixtures)

# --- the same as the command line

VERBS = {name: value for name, value in vars(dvlite.Repo).items() if not name.startswith("_")}
FLAGS_OF_ANOTHER = {"lineage": {"served"}, "verify": {"served", "digest"}}  # that are methods of their own
NOT_ON_THE_COMMAND_LINE = {"open", "fs", "lineage_served", "verify_served"}
DEFAULT_VERBS = {
    "import_": "import",
    "import_url": "import-url",
    "params": "params diff",
    "metrics": "metrics show",
    "plots": "plots show",
    "runs": "runs list",
    "lineage": "lineage show",
}
ON_THE_SCREEN = {"stat", "md", "markdown", "exit_code", "driver", "csv", "words", "html", "open", "format", "junit"}
ON_THE_SCREEN |= {"charts", "terminal", "annotations", "summary", "up_to_date", "watch"}
FOR_A_CLUSTER = {"to", "output", "image", "secret"}  # of `repro`: what is written is for the cluster's own program
OF_THE_REPO = {"wait"}
OF_THE_PLACE = {"ls": {"remote"}, "get": {"remote"}}  # what `Repo` was given
NO_FLAGS = {
    "diff": {"paths"},
    "params": {"paths"},
    "metrics": {"paths"},
    "metrics_diff": {"paths"},
    "plots_diff": {"targets"},
}  # after `--`
DEFAULT = {"verify": {"from_data"}, "params": {"all"}}  # flags for what is so anyway


def command_of(name):
    command = main.app
    for word in DEFAULT_VERBS.get(name, name.replace("_", " ")).split():
        command = command.commands[word]
    return command


def argument_of(option, command):
    """Returns what a flag is called in Python: its long name; `--no-x` is x; flags that exclude each other are one argument."""
    others = [each for each in command.params if each.name == option.name]
    if len(others) > 1 or not any(word.startswith("--") for word in option.opts):
        return option.name
    long = next(word for word in option.opts if word.startswith("--"))
    return long.removeprefix("--").removeprefix("no-").replace("-", "_")


@pytest.mark.parametrize("name", sorted(VERBS.keys() - NOT_ON_THE_COMMAND_LINE))
def test_arguments_are_the_flags_of_the_verb(name):
    command = command_of(name)
    common = {"quiet", "verbose", "json", "progress", "color", "pager", "C"}
    options = [each for each in command.params if isinstance(each, click.Option)]
    flags = {argument_of(each, command) for each in options} - common - {"start_in"}
    flags -= FOR_A_CLUSTER if name == "repro" else set()
    flags -= FLAGS_OF_ANOTHER.get(name, set())
    flags -= ON_THE_SCREEN | OF_THE_REPO | OF_THE_PLACE.get(name, set()) | DEFAULT.get(name, set())
    parameters = inspect.signature(VERBS[name]).parameters.values()
    arguments = {
        each.name for each in parameters if each.kind is each.KEYWORD_ONLY or (name, each.name) == ("get", "output")
    }
    assert arguments - NO_FLAGS.get(name, set()) == flags


@pytest.mark.parametrize("name", sorted(VERBS.keys() - NOT_ON_THE_COMMAND_LINE - {"lineage"}))
def test_the_first_line_of_help_is_that_of_the_command(name):
    assert inspect.getdoc(VERBS[name]).split("\n")[0] == command_of(name).help.split("\n")[0]


@pytest.mark.parametrize("name", ["add", "checkout", "push", "pull", "fetch", "ls", "log", "metrics_diff", "runs_show"])
def test_what_is_left_out_is_what_the_verb_below_does_without(name):
    words = DEFAULT_VERBS.get(name, name)
    module = __import__(f"dvlite.commands.{words.split('_')[0].split()[0]}", fromlist=["x"])
    below = inspect.signature(getattr(module, words.replace(" ", "_"))).parameters
    also = {"rev": "revision", "number": "limit"}
    for each in inspect.signature(VERBS[name]).parameters.values():
        same = below.get(also.get(each.name, each.name))
        if each.kind is each.KEYWORD_ONLY and same is not None and same.default is not same.empty:
            assert each.default == same.default, each.name


# --- what they do

METRICS = "stages:\n  train:\n    cmd: echo loud; cat data/a > model; echo '{\"acc\":' $(cat lr.json | tr -cd 0-9.) '}' > metrics.json\n"
METRICS += "    deps: [data]\n    params: [{lr.json: [lr]}]\n    outs: [model]\n    metrics: [{path: metrics.json, cache: false, better: {acc: higher}}]\n"


def work(project):
    """Two versions of a directory and of a model, pushed."""
    for name in ("a", "b", "sub/c"):
        project.write(f"data/{name}", name)
    project.write("lr.json", '{"lr": 0.1}')
    project.write("dvlite.yaml", METRICS)
    project.dvlite("add", "data")
    project.dvlite("repro", "-q")
    project.commit("one")
    project.git("tag", "v1")
    project.write("data/a", "changed")
    project.dvlite("add", "data")
    project.dvlite("repro", "-q", "-S", "lr=0.2")
    project.commit("two")
    project.dvlite("push", "--all-commits")
    project.dvlite("push")


@pytest.fixture
def worked(prepared, monkeypatch):  # noqa: F811
    project = prepared("python-api", work)
    monkeypatch.chdir(project.root)
    return project


def without_times(value):
    """Returns JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in ("now", "elapsed_seconds")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.long
def test_results_are_those_of_the_command_line(worked):
    repo = dvlite.Repo()
    pairs = [
        (repo.status(), "status"),
        (repo.status(remote=True), "status --remote"),
        (repo.ls("data", recursive=True, long=True), "ls -R -l data"),
        (repo.ls("data", rev="v1"), "ls data --rev v1"),
        (repo.diff("v1"), "diff v1"),
        (repo.diff("v1", "HEAD", paths="data/a"), "diff v1 HEAD -- data/a"),
        (repo.log("data", number=1), "log data -n 1"),
        (repo.params("v1"), "params diff v1"),
        (repo.metrics("v1", "HEAD"), "metrics show v1 HEAD"),
        (repo.metrics_diff("v1", rtol=0.5), "metrics diff v1 --rtol 0.5"),
        (repo.runs(metric="acc>0.1", columns=["acc", "lr"]), "runs list --metric acc>0.1 --all --columns acc,lr"),
        (repo.runs_best("acc"), "runs best acc"),
        (repo.runs_show("last"), "runs show last"),
        (repo.lineage("model"), "lineage model"),
        (repo.lineage_find("lr=0.1", number=3), "lineage find lr=0.1 -n 3"),
        (repo.lineage_diff("v1:model", "model"), "lineage diff v1:model model"),
        (repo.verify(remote=True), "verify --remote"),
        (repo.fetch(dry_run=True, all_tags=True), "fetch -n --all-tags"),
        (repo.push(dry_run=True), "push -n"),
        (repo.repro(dry_run=True), "repro -n"),
    ]
    for result, words in pairs:
        shown = worked.json(*words.split(), code=None)
        assert without_times(json.loads(to_json(result))) == without_times(shown), words
    names = [row["name"] for row in repo.runs().records()]
    assert len(names) == 2
    compared = repo.runs_compare(*names).records()
    assert {row["key"] for row in compared} >= {"lr.json:lr"}
    assert repo.runs_diff(*names).old.name == names[0]


@pytest.mark.long
def test_data_goes_in_and_out(worked, tmp_path, colleague_of):
    repo = dvlite.Repo(worked.root)
    worked.write("new/x", "x")
    assert repo.add("new").staged == ("new.dvlite", ".gitignore")
    repo.add(worked.write("../elsewhere", "e"), output="taken", stage=False)
    assert worked.read("taken") == b"e"
    worked.commit("three")
    assert [path.path for path in repo.push("new").paths] == ["new"]
    there = colleague_of(worked)
    other = dvlite.Repo(there)
    assert not other.pull("new", "data", "model").checkout.unusable
    assert (there / "data" / "a").read_bytes() == b"changed"
    other.fetch(all_tags=True)
    other.checkout("data", rev="v1")
    assert (there / "data" / "a").read_bytes() == b"a"
    other.checkout("data", rev="HEAD")
    other.get("data/sub", tmp_path / "copied", rev="v1")
    assert (tmp_path / "copied" / "c").read_bytes() == b"sub/c"
    ran = other.repro(set={"lr": 0.5})
    assert [run.state for run in ran.outcome.stages] == ["ok"]
    assert json.loads((there / "lr.json").read_bytes()) == {"lr": 0.5}


@pytest.mark.long
def test_data_of_others_is_imported_and_follows(worked, tmp_path, prepared_other):
    repo, other = dvlite.Repo(), dvlite.Repo(prepared_other)
    assert repo.import_(prepared_other, "birds", output="theirs").path.path == "theirs"
    (prepared_other / "birds" / "new").write_text("new")
    other.add("birds")
    subprocess.run(["git", "commit", "-qam", "more"], cwd=prepared_other, check=True)
    assert [path.state for path in repo.update(dry_run=True).paths] == ["behind"]
    repo.update("theirs")
    assert worked.read("theirs/new") == b"new"
    (tmp_path / "raw.csv").write_text("a,b\n")
    repo.import_url(tmp_path / "raw.csv", "raw.csv")
    assert worked.read("raw.csv") == b"a,b\n"


@pytest.fixture
def prepared_other(tmp_path, worked, invoke):
    other = tmp_path / "other"
    for words in (("init", "-q", str(other)), ("-C", str(other), "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run(["git", *words], check=True)
    invoke("init", "--no-hooks", "-q", cwd=other, check=True)
    (other / "birds").mkdir()
    (other / "birds" / "a").write_text("a")
    invoke("add", "-q", "birds", cwd=other, check=True)
    subprocess.run(["git", "-C", str(other), "commit", "-qam", "birds"], check=True)
    return other


def test_paths_start_at_the_folder_of_the_repo_wherever_the_process_is(worked, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model").write_text("another")
    monkeypatch.chdir(tmp_path / "elsewhere")
    repo = dvlite.Repo(worked.root / "data")
    assert repo.lineage("../model").subject.path == "model"
    assert dvlite.Repo(worked.root).lineage("model").up.runs
    assert [entry.path for entry in repo.ls("sub").entries] == ["data/sub/c"]
    assert repo.log("a", number=1).path == "data/a"
    worked.write("raw", "r")
    assert dvlite.Repo(worked.root).add("raw", output="taken").paths[0].path == "taken"


def test_a_repo_that_must_not_wait_says_that_another_command_works(worked):
    with files.lock(worked.root / ".git" / "dvlite" / "lock", wait=False), pytest.raises(dvlite.Busy) as busy:
        dvlite.Repo(wait=False).add("data")
    assert busy.value.exit_code == 11


@pytest.fixture
def colleague_of(tmp_path):
    def clone(project):
        subprocess.run(["git", "clone", "-q", str(project.root), str(tmp_path / "there")], check=True)
        return tmp_path / "there"

    return clone


def test_a_revision_of_the_repo_is_what_is_read(worked):
    repo = dvlite.Repo(rev="v1")
    assert repo.ls("data/a").entries[0].size_bytes == 1
    assert [row["acc"] for row in repo.metrics().records()] == [0.1]
    assert (repo.diff().old, repo.diff().new) == ("HEAD", "v1")
    assert repo.log("data").versions[0].commit.subject == "one"
    assert repo.verify().revision == "v1"
    assert repo.lineage("model").subject.oid == dvlite.Repo().lineage("v1:model").subject.oid


def test_a_far_repository_and_a_remote_alone_are_read(worked, tmp_path, monkeypatch):
    worked.git("branch", "other", "v1")
    worked.git("clone", "-q", "--bare", str(worked.root), str(tmp_path / "far.git"))
    worked.write(
        ".dvlite/config.yaml", worked.read(".dvlite/config.yaml").replace(b"../store", bytes(tmp_path / "store"))
    )
    worked.commit("A remote that all find")
    worked.git("push", "-q", str(tmp_path / "far.git"), "main")
    monkeypatch.chdir(tmp_path)
    far = dvlite.Repo(f"file://{tmp_path}/far.git")
    with pytest.raises(dvlite.DvliteError, match="relative to a clone"):
        dvlite.Repo(f"file://{tmp_path}/far.git", rev="v1").runs()
    assert {entry.path for entry in far.ls().entries} >= {"data", "model", "lr.json"}
    assert [row["path"] for row in far.diff("other").records()] == ["data/a", "model"]
    assert [row["acc"] for row in far.metrics("v1", "HEAD").records()] == [0.1, 0.2]
    assert len(far.runs().runs) == 2
    assert far.lineage("model").up.runs
    assert len(far.log("data").versions) == 2
    far.get("data/a", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"changed"
    with pytest.raises(dvlite.UsageError, match="needs a clone"):
        far.add("x")
    place = dvlite.Repo(remote=str(tmp_path / "store"))
    snapshot = next(each.snapshot for each in place.ls().snapshots if each.count == 2)
    assert place.ls(snapshot[:12]).entries
    at = dvlite.Repo(remote=str(tmp_path / "store"), rev=snapshot[:12])
    assert {entry.path for entry in at.ls().entries} == {"data", "model"}
    assert at.get("data/b", tmp_path / "b").size_bytes == 1
    assert place.lineage(dvlite.Repo(worked.root).lineage("model").subject.oid).up.runs
    with pytest.raises(dvlite.UsageError, match="needs a repository"):
        place.diff("v1")


def test_a_password_in_an_address_is_not_shown():
    repo = dvlite.Repo("https://me:secret@example.com/birds.git", rev="v1")
    assert repr(repo) == "Repo('https://example.com/birds.git', rev='v1')"
    with pytest.raises(dvlite.UsageError) as refused:
        repo.add("x")
    assert "secret" not in str(refused.value)


# --- errors


def test_errors_have_hint_exit_code_and_what_was_done(worked, tmp_path):
    repo = dvlite.Repo()
    with pytest.raises(dvlite.UsageError) as wrong:
        repo.get("nothing")
    assert wrong.value.exit_code == 2
    assert wrong.value.__notes__ == [f"hint: {line}" for line in wrong.value.hint.splitlines()]
    with pytest.raises(dvlite.NotARepository):
        dvlite.Repo(tmp_path)
    with pytest.raises(dvlite.UsageError, match="cannot find"):
        dvlite.Repo("nowhere")
    worked.write("metrics.json", "{")
    with pytest.raises(dvlite.PartlyDone) as partly:
        repo.metrics()
    warnings = [f"warning: {sentence}" for sentence in partly.value.result.warnings]
    assert warnings
    assert partly.value.__notes__ == [*warnings, f"hint: {partly.value.hint}"]
    worked.write("dvlite.yaml", "stages:\n  bad:\n    cmd: exit 3\n    outs: [x]\n")
    with pytest.raises(dvlite.StageFailed) as failed:
        repo.repro()
    assert [run.state for run in failed.value.result.outcome.stages] == ["failed"]
    with pytest.raises(dvlite.UsageError, match="exclude each other"):
        repo.push(all_tags=True, all_branches=True)


# --- in a program


def test_nothing_goes_to_standard_output(worked, capfd, caplog):
    worked.write("data/.dvliteignore", "x")
    with caplog.at_level(logging.WARNING, "dvlite"):
        repo = dvlite.Repo()
        repo.add("data")
        repo.repro()
        repo.push()
        dvlite.Repo(progress="bar").pull()
    assert capfd.readouterr().out == ""
    assert caplog.records == []
    lines = []
    dvlite.Repo(progress=lines.append).repro("train", force=True, run_cache=False)
    assert "loud" in [event.message for event in lines if event.kind == "line"]
    assert capfd.readouterr().out == ""


def test_threads_share_a_repo(worked):
    for number in range(4):
        worked.write(f"part{number}", str(number))
    repo = dvlite.Repo()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(repo.add, f"part{number}") for number in range(4)]
        calls += [pool.submit(call) for call in (repo.status, repo.ls, repo.runs, lambda: repo.diff("v1"))]
        results = [call.result() for call in calls]
    assert [result.paths[0].path for result in results[:4]] == [f"part{number}" for number in range(4)]
    assert {entry.path for entry in repo.ls().entries} == {"data", "model", *(f"part{n}" for n in range(4))}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside the threads of pytest-xdist
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_a_repo_goes_to_other_processes(worked, method):
    repo = dvlite.Repo(rev="v1")
    repo.ls()  # whatever it keeps, it keeps now
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(repo.ls, ("data",)) == repo.ls("data")
        with pytest.raises(dvlite.UsageError) as wrong:
            pool.apply(repo.get, ("nothing",))
    assert wrong.value.hint
