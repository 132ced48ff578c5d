"""`dvlite repro`: what runs, what does not, and why; what the lockfile says afterwards."""

import pytest

from dvlite.git.program import Git
from dvlite.repo import ignore

LETTERS = "stages:\n  one:\n    cmd: cat a > out; echo one >> $RAN\n    deps: [a]\n    outs: [out]\n"


@pytest.fixture
def line(prepared_pipeline):
    """The three stages, run once and committed."""

    def build(pipeline):
        pipeline.line().dvlite("repro")
        pipeline.commit("Run")
        pipeline.ran()

    return prepared_pipeline("line", build)


# --- what runs


def test_first_run_runs_every_stage_in_order_and_says_what_it_made(pipeline):
    pipeline.line()
    done = pipeline.repro()
    assert [(name, each["state"]) for name, each in done.items()] == [
        ("prepare", "ok"),
        ("train", "ok"),
        ("report", "ok"),
    ]
    assert pipeline.ran() == ["prepare", "train", "report"]
    assert [each["path"] for each in done["train"]["outputs"]] == ["model.pt", "metrics.json"]
    assert done["train"]["metrics"] == [{"name": "metrics.json:acc", "value": 0.1, "old": None, "better": None}]
    assert pipeline.read("report.txt").strip() == b"12"
    assert "/model.pt" in pipeline.read(".gitignore").decode()


@pytest.mark.parametrize("stages", [2, 12])
def test_git_is_asked_once_for_all_outputs_and_gitignore_changes_once(pipeline, monkeypatch, stages):
    text = "".join(f"  s{n}: {{cmd: 'echo {n} > o{n}', outs: [o{n}]}}\n" for n in range(stages))
    pipeline.write("dvlite.yaml", f"stages:\n{text}")
    asked, written, ignored, write = [], [], Git.ignored, ignore.write_atomic
    monkeypatch.setattr(Git, "ignored", lambda git, paths: (paths and asked.append(paths), ignored(git, paths))[1])
    monkeypatch.setattr(ignore, "write_atomic", lambda path, data: (written.append(path.name), write(path, data)))
    pipeline.repro()
    assert written == [".gitignore", "exclude"]
    assert len(asked) == 4
    assert pipeline.read(".gitignore").decode().splitlines() == sorted(f"/o{n}" for n in range(stages))


def test_lines_of_outputs_that_no_stage_made_go_again(pipeline):
    pipeline.line()
    pipeline.edit("train.sh", "lr=", "exit 3; lr=")
    pipeline.write(".gitignore", "/report.txt\n")
    pipeline.repro(code=4)
    assert pipeline.read(".gitignore").decode().splitlines() == ["/report.txt", "/clean.txt"]


def test_second_run_does_nothing_and_changes_no_file(line):
    before = line.lock()
    done = line.dvlite("repro")
    assert "Everything is up to date: 3 stages" in done.stdout
    assert line.ran() == []
    assert line.lock() == before
    assert line.project.is_clean()


def test_dry_run_says_that_all_would_run_and_runs_nothing(pipeline):
    pipeline.line()
    assert pipeline.reasons() == {
        "prepare": [("never-run", "")],
        "train": [("never-run", ""), ("upstream", "")],
        "report": [("never-run", ""), ("upstream", "")],
    }
    assert pipeline.ran() == []
    assert not pipeline.has("dvlite.lock")


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("train.sh", "cat", "cat -u", ("dep-changed", "train.sh")),
        ("params.yaml", "1", "2", ("param-changed", "params.yaml:lr")),
        ("dvlite.yaml", "bash train.sh;", "bash ./train.sh;", ("cmd-changed", "cmd")),
        ("dvlite.yaml", "params: [lr]", "params: [lr]\n    env: {SEED: 1}", ("env-added", "SEED")),
        ("dvlite.yaml", "params: [lr]", "params: [lr]\n    capture: [{env: RAN}]", ("capture-added", "env RAN")),
        ("dvlite.yaml", "    params: [lr]\n", "", ("param-removed", "params.yaml:lr")),
        ("dvlite.yaml", "[train.sh, clean.txt]", "[train.sh, clean.txt, raw.txt]", ("dep-added", "raw.txt")),
        ("dvlite.yaml", "[train.sh, clean.txt]", "[clean.txt]", ("dep-removed", "train.sh")),
        ("dvlite.yaml", "outs: [model.pt]", "outs: [model.pt, extra]", ("output-added", "extra")),
        ("dvlite.yaml", "    metrics: [metrics.json]\n", "", ("output-removed", "metrics.json")),
    ],
)
def test_what_changed_is_the_reason_that_the_stage_would_run(line, path, old, new, expected):
    line.edit(path, old, new)
    assert line.reasons() == {"train": [expected], "report": [("upstream", "")]}
    assert line.ran() == []


def test_reasons_hold_old_and_new_values(line):
    line.edit("params.yaml", "1", "0.5")
    why = line.repro("-n", code=1)["train"]["reasons"]
    assert why == [
        {"kind": "param-changed", "name": "params.yaml:lr", "old": 1, "new": 0.5, "counts": None, "files": None}
    ]
    assert "  lr 1 -> 0.5\n" in line.dvlite("repro", "-n", "--explain", code=1).stdout
    assert "  lr 1 -> 0.5\n" in line.dvlite("repro", "--explain").stdout


def test_type_of_a_parameter_counts(line):
    line.edit("params.yaml", "1", "'1'")
    assert line.reasons()["train"] == [("param-changed", "params.yaml:lr")]


def test_captured_variable_that_changes_makes_its_stage_run(pipeline, monkeypatch):
    pipeline.write("a", "a")
    pipeline.write("dvlite.yaml", LETTERS + "    capture: [{env: MODE}, {cmd: cat version}]\n")
    pipeline.write("version", "1")
    pipeline.dvlite("repro")
    assert pipeline.locked("one").facts.capture == {"env MODE": "not set", "command cat version": "1"}
    assert pipeline.is_up_to_date()
    monkeypatch.setenv("MODE", "fast")
    assert pipeline.reasons() == {"one": [("capture-changed", "env MODE")]}
    monkeypatch.delenv("MODE")
    pipeline.write("version", "2")
    assert pipeline.is_up_to_date(), "a dry run starts no program that the pipeline names"
    assert pipeline.repro()["one"]["reasons"][0]["name"] == "command cat version"


def test_captured_package_is_that_of_the_python_that_the_stage_finds(pipeline):
    pipeline.write("a", "a")
    pipeline.write("dvlite.yaml", LETTERS + "    capture: [click, not-a-package]\n")
    pipeline.dvlite("repro")
    captured = pipeline.locked("one").facts.capture
    assert set(captured) == {"click", "not-a-package"}
    assert captured["not-a-package"] == "not installed"


def test_output_that_comes_out_equal_leaves_what_needs_it_up_to_date(line):
    line.write("raw.txt", "SOME DATA\n")
    assert line.states("-n", code=1) == {"prepare": "would run", "train": "may run", "report": "may run"}
    assert line.states() == {"prepare": "ok", "train": "up to date", "report": "up to date"}
    assert line.ran() == ["prepare"]
    assert line.is_up_to_date()


def test_everything_is_said_of_a_clone_without_data(line, colleague, tmp_path):
    line.dvlite("remote", "add", tmp_path / "store")
    line.commit("The outputs may be on a remote")
    other = type(line)(colleague(line), line._ran)
    assert not other.has("model.pt")
    assert other.is_up_to_date()
    other.edit("params.yaml", "1", "2")
    assert other.reasons() == {"train": [("param-changed", "params.yaml:lr")], "report": [("upstream", "")]}
    other.edit("params.yaml", "2", "1")
    other.write("train.sh", "exit 1")
    assert other.reasons() == {"train": [("dep-changed", "train.sh")], "report": [("upstream", "")]}
    assert other.ran() == []
    assert not other.has("model.pt")
    assert not other.has("clean.txt")


def test_folder_that_holds_tracked_data_is_known_in_a_clone_without_it(pipeline, colleague, tmp_path):
    pipeline.dvlite("remote", "add", tmp_path / "store")
    pipeline.write("data/raw/x", "x")
    pipeline.write("data/notes.txt", "n")
    pipeline.dvlite("add", "data/raw")
    pipeline.write("dvlite.yaml", "stages: {all: {cmd: ls -R data > out, deps: [data], outs: [out]}}")
    pipeline.dvlite("repro")
    assert pipeline.is_up_to_date()
    pipeline.commit()
    other = type(pipeline)(colleague(pipeline), pipeline._ran)
    assert other.is_up_to_date()
    other.edit("data/notes.txt", "n", "m")
    other.refused(code=12)


def test_folder_that_git_ignores_counts_as_it_is(pipeline):
    pipeline.write(".gitignore", "scratch\n")
    pipeline.write("scratch/x", "1")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: cat scratch/x > out, deps: [scratch], outs: [out]}}")
    pipeline.dvlite("repro")
    pipeline.write("scratch/x", "2")
    assert pipeline.reasons() == {"one": [("dep-changed", "scratch")]}


def test_folder_that_git_knows_counts_only_what_git_does_not_ignore(pipeline):
    pipeline.write(".gitignore", "*.tmp\n")
    pipeline.write("src/a.py", "1")
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: cat src/a.py > out, deps: [src], outs: [out]}}")
    pipeline.dvlite("repro")
    pipeline.write("src/x.tmp", "1")
    pipeline.write("src/__pycache__/a.pyc", "1")
    assert pipeline.is_up_to_date()
    pipeline.write("src/b.py", "1")
    assert pipeline.reasons() == {"one": [("dep-changed", "src")]}


def test_works_before_the_first_commit(tmp_path, invoke):
    import subprocess

    from tests.commands.project import Project

    subprocess.run(["git", "init", "-q", str(tmp_path / "new")], check=True)
    new = Project(tmp_path / "new", invoke)
    new.dvlite("init", "--no-hooks")
    new.write("a", "a")
    new.write("dvlite.yaml", "stages: {one: {cmd: cat a > out, deps: [a], outs: [out]}}")
    assert new.json("repro")["stages"][0]["state"] == "ok"
    assert new.json("repro", "-n")["stages"][0]["state"] == "up to date"


def test_command_sees_its_name_its_key_and_its_variables(pipeline):
    pipeline.write("sub/dvlite.yaml", "stages: {one: {cmd: env > out, env: {SEED: 7, ON: true}, outs: [out]}}")
    pipeline.dvlite("repro")
    seen = dict(line.split("=", 1) for line in pipeline.read("sub/out").decode().splitlines() if "=" in line)
    assert seen["DVLITE_STAGE"] == "sub:one"
    assert seen["DVLITE_KEY"] == pipeline.locked("one", "sub").key
    assert (seen["SEED"], seen["ON"]) == ("7", "true")
    assert seen["PWD"] == str(pipeline.root / "sub")


def test_list_of_commands_is_one_script_that_stops_at_the_first_failure(pipeline):
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: ['x=5', 'echo $x > out'], outs: [out]}}")
    pipeline.dvlite("repro")
    assert pipeline.read("out") == b"5\n"
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: ['false | cat > out', 'echo $x > out'], outs: [out]}}")
    assert pipeline.states(code=4) == {"one": "failed"}


def test_output_of_commands_is_shown_and_kept(pipeline):
    pipeline.write("dvlite.yaml", "stages: {one: {cmd: 'echo hello; echo world >&2; touch out', outs: [out]}}")
    done = pipeline.dvlite("repro")
    assert "hello\nworld\n" in done.stderr
    assert pipeline.records()[0].log is not None


# --- targets


def test_target_is_a_stage_an_output_or_something_in_one_with_what_is_before_it(line):
    for target in ("train", "model.pt", "metrics.json"):
        assert list(line.states(target)) == ["prepare", "train"]
    assert list(line.states("train", "--single")) == ["train"]
    assert list(line.states("train", "--downstream")) == ["train", "report"]
    assert list(line.states("dvlite.yaml")) == ["prepare", "train", "report"]


def test_unknown_target_is_answered_with_the_nearest(line):
    said = line.refused("trian", code=2)
    assert "'trian' is neither a stage nor an output of one" in said
    assert "did you mean train?" in said


def test_force_runs_the_targets_and_leaves_the_lockfile_as_it_was(line):
    before = line.lock()
    assert line.states("train", "--force") == {"prepare": "up to date", "train": "ok"}
    assert line.ran() == ["train"]
    line.dvlite("repro", "--force")
    assert line.ran() == ["prepare", "train", "report"]
    assert line.lock() == before
    assert len(line.records("train")) == 3


def test_frozen_stage_is_run_only_if_it_is_named_and_forced(line):
    line.edit("dvlite.yaml", "  train:\n", "  train:\n    frozen: true\n")
    line.edit("params.yaml", "1", "2")
    assert line.states() == {"prepare": "up to date", "train": "frozen", "report": "up to date"}
    assert line.is_up_to_date()
    assert line.states("--force")["train"] == "frozen"
    assert "train" not in line.ran()
    assert line.states("--force", "train")["train"] == "ok"


def test_stage_that_runs_always_runs_always(pipeline):
    pipeline.write("a", "a")
    pipeline.write("dvlite.yaml", LETTERS + "    always: true\n")
    pipeline.dvlite("repro")
    before = pipeline.lock()
    assert pipeline.reasons() == {"one": [("always", "")]}
    assert pipeline.states() == {"one": "ok"}
    assert pipeline.ran() == ["one", "one"]
    assert pipeline.lock() == before


# --- several files


@pytest.fixture
def folders(pipeline):
    """A stage in `data/` makes what one in `models/big/` and one at the root need."""
    pipeline.write("data/dvlite.yaml", "stages: {get: {cmd: echo 1 > raw, outs: [raw]}}")
    pipeline.write(
        "models/big/dvlite.yaml",
        "stages: {fit: {cmd: cp ../../data/raw model, deps: [../../data/raw], outs: [model]}}",
    )
    pipeline.write("dvlite.yaml", "stages: {end: {cmd: cat data/raw models/big/model > end, "
                   "deps: [data/raw, models/big/model], outs: [end]}}")  # fmt: skip
    return pipeline


def test_several_files_form_one_graph(folders):
    assert folders.states() == {"data:get": "ok", "models/big:fit": "ok", "end": "ok"}
    assert folders.read("end") == b"1\n1\n"
    assert [dep.path for dep in folders.locked("fit", "models/big").deps] == ["../../data/raw"]
    assert folders.is_up_to_date()
    folders.edit("data/dvlite.yaml", "echo 1", "echo 2")
    assert folders.states("-n", code=1) == {"data:get": "would run", "models/big:fit": "may run", "end": "may run"}


def test_targets_are_seen_from_the_current_folder(folders):
    assert list(folders.states("fit", cwd="models/big")) == ["data:get", "models/big:fit"]
    assert list(folders.states("model", cwd="models/big")) == ["data:get", "models/big:fit"]
    assert list(folders.states("models", "--single")) == ["models/big:fit"]
    assert list(folders.states("models/big:fit", "--single")) == ["models/big:fit"]
    assert list(folders.states("big:fit", "--single", cwd="models")) == ["models/big:fit"]
    assert list(folders.states(cwd="models/big")) == ["data:get", "models/big:fit", "end"]


def test_broken_file_breaks_only_what_depends_on_it(folders):
    folders.dvlite("repro")
    folders.write("models/big/dvlite.yaml", "stages:\n  fit:\n    cmd: x\n    dep: [a]\n")
    said = folders.refused()
    assert "models/big/dvlite.yaml' line 4: 'dep' is not known in a stage; did you mean 'deps'?" in said
    done = folders.dvlite("repro", "data:get")
    assert "models/big/dvlite.yaml" in done.stderr
    assert "warning: " in done.stderr
    assert folders.states("data:get") == {"data:get": "up to date"}
    folders.refused("end")


# --- the lockfile


def test_lockfile_has_the_order_of_the_pipeline_file(pipeline):
    pipeline.write("a", "a")
    stage = "  {0}: {{cmd: cp {1} {0}.out, deps: [{1}], outs: [{0}.out]}}\n"
    pipeline.write("dvlite.yaml", "stages:\n" + stage.format("z", "m.out") + stage.format("m", "a"))
    assert list(pipeline.repro()) == ["m", "z"]
    text = pipeline.lock().decode()
    assert text.index("\n  z:\n") < text.index("\n  m:\n")


def test_only_the_entry_of_what_changed_changes(line):
    before = {name: line.locked(name) for name in ("prepare", "train", "report")}
    line.edit("params.yaml", "1", "2")
    line.dvlite("repro")
    assert line.locked("prepare") == before["prepare"]
    assert line.locked("train").run != before["train"].run
    assert line.locked("report").run != before["report"].run
    assert line.locked("report").outs == before["report"].outs


def test_removed_stage_leaves_the_lockfile(line):
    text = line.read("dvlite.yaml").decode()
    line.write("dvlite.yaml", text[: text.index("  report:")])
    assert line.states() == {"prepare": "up to date", "train": "up to date"}
    assert line.locked("report") is None
    assert line.locked("train") is not None


def test_lockfile_names_the_run_that_made_the_outputs(line):
    run = line.records("train")[0]
    found = line.repro("train", "--force")["train"]
    assert line.locked("train").run != found["run"]
    assert line.locked("train").key == run.key
    assert {each.path: each.oid for each in line.locked("train").outs} == {out.path: out.oid for out in run.outputs}
    assert (run.status, run.stage, run.file) == ("ok", "train", "dvlite.yaml")
    assert run.facts.params == {"params.yaml:lr": 1}
    assert run.metrics == {"metrics.json:acc": 0.1}
    assert run.code.commit == line.git("rev-parse", "HEAD~").strip()


def test_lockfile_and_git_files_are_staged(line):
    line.edit("params.yaml", "1", "2")
    done = line.json("repro")
    assert done["staged"] == ["dvlite.lock"]
    line.git("reset", "-q")
    line.edit("params.yaml", "2", "3")
    assert line.json("repro", "--no-stage")["unstaged"] == ["dvlite.lock"]
    line.edit("params.yaml", "3", "4")
    assert "next: git add dvlite.lock params.yaml && git commit\n" in line.dvlite("repro", "--no-stage").stdout
    assert line.git("diff", "--cached", "--name-only") == ""


# --- patterns


GLOB = "stages: {all: {cmd: 'cat parts/*.txt > all', deps: ['parts/*.txt'], outs: [all]}}"


def test_pattern_of_dependencies_is_recorded_as_what_it_matched(pipeline):
    pipeline.write("parts/a.txt", "a")
    pipeline.write("parts/b.txt", "b")
    pipeline.write("dvlite.yaml", GLOB)
    pipeline.dvlite("repro")
    assert [dep.path for dep in pipeline.locked("all").deps] == ["parts/a.txt", "parts/b.txt"]
    pipeline.write("parts/c.txt", "c")
    assert pipeline.reasons() == {"all": [("dep-added", "parts/c.txt")]}
    (pipeline.root / "parts/c.txt").unlink()
    (pipeline.root / "parts/a.txt").unlink()
    assert pipeline.reasons() == {"all": [("dep-removed", "parts/a.txt")]}


def test_pattern_of_outputs_is_recorded_as_what_was_made(pipeline):
    pipeline.write("n", "3")
    pipeline.write(
        "dvlite.yaml",
        "stages:\n"
        "  split: {cmd: 'mkdir -p parts; for i in $(seq $(cat n)); do echo $i > parts/$i.txt; done', deps: [n], "
        "outs: ['parts/*.txt']}\n"
        "  join: {cmd: 'cat parts/*.txt > all', deps: ['parts/*.txt'], outs: [all]}\n",
    )
    assert pipeline.states() == {"split": "ok", "join": "ok"}
    assert [out.path for out in pipeline.locked("split").outs] == ["parts/1.txt", "parts/2.txt", "parts/3.txt"]
    assert pipeline.is_up_to_date()
    pipeline.write("n", "2")
    assert pipeline.states() == {"split": "ok", "join": "ok"}
    assert [out.path for out in pipeline.locked("split").outs] == ["parts/1.txt", "parts/2.txt"]
    assert [dep.path for dep in pipeline.locked("join").deps] == ["parts/1.txt", "parts/2.txt"]
    assert pipeline.read("all") == b"1\n2\n"
    assert pipeline.is_up_to_date()


# --- -S


def test_setting_a_parameter_writes_the_file_keeps_comments_and_says_so(line):
    line.write("params.yaml", "# how fast\nlr: 1  # was 2\nother: {a: 1}\n")
    done = line.dvlite("repro", "-S", "lr=0.5")
    assert done.stdout.splitlines()[0] == "params.yaml: lr 1 -> 0.5"
    assert line.read("params.yaml") == b"# how fast\nlr: 0.5  # was 2\nother: {a: 1}\n"
    assert line.ran() == ["train", "report"]


def test_setting_several_parameters_writes_all_or_none(line):
    line.write("conf.toml", "seed = 1\n")
    line.refused("-S", "lr=5", "-S", "nowhere.yaml:x=1", code=2)
    assert line.read("params.yaml") == b"lr: 1\n"
    assert line.json("repro", "-S", "lr=5", "-S", "conf.toml:seed=2")["params_set"] == [
        {"file": "params.yaml", "name": "lr", "old": 1, "new": 5},
        {"file": "conf.toml", "name": "seed", "old": 1, "new": 2},
    ]
    assert line.read("conf.toml") == b"seed = 2\n"


def test_parameter_that_was_written_is_said_though_nothing_could_run(line):
    line.edit("dvlite.yaml", "[train.sh, clean.txt]", "[train.sh, clean.txt, nowhere]")
    assert "warning: 'params.yaml' was changed: lr is 5 now" in line.refused("-S", "lr=5")


def test_setting_needs_a_value(line):
    line.refused("-S", "lr", code=2)
    assert line.read("params.yaml") == b"lr: 1\n"


# --- privacy


def test_value_of_a_variable_that_nobody_named_is_nowhere(pipeline, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "s3cr3t-value")
    monkeypatch.setenv("NAMED", "public-value")
    pipeline.write("a", "a")
    pipeline.write("dvlite.yaml", LETTERS + "    capture: [{env: NAMED}]\n")
    pipeline.dvlite("repro")
    pipeline.dvlite("status")
    files = [path for path in pipeline.root.rglob("*") if path.is_file()]
    assert any(b"public-value" in path.read_bytes() for path in files)
    assert not any(b"s3cr3t-value" in path.read_bytes() for path in files)


def test_only_repro_runs_commands(pipeline, tmp_path):
    pipeline.write("dvlite.yaml", f"stages: {{bad: {{cmd: touch {tmp_path}/PWNED, outs: [x], "
                   f"capture: [{{cmd: touch {tmp_path}/PWNED}}]}}}}")  # fmt: skip
    pipeline.commit()
    for words in (["status"], ["dag"], ["repro", "-n"], ["repro", "-n", "--explain"], ["ls"], ["diff"], ["doctor"]):
        pipeline.project._invoke(*words, cwd=pipeline.root)
    pipeline.git("clone", "-q", ".", str(tmp_path / "clone"))
    assert not (tmp_path / "PWNED").exists()


@pytest.fixture
def sums(prepared_pipeline):
    """A stage that reads a tracked folder, run and committed."""

    def build(pipeline):
        pipeline.write("data/1", "one\n")
        pipeline.dvlite("add", "data")
        pipeline.write("dvlite.yaml", "stages:\n  sum: {cmd: cat data/* > sum.txt, deps: [data], outs: [sum.txt]}\n")
        pipeline.dvlite("repro")
        pipeline.commit("one")

    return prepared_pipeline("sums", build)


def test_changed_data_that_a_stage_reads_is_added_first(sums):
    sums.write("data/1", "precious\n")
    found = sums.json("repro")
    assert [path["path"] for path in found["added"]] == ["data"]
    assert {"data.dvlite", "dvlite.lock"} == set(found["staged"])
    sums.git("commit", "-qm", "two")
    sums.write("data/1", "one\n")
    sums.dvlite("add", "-u")
    sums.dvlite("repro")
    sums.git("commit", "-qm", "three")
    sums.dvlite("checkout", "--rev", "HEAD~1")
    assert sums.read("data/1") == b"precious\n"


def test_no_add_refuses_changed_data_before_anything_runs(sums):
    sums.write("data/1", "precious\n")
    before = sums.read("dvlite.lock"), sums.read("data.dvlite")
    done = sums.dvlite("repro", "--no-add", code=1)
    assert "hint: dvlite add data, or leave out --no-add" in done.stderr
    assert before == (sums.read("dvlite.lock"), sums.read("data.dvlite"))


def test_a_lockfile_that_is_ahead_of_its_pointer_is_settled_by_repro(sums):
    sums.write("data/1", "precious\n")
    sums.dvlite("repro")
    sums.git("checkout", "-q", "HEAD", "--", "data.dvlite")
    assert "fix: dvlite repro sum" in sums.dvlite("verify", code=1).stdout
    assert sums.states("sum") == {"sum": "up to date"}
    sums.git("commit", "-qm", "both")
    sums.dvlite("verify", "--rev", "HEAD")


def test_a_section_of_parameters_is_not_replaced_by_a_value(sums):
    sums.write("params.yaml", "net: {lr: 1, depth: 2}\n")
    done = sums.dvlite("repro", "-S", "net=1", code=2)
    assert "'net' in 'params.yaml' is a section ('lr', 'depth'), not a value" in done.stderr
    assert "-S net.lr=..." in done.stderr
    assert sums.read("params.yaml") == b"net: {lr: 1, depth: 2}\n"


def test_a_frozen_stage_takes_nothing_in(sums):
    sums.edit("dvlite.yaml", "sum: {", "sum: {frozen: true, ")
    sums.write("data/1", "precious\n")
    assert sums.json("repro")["added"] == []


def test_a_number_that_pyyaml_reads_as_text_is_named_before_a_stage_runs(pipeline):
    pipeline.write("dvlite.yaml", "stages: {s: {cmd: cp params.yaml o, params: [lr, n], outs: [o]}}")
    pipeline.write("params.yaml", "lr: 1e-5\nn: 2e3\n")
    for words in (("-n",), ()):
        said = pipeline.dvlite("repro", *words, code=None).stderr
        assert "'params.yaml', line 1: PyYAML reads 1e-5 (and 1 more) as text; 1.0e-05 is a number for all" in said
    pipeline.dvlite("repro", "-S", "lr=0.00001", "-S", "n=2e3")
    assert pipeline.read("params.yaml") == b"lr: 1.0e-05\nn: 2000.0\n"
    assert "PyYAML" not in pipeline.dvlite("repro").stderr
