"""What every test gets: a home, a git and an environment of its own, no network, and the fixtures to run dvlite.

No test can read or write the user's configuration, and none can reach a host other than this machine.
"""

import contextlib
import gc
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

import tests.guard.sitecustomize  # noqa: F401  (refuses the network in this process)
from tests import hints
from tests.copies import copy_of, first_commit

GUARD = Path(__file__).parent / "guard"
DROPPED_PREFIXES = ("AWS_", "CI_", "DVLITE_", "GITHUB_", "GIT_", "XDG_")
DROPPED = {
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    *("CI", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PAGER", "EDITOR", "VISUAL"),
    *("ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
}
GIT_CONFIG = """\
[user]
	name = Test User
	email = test@example.com
[init]
	defaultBranch = main
[commit]
	gpgSign = false
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
"""

# Where PYTHONDONTWRITEBYTECODE is set: what this process imports is compiled once, for the thousands that the tests start, which only read it.
sys.dont_write_bytecode = False

# Examples take as long as the machine makes them; in CI they are the same each time, so that a red build is about the change.
settings.register_profile("dvlite", deadline=None, derandomize="CI" in os.environ, max_examples=20)
settings.register_profile("long", settings.get_profile("dvlite"), max_examples=200)
settings.load_profile("dvlite")


def pytest_configure() -> None:
    """Forgets whatever of the user's environment could change a result, for servers that outlive one test too."""
    for name in list(os.environ):
        if name.startswith(DROPPED_PREFIXES) or name.upper() in DROPPED:
            del os.environ[name]
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # started in the background of a shell: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    put_temporary_files_in_memory()
    gc.set_threshold(50_000, 20, 20)  # 700 objects are less than one command makes


def pytest_collection_finish() -> None:
    """Leaves what was collected, half a million objects that stay, out of every look for garbage."""
    gc.freeze()


def put_temporary_files_in_memory() -> None:
    """Makes /dev/shm the place of temporary files, of programs too, if it has room for all that the tests write (2.7 GiB).

    Nine in ten of these files live for a second, and a disk that syncs each of them is what the tests would wait for.
    """
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError):
        if "TMPDIR" not in os.environ and shutil.disk_usage(memory).free > 8 << 30 and os.access(memory, os.W_OK):
            os.environ["TMPDIR"] = str(memory)
            tempfile.tempdir = None


class Runner(Protocol):
    """Runs the dvlite command line; with `check`, fails the test if the exit code is not 0."""

    def __call__(
        self,
        *args: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,  # noqa: A002  (as subprocess.run calls it)
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]: ...


# Each repro asks `python` for its version; a Python takes 0.1 s to say it.
PYTHON = """\
#!/bin/sh
if [ "$1" = -c ] && [ "$3" = "[]" ]; then echo '["{version}", "{implementation}", {{}}]'; else exec {python} "$@"; fi
"""


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder for PATH: its `python` is the Python of the tests, which says at once which one it is."""
    program = tmp_path_factory.mktemp("python") / "python"
    version, implementation = platform.python_version(), platform.python_implementation()
    program.write_text(PYTHON.format(version=version, implementation=implementation, python=sys.executable))
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Returns a folder that any user can get to: those of pytest are closed to others, again with each pytest that begins."""
    folder = Path(tempfile.mkdtemp(prefix="dvlite-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, quick_python: Path) -> Path:
    """Returns this test's own home folder; git and every Python that the test starts are set up to stay inside."""
    home = tmp_path_factory.mktemp("home")
    own = environment(home, tmp_path_factory.getbasetemp(), quick_python)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return home


def environment(home: Path, ceiling: Path, first_on_path: Path) -> dict[str, str]:
    """Returns the variables that keep git, dvlite and Python in a home of their own, and writes its git config; no git repository is looked for above `ceiling`."""
    git_config = home / "gitconfig"
    git_config.write_text(GIT_CONFIG)
    path = f"{GUARD}{os.pathsep}{os.environ['PYTHONPATH']}" if os.environ.get("PYTHONPATH") else str(GUARD)
    own = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_DATA_HOME": home / ".local" / "share",
        "GIT_CONFIG_GLOBAL": git_config,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CEILING_DIRECTORIES": ceiling,
        "AWS_EC2_METADATA_DISABLED": "true",  # else a client without credentials asks a host that is not here
        "PATH": f"{first_on_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": path,
        "TZ": "UTC",
    }
    return {name: str(value) for name, value in own.items()}


@pytest.fixture
def git_repo(tmp_path: Path) -> Path:
    """Returns a fresh git work tree with one empty commit, in `tmp_path / "repo"`."""
    return copy_of("git_repo", first_commit, tmp_path / "repo")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yields a `dvlite` program that starts fast (tests/warm.py), alone in its folder. One for each test process."""
    from tests.warm import running

    with running(tmp_path_factory.mktemp("warm")) as path:
        yield path


@pytest.fixture
def on_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets git and shells find `dvlite`."""
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def run_cli(program: Path) -> Runner:
    """Returns a runner that starts dvlite in a process of its own."""

    def run(*args, cwd=None, env=None, input=None, check=False):  # noqa: A002
        command = [str(program), *map(str, args)]
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=input.encode() if isinstance(input, str) else input or b"",
            capture_output=True,
            timeout=120,
        )
        result = finished(command, done.returncode, done.stdout, done.stderr, check=check)
        if hints.REPORT:
            hints.walk(result.args, cwd, result.stdout, result.stderr)
        return result

    return run


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Returns a runner that calls dvlite in this process: the results of `run_cli` without the start of a process."""

    def run(*args, cwd=None, env=None, input=None, check=False):  # noqa: A002
        from dvlite.cli.main import main

        data = input.encode() if isinstance(input, str) else input or b""
        stdin, stdout, stderr = (text_stream(data), text_stream(), text_stream())
        with monkeypatch.context() as patch:
            if cwd is not None:
                patch.chdir(cwd)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", stdin)
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                try:
                    code = main([*map(str, args)])
                except SystemExit as leaving:
                    code = leaving.code
            for stream in (stdout, stderr):
                stream.flush()
        result = finished(
            ["dvlite", *map(str, args)], code or 0, stdout.buffer.getvalue(), stderr.buffer.getvalue(), check=check
        )
        if hints.REPORT:
            hints.walk(result.args, cwd, result.stdout, result.stderr)
        return result

    return run


def text_stream(data: bytes = b"") -> io.TextIOWrapper:
    """Returns a text stream over bytes in memory, as standard streams are over files."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape", newline="\n")


def finished(command: list[str], code: int, stdout: bytes, stderr: bytes, *, check: bool):
    """Returns the finished process with its outputs as text; a name that is not UTF-8 keeps its bytes as surrogates."""
    out, err = (data.decode("utf-8", "surrogateescape") for data in (stdout, stderr))
    if check and code != 0:
        pytest.fail(
            f"`dvlite {' '.join(command[1:])}` left with {code}\n--- stdout\n{out}--- stderr\n{err}", pytrace=False
        )
    return subprocess.CompletedProcess(command, code, out, err)


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Yields a running SeaweedFS: `endpoint_url`, `access_key_id`, `secret_access_key`, `bucket`. One for each test process."""
    from tests.store.weed import running_weed

    with running_weed(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def s3_prefix() -> str:
    """Returns a prefix in the bucket that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def s3_url(weed, s3_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns an empty `s3://` URL of this test's own; the credentials are in the environment, the endpoint is `weed.endpoint_url`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", weed.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", weed.secret_access_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"s3://{weed.bucket}/{s3_prefix}"
