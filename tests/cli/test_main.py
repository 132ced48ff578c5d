"""The command line itself: flags, wrong words, errors and exit codes. The verbs here are stand-ins that record their call."""

import importlib
import json
import os
import pty
import select
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from dvlite.cli import main
from dvlite.cli import options as frame
from dvlite.commands.add import AddResult
from dvlite.commands.clone import CloneResult
from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.get import GetResult
from dvlite.commands.ls import LsEntry, LsResult
from dvlite.commands.remote import RemoteAddResult, RemoteRow, RemoteTrustResult
from dvlite.commands.status import StatusResult
from dvlite.errors import DvliteError, ObjectCorrupt, Untrusted
from dvlite.share.fetch_plan import FetchResult, PullResult
from dvlite.share.publish import PushResult
from dvlite.workspace.changes import Counts
from dvlite.workspace.fetch import MovedPath
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult

CLEAN = StatusResult(clean=True, tracked=3)
DIRTY = StatusResult(clean=False, tracked=3)
PULLED = PullResult(fetch=FetchResult(remote="origin"), checkout=CheckoutResult())


class Call:
    """What a stand-in verb was called with."""

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}
        self.cwd = ""


@pytest.fixture
def project(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (git_repo / ".dvlite").mkdir()
    (git_repo / ".dvlite" / "config.yaml").write_text("")
    monkeypatch.chdir(git_repo)
    return git_repo


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """Puts a function in place of a verb's module: it records its call and returns, or raises, what it is told."""

    def put(module: str, outcome: Any, *names: str) -> Call:
        call = Call()

        def verb(*args: Any, **options: Any) -> Any:
            call.args, call.options, call.cwd = args, options, os.getcwd()
            result = outcome(*args, **options) if callable(outcome) else outcome
            if isinstance(result, BaseException):
                raise result
            return result

        fake = types.ModuleType(f"dvlite.commands.{module}")
        fake.__dict__.update(vars(importlib.import_module(fake.__name__)))
        for name in names or (module,):
            setattr(fake, name, verb)
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
        return call

    return put


def verbs_of(group: click.Group, words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from verbs_of(command, f"{words} {name}")
        else:
            yield f"{words} {name}"


DEFAULTS = {"dvlite lineage show": "dvlite lineage", "dvlite runs list": "dvlite runs"}  # what the bare group does
VERBS = ["dvlite", *verbs_of(main.app, "dvlite")]


def test_json_loads_no_words(project):
    (project / "data.txt").write_text("1")
    commands = [
        "status",
        "ls",
        "doctor",
        "config",
        "remote+list",
        "add+data.txt",
        "push",
        "stage+list",
        "dag",
        "runs",
        "verify",
    ]
    code = (
        "import sys; from dvlite.cli.main import main\n"
        "for words in sys.argv[1:]: main([*words.split('+'), '--json']); print('after', words, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("after ")]
    assert len(lines) == len(commands)
    for _, command, *modules in lines:
        assert "dvlite.cli.terminal" in modules
        words = [name for name in modules if name.startswith(("dvlite.text", "dvlite.reports."))]
        assert not words, command


def test_loading_the_command_line_loads_no_verb_and_nothing_slow():
    slow = {
        "rich",
        "yaml",
        "fsspec",
        "botocore",
        "importlib.metadata",
        "json",
        "dvlite.cli.terminal",
        "dvlite.results",
        "dvlite.files",
    }
    code = f"import sys, dvlite.cli.main; print(sorted(set(sys.modules) & {slow}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("verb", VERBS[1:])
def test_help_of_a_verb_ends_with_an_example_and_the_exit_codes(verb, invoke):
    done = invoke(*verb.split()[1:], "--help", check=True)
    example, codes = done.stdout.split("Example:\n")[1].split("\n\n")
    assert example.strip().removeprefix('eval "$(').startswith(DEFAULTS.get(verb, verb))
    assert " ".join(codes.split()).startswith("Exit codes: 0 ok, 1 ")
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_help_lists_every_verb_in_a_section(invoke):
    out = invoke("--help", check=True).stdout
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2:3].isalpha()]
    shown = {name for name, command in main.app.commands.items() if not command.hidden}
    assert shown == {verb.name for verbs in main.app.sections.values() for verb in verbs if not verb.hidden}
    assert shown <= set(listed)
    assert len(out.splitlines()) < 96


def test_version_is_one_line(invoke):
    assert invoke("--version", check=True).stdout.startswith("dvlite 0.")


def test_no_verb_prints_the_help_and_is_a_usage_error(invoke):
    done = invoke()
    assert (done.returncode, done.stdout) == (2, "")
    assert "checkout" in done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("chekout", "checkout"), ("stauts", "status"), ("download", "pull"), ("delete", "rm"), ("version", "--version")],
)
def test_a_wrong_verb_is_answered_in_three_lines_with_the_one_meant(invoke, typed, meant):
    done = invoke(typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"error: 'dvlite {typed}' is not a command",
        f"hint: did you mean: dvlite {meant}",
        "hint: all commands: dvlite --help",
    ]


def test_a_wrong_verb_in_a_group_is_answered_too(invoke):
    for words, meant in (("remov", "remove"), ("rm x", "remove"), ("set-url", "set"), ("help add", "add --help")):
        assert f"hint: did you mean: dvlite remote {meant}" in invoke("remote", *words.split()).stderr
    assert "hint: did you mean: dvlite stage rename" in invoke("stage", "mv").stderr
    assert len(invoke("xyzzy").stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "--foo"], "no such option '--foo'"),
        (["mv", "a"], "missing argument 'TARGET'"),
        (["push", "-j", "0"], "0 is not in the range"),
        (["add"], "no path is given"),
        (["remote", "add", "a", "b", "c"], "expected [NAME] URL, got 3 words"),
        (["remote", "add", "/data", "-o", "region"], "'region' is not KEY=VALUE"),
        (["get", "a", "b", "-o", "-", "--json"], "-o - and --json both want standard output"),
        (["cache", "prune"], "choose what to prune"),
        (["add", "a", ""], "an argument is empty"),
        (["push", "-r", ""], "--remote is empty"),
        (["-C", "", "status"], "-C is empty"),
        (["status", "--", ""], "an argument is empty"),
        (["--color", "sometimes", "status"], "'sometimes' is not one of"),
    ],
)
def test_a_usage_error_is_one_line_a_hint_and_2(invoke, stand_in, arguments, message):
    for module, *names in (
        ["add"], ["mv"], ["push"], ["get"], ["remote", "remote_add"], ["cache", "cache_prune"], ["status"],
    ):  # fmt: skip
        stand_in(module, None, *names)
    done = invoke(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    if "--json" in arguments:
        assert message in json.loads(done.stderr)["error"]
    else:
        assert done.stderr.startswith("error: ")
        assert message in done.stderr.splitlines()[0]
        assert done.stderr.splitlines()[1].startswith("hint: ")


@pytest.mark.parametrize("arguments", [["--json", "status"], ["status", "--json"], ["-q", "status", "--json", "-v"]])
def test_common_flags_stand_before_or_after_the_verb(project, invoke, stand_in, arguments):
    stand_in("status", CLEAN)
    document = json.loads(invoke(*arguments, check=True).stdout)
    assert list(document)[:2] == ["schema", "clean"]
    assert document["schema"] == "dvlite.status/1"


def test_a_folder_given_before_or_after_the_verb_is_where_it_runs(project, invoke, stand_in):
    (project / "a" / "b").mkdir(parents=True)
    call = stand_in("status", CLEAN)
    here = os.getcwd()
    for arguments in (["-C", "a/b", "status"], ["status", "-C", "a/b"], ["-C", "a", "status", "-C", "b"]):
        invoke(*arguments, "x", check=True)
        assert call.cwd == str(project / "a" / "b")
        assert call.args[1] == ("x",)
    assert os.getcwd() == here
    assert invoke("-C", "nowhere", "status").returncode == 2


def test_quiet_prints_no_chatter(project, invoke, stand_in):
    stand_in("status", CLEAN)
    assert invoke("status", check=True).stdout == "Clean: 3 tracked paths.\n"
    assert invoke("status", "-q", check=True).stdout == ""


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--exit-code"], 1)])
def test_a_finding_is_1_only_if_asked_for(project, invoke, stand_in, flags, code):
    stand_in("status", DIRTY)
    stand_in(
        "diff",
        DiffResult(old="HEAD", new="workspace", paths=(PathDiff(path="a", kind="file", counts=Counts()),)),
        "diff",
        "driver",
    )
    assert invoke("status", *flags).returncode == code
    assert invoke("diff", *flags).returncode == code


def test_status_asks_a_remote_by_flag_or_name(project, invoke, stand_in):
    call = stand_in("status", CLEAN)
    for flags, expected in (([], (None, False)), (["--remote"], (None, True)), (["-r", "b"], ("b", True))):
        invoke("status", *flags, check=True)
        assert (call.options["remote"], call.options["check_remote"]) == expected


@pytest.mark.parametrize(
    ("words", "revisions", "paths"),
    [
        ([], (), ()),
        (["main"], ("main",), ()),
        (["main", "dev", "--", "main"], ("main", "dev"), ("main",)),
        (["main..dev", "data"], ("main..dev",), ("data",)),
        (["gone"], (), ("gone",)),
        (["data", "main"], (), ("data", "main")),
        (["main", "*.csv"], ("main",), ("*.csv",)),
        (["--", "-odd"], (), ("-odd",)),
        (["data", "--"], ("data",), ()),
        (["main", "../outside"], ("main",), ("../outside",)),
        (["./data/../data"], (), ("./data/../data",)),
        (["/elsewhere"], (), ("/elsewhere",)),
    ],
)
def test_diff_tells_revisions_from_paths(project, invoke, stand_in, words, revisions, paths):
    (project / "sub" / "data").mkdir(parents=True)
    (project / "sub" / "gone.dvlite").touch()
    call = stand_in("diff", DiffResult(old="a", new="b"), "diff", "driver")
    invoke("-C", "sub", "diff", *words, check=True)
    assert call.args[1:] == (revisions, paths)


def test_diff_refuses_three_revisions(project, invoke, stand_in):
    stand_in("diff", DiffResult(old="a", new="b"), "diff", "driver")
    assert invoke("diff", "a", "b", "c").returncode == 2


def test_diff_is_gits_external_driver(project, invoke, stand_in):
    call = stand_in("diff", DiffResult(old="a", new="b"), "diff", "driver")
    seven = ("x.dvlite", "/tmp/1", "0" * 40, "100644", "/dev/null", ".", ".")
    invoke("diff", "--driver", *seven, check=True)
    assert call.args[1] == seven
    assert "--driver" not in invoke("diff", "--help").stdout


@pytest.mark.parametrize("verb", ["push", "fetch", "pull"])
def test_moving_verbs_take_a_scope(project, invoke, stand_in, verb):
    from dvlite.repo.revisions import Scope

    result = {"push": PushResult(remote="origin"), "fetch": FetchResult(remote="origin"), "pull": PULLED}[verb]
    call = stand_in(verb, result)
    invoke(verb, "a", "b", "-r", "backup", "--rev", "v1", "-j", "4", "-n", check=True)
    assert call.args[1] == ("a", "b")
    assert call.options.pop("progress") is not None
    brings = {"exclude": (), "allow_missing": False}
    own = {"pull": {"force": False, **brings}, "fetch": brings, "push": {"allow_missing": False, "may_ask": False}}[
        verb
    ]
    assert call.options == {"remote": "backup", "scope": Scope(revision="v1"), "jobs": 4, "dry_run": True, **own}
    invoke(verb, "--all-tags", check=True)
    assert call.options["scope"] == Scope(all_tags=True)
    assert invoke(verb, "--all-tags", "--rev", "v1").returncode == 2


def test_staging_follows_the_flag(project, invoke, stand_in):
    call = stand_in("add", AddResult())
    invoke("add", "x", check=True)
    assert call.options["stage"] is True
    invoke("add", "x", "--no-stage", check=True)
    assert call.options["stage"] is False


def test_remote_add_names_the_remote_origin_if_not_told(project, invoke, stand_in):
    row = RemoteRow(name="origin", url="/data", default=True)
    call = stand_in("remote", RemoteAddResult(remote=row, state="empty"), "remote_add")
    invoke("remote", "add", "/data", "-o", "a=b=c", "-d", check=True)
    assert call.args[1:] == ("origin", "/data")
    assert call.options["options"] == {"a": "b=c"}
    invoke("remote", "add", "backup", "/data", check=True)
    assert call.args[1:] == ("backup", "/data")


def _with_remote(project):
    """Makes a remote known, as every repository has that is worth pulling."""
    with (Path(project) / ".dvlite" / "config.yaml").open("a") as file:
        file.write("remotes:\n  origin:\n    url: ../store\n")


def test_clone_pulls_unless_told_not_to(project, invoke, stand_in):
    _with_remote(project)
    stand_in("clone", CloneResult(url="u", directory=str(project)))
    call = stand_in("pull", PULLED)
    invoke("clone", "u", "--no-data", check=True)
    assert call.args == ()
    done = invoke("clone", "u", "--json", check=True)
    assert str(call.args[0].root) == str(project)
    assert json.loads(done.stdout)["pull"]["schema"] == "dvlite.pull/1"


def test_a_clone_without_a_remote_is_no_failure(project, invoke, stand_in):
    stand_in("clone", CloneResult(url="u", directory=str(project)))
    done = invoke("clone", "u", check=True)
    assert "no remote is configured" in done.stderr


def test_a_clone_whose_pull_fails_says_what_is_there(project, invoke, stand_in):
    _with_remote(project)
    stand_in("clone", CloneResult(url="u", directory=str(project)))
    stand_in("pull", DvliteError("no remote is configured"))
    done = invoke("clone", "u")
    assert done.returncode == 1
    assert f"warning: cloned into {project}, without its data" in done.stderr


def test_get_writes_data_and_nothing_else_to_standard_output(invoke, stand_in):
    def write(source, path, **options):
        options["output"].write(b"\x00data")
        return GetResult(source="u", path="p", revision="", output="-", oid="blake3:0", files=1, size_bytes=5)

    stand_in("get", write)
    assert invoke("get", "u", "p", "-o", "-", check=True).stdout == "\x00data"


def test_local_edits_that_were_kept_are_3(project, invoke, stand_in):
    checkout = CheckoutResult(paths=(CheckedOutPath(path="data", written=2, conflicts=("data/a",)),))
    stand_in("pull", PullResult(fetch=FetchResult(remote="origin"), checkout=checkout))
    stand_in("checkout", checkout)
    for verb in ("pull", "checkout"):
        done = invoke(verb)
        assert done.returncode == 3
        assert "2 files written" in done.stdout
        assert "error: 1 file not overwritten, with changes that are not added: data/a" in done.stderr
        assert "hint: to give them up: dvlite checkout --force data" in done.stderr


def test_data_that_is_nowhere_is_12_and_the_result_is_still_printed(project, invoke, stand_in):
    stand_in("push", PushResult(remote="origin", paths=(MovedPath(path="data", oid="x", state="missing"),)))
    done = invoke("push", "--json")
    assert done.returncode == 12
    assert json.loads(done.stdout)["paths"][0]["state"] == "missing"
    assert json.loads(done.stderr)["exit_code"] == 12


def test_an_error_is_a_line_a_hint_and_its_code(project, invoke, stand_in):
    stand_in("status", ObjectCorrupt("cannot read 'x': damaged", hint="dvlite pull"))
    done = invoke("status")
    assert (done.returncode, done.stdout) == (13, "")
    assert done.stderr == "error: cannot read 'x': damaged\nhint: dvlite pull\n"
    done = invoke("--json", "status")
    assert json.loads(done.stderr) == {"error": "cannot read 'x': damaged", "hint": "dvlite pull", "exit_code": 13}


def test_an_error_of_the_system_is_told_without_a_traceback(project, invoke, stand_in):
    stand_in("status", PermissionError(13, "Permission denied", b"a\xff\n"))
    done = invoke("status")
    assert (done.returncode, done.stderr) == (1, "error: cannot use 'a\\xff\\n': Permission denied\n")


def test_a_bug_is_70_and_shows_its_traceback_on_request(project, invoke, stand_in):
    stand_in("status", KeyError("oops"))
    done = invoke("status")
    assert done.returncode == 70
    assert done.stderr.splitlines()[0] == "error: unexpected KeyError: 'oops' (a bug in dvlite)"
    assert "Traceback" not in done.stderr
    assert "-v" in done.stderr
    assert "Traceback" in invoke("status", "-v").stderr


def test_an_interrupt_is_130(project, invoke, stand_in):
    stand_in("status", KeyboardInterrupt())
    done = invoke("status")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("interrupted")


def test_a_closed_pipe_ends_quietly(project, tmp_path):
    """`dvlite ls | head -1`."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, types\n"
        "from dvlite.commands import ls as fake\n"
        "from dvlite.commands.ls import LsEntry, LsResult\n"
        "fake.ls = lambda *a, **o: LsResult(entries=tuple(LsEntry(path=f'f{i}', kind='file') for i in range(100000)))\n"
        "from dvlite.__main__ import entry\n"
        "sys.argv = ['dvlite', 'ls']\n"
        "sys.exit(entry())\n"
    )
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(main.__file__).parent.parent), os.environ["PYTHONPATH"]]),
    }
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project, env=environ
    )
    assert process.stdout.readline() == b"f0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_a_full_disk_behind_standard_output_is_an_error(project, run_cli):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dvlite", "completion", "bash"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "error: cannot continue: No space left on device\n"


def test_nothing_in_the_current_folder_is_imported(git_repo, run_cli):
    for name in ("click", "yaml", "json", "dataclasses"):
        (git_repo / f"{name}.py").write_text("raise SystemExit('imported')\n")
    assert run_cli("--version", cwd=git_repo, check=True).stdout.startswith("dvlite ")


class Asked(Untrusted):
    place = "https://minio.example.com"


def untrusted_until_told(stand_in):
    """A remote that refuses until its place is trusted."""
    trusted = []

    def trust(environ, place, **_):
        trusted.append(place)
        return RemoteTrustResult(place=place)

    stand_in("remote", trust, "remote_trust")
    stand_in(
        "push",
        lambda *_, **__: (
            PushResult(remote="origin") if trusted else Asked("not approved", hint="dvlite remote trust X")
        ),
    )
    return trusted


def test_off_a_terminal_an_untrusted_place_is_an_error(project, invoke, stand_in):
    trusted = untrusted_until_told(stand_in)
    done = invoke("push", input="y\n")
    assert (done.returncode, trusted) == (1, [])
    assert done.stderr == "error: not approved\nhint: dvlite remote trust X\n"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1)])
def test_on_a_terminal_an_untrusted_place_is_asked_for_once(project, stand_in, monkeypatch, answer, code):
    trusted = untrusted_until_told(stand_in)
    controller, terminal = pty.openpty()
    os.write(controller, f"{answer}\n".encode())
    with os.fdopen(os.dup(terminal)) as stdin, os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main.main(["push"]) == code
        shown = ""
        while select.select([controller], [], [], 0.1)[0]:
            shown += os.read(controller, 65536).decode()
    os.close(controller)
    assert shown.count("Send it your requests and credentials? [y/N]") == 1
    assert trusted == ([Asked.place] if code == 0 else [])


def test_a_place_that_stays_untrusted_is_not_asked_for_twice(project, stand_in, monkeypatch):
    stand_in("remote", RemoteTrustResult(place=Asked.place), "remote_trust")
    stand_in("push", Asked("not approved"))
    questions = []
    monkeypatch.setattr(frame.Session, "_approves", lambda _self, place, **_: not questions.append(place))
    assert main.main(["push"]) == 1
    assert questions == [Asked.place]


def test_a_listing_is_one_name_a_line(project, invoke, stand_in):
    stand_in("ls", LsResult(entries=tuple(LsEntry(path=f"data/{i}", kind="file") for i in range(1000))))
    out = invoke("ls", "-C", ".git/..", check=True).stdout.splitlines()
    assert (len(out), out[0]) == (1000, "data/0")


@pytest.mark.parametrize("words", [["status"], ["hook", "pre-commit"], ["add", "data.txt"], ["params", "diff"]])
def test_an_everyday_verb_loads_neither_the_remote_side_nor_what_a_pipeline_needs(project, words):
    (project / "data.txt").write_text("1")
    script = (
        "import sys; from dvlite.cli.main import main; code = main(sys.argv[1:]);"
        "slow = {'dvlite.store.catalog', 'dvlite.store.fetch', 'dvlite.pipeline.content', 'dvlite.runs.index', 'yaml', 'botocore', 'rich'};"
        "print(code, *sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=project, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "0"


def test_an_empty_word_is_no_verb(invoke):
    assert "an argument is empty" in invoke("lineage", "").stderr


def test_a_missing_value_is_answered_with_the_help_of_its_verb(invoke):
    assert "hint: dvlite runs list --help" in invoke("runs", "list", "--since").stderr
