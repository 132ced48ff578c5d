"""Walks the hints: every command that an error or a `next:` line of the suite names is run, where it was named, in a copy that is thrown away.

`make hints` runs the tests of the commands with WALK_HINTS set to a file, then this module as a program, which prints what did not work:
a command that is refused as wrong usage, that crashes, or that fails with the error which named it. The copy is an overlay in a mount
namespace: paths stay as they are, and nothing of the test changes. It needs root.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

REPORT = os.environ.get("WALK_HINTS", "")  # not DVLITE_: the tests forget these, and their workers would walk nothing
_EACH = 2  # times that a hint is walked: more of the same kind say no more
_START = r"(?:^|(?<=[\s:(]))(?:[A-Z_]+=\S+ )*(?:(?:rm|mv|cd|curl) [^;|&()\n]+(?:&&|\|) )*(?:dvlite|git|(?:cd|rm)(?= \S+; )) [\w-]"
_END = (
    r"   |, (?:or|and|then|with|where|which|if|to)\b|, |(?<!\.)[.:](?:$|\s)| (?:again|and|or|if|in|there|where|brings|fetches|uploads|drops|reads|keeps|shows|names|writes|runs|here) "
    r"|[;()\n]|$"
)
_COMMAND = re.compile(rf"{_START}(?>\$'(?:[^'\\]|\\.)*'|'[^']*'|\"[^\"]*\"|[^\n])*?(?={_END})")
_FIELDS = ("hint", "fix", "fixes", "next")  # of JSON
_PLACEHOLDER = re.compile(r"(?:^|[^a-z])[A-Z]{2,}| [A-Z]$|\.\.\.|\||<|=K|^dvlite remote (?:to|at) |\[")
_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d[\w.:-]*|[0-9a-f]{6,}")
_SHELL = (
    'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$1" && cd "$3" && exec bash -c "$4"'
)

_LEADS_ON = (
    "no remote is configured",
    "there is no pipeline here",
    "No configured push destination",
    "has no upstream branch",
    "it is a symbolic link",
    "its sides are no longer in git",
    "Could not resolve host",
    "does not appear to be a git repository",
)  # what the repositories of tests lack
_GIT_VERBS = frozenset(("add", "checkout", "commit", "fetch", "rm"))
_PROSE = {
    "from",
    "they",
    "command",
    "what",
    "and",
    "keep",
    "takes",
    "tracks",
    "would",
}  # what follows the name of the program in a sentence
# What goes on failing for a reason of the test: a command that edits its own input or fails again; a hard link, which an overlay cannot keep;
# a hint for another clone.
_GOES_ON = re.compile(
    r"changed while \S+ ran|in a clean clone|with changes that are not added: data, moved|this clone never saw it|could not be repaired in"
)

_walked: dict[tuple[str, str], int] = {}


def commands(said: str) -> list[str]:
    """Returns the commands that the lines name, those with placeholders left out; `A; B` and `A, then: B` are one.

    Every line is read, for headings and notes name commands too; outside of hints, next steps and fixes only those with a known verb.
    """
    found: list[str] = []
    for line in said.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):  # not JSON: an output of some stage
                found += [command for text in _texts(json.loads(line)) for command in commands(f"hint: {text}")]
            continue
        is_labelled = re.match(r"dvlite: |(?:.*\s)?(?:hint|next|fix): ", line) is not None
        end, before, dropped = 0, "", False
        for match in _COMMAND.finditer(line):
            command = match.group().strip().rstrip(".,:")
            gap = line[end : match.start()]
            goes_on = bool(end) and (gap == "; " or bool(re.search(r"\bthen\b", gap)))
            end = match.end()
            if not _is_command(command, is_labelled=is_labelled) or (goes_on and dropped):
                before, dropped = "", True  # what follows one with a placeholder is left out too
                continue
            if goes_on and before:
                found.remove(before)
                command = f"{before}; {command}"
            found.append(command)
            before, dropped = command, False
    return found


def _is_command(command: str, *, is_labelled: bool) -> bool:
    command = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)  # variables
    words = command.split()
    if _PLACEHOLDER.search(command) or words[1] in _PROSE or words[0] == "curl" or words[2:] in (["failed"], ["takes"]):
        return False
    return is_labelled or words[1].startswith("-") or words[1] in (_verbs() if words[0] == "dvlite" else _GIT_VERBS)


@functools.cache
def _verbs() -> frozenset[str]:
    from dvlite.cli.main import app

    return frozenset(app.list_commands(click.Context(app)))


def _texts(value: object) -> Iterator[str]:
    """Yields the hints and fixes in a result that is JSON."""
    for inner in value if isinstance(value, list) else ():
        yield from _texts(inner)
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in _FIELDS:
            yield from str(inner).splitlines() if not isinstance(inner, list) else map(str, inner)
        else:
            yield from _texts(inner)


def walk(argv: list[str], cwd: os.PathLike[str] | str | None, stdout: str, stderr: str) -> None:
    """Runs what the output of a command names, and appends how it went to the report."""
    folder = Path(cwd or os.getcwd()).resolve()
    top = next((above for above in folder.parents if above.name.startswith("pytest-")), None)
    if top is None or "--help" in argv or "completion" in argv:
        return
    if "verify" in argv and "--rev" in argv:
        return  # its fixes are for a work tree of that revision
    error = next((line for line in stderr.splitlines() if line.startswith("error: ")), "")
    for command in commands(f"{stderr}\n{stdout}"):
        kind = (_DETAIL.sub("*", error), _DETAIL.sub("*", command))
        _walked[kind] = _walked.get(kind, 0) + 1
        if _walked[kind] > _EACH:
            continue
        code, said = _run(top, folder, command)
        again = next((line for line in said.splitlines() if line.startswith("error: ")), "")
        problem = ""
        if (
            code in (2, 70, 124, 126, 127, 128, 129) and not any(text in said for text in _LEADS_ON)
        ) or "is not a git command" in said:
            problem = f"exit {code}"
        elif error and again == error and command in commands(said) and not _GOES_ON.search(error):
            problem = "the same error"
        row = {
            "argv": argv,
            "folder": str(folder),
            "error": error,
            "command": command,
            "code": code,
            "problem": problem,
            "said": said[-600:],
        }
        with open(REPORT, "a") as report:
            report.write(json.dumps(row) + "\n")


def _run(top: Path, folder: Path, command: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        "GIT_EDITOR": "sed -i 1iChange",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        for name in ("upper", "work"):
            os.mkdir(f"{scratch}/{name}")
        words = ["unshare", "-m", "sh", "-c", _SHELL, "sh", str(top), scratch, str(folder), command]
        try:
            done = subprocess.run(words, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
        except subprocess.TimeoutExpired:
            return 124, "no end within two minutes"
    return done.returncode, os.fsdecode(done.stderr + done.stdout)


def main(report: str) -> int:
    """Prints the hints that do not work, and how many were walked."""
    lines = Path(report).read_text().splitlines() if Path(report).exists() else []
    rows = [json.loads(line) for line in lines]
    failed = {(row["error"], row["command"]): row for row in rows if row["problem"]}
    for row in failed.values():
        print(
            f"{shlex.join([Path(row['argv'][0]).name, *row['argv'][1:]])}\n  {row['error']}\n  named: {row['command']}\n"
            f"  {row['problem']}: {row['said']}\n"
        )
    kinds = {(_DETAIL.sub("*", row["error"]), _DETAIL.sub("*", row["command"])) for row in rows}
    print(f"{len(rows):,} hints of {len(kinds):,} kinds walked, {len(failed)} failed")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
