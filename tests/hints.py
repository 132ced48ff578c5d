"""Walks the hints: every command that an error or a `next:` line of the suite names is run, where it was named, in a copy that is thrown away.

`make hints` runs the tests of the commands with DVLITE_WALK_HINTS set to a file, then this module as a program, which prints what did not work:
a command that is refused as wrong usage, that crashes, or that fails with the error which named it. The copy is an overlay in a mount
namespace: paths stay as they are, and nothing of the test changes. It needs root.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

REPORT = os.environ.get("DVLITE_WALK_HINTS", "")
_EACH = 2  # times that a hint is walked: more of the same kind say no more
_COMMAND = re.compile(r"(?:^|(?<=[\s:(]))(?:dvlite|git) [a-z-][^;()\n]*")
_END = re.compile(
    r"   |, (?:or|and|then|with|where|which|if|to)\b|, |[.:]$| (?:again|and|or|if|in|there|where|brings|uploads|drops|reads|keeps) "
)
_PLACEHOLDER = re.compile(r"(?:^|[^a-z])[A-Z]{2,}|\.\.\.|\||<|REV|^N$|=K|\[")
_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d[\w.:-]*|[0-9a-f]{6,}")
_SHELL = (
    'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$1" && cd "$3" && exec bash -c "$4"'
)

_LEADS_ON = ("no remote is configured", "there is no pipeline here")  # what the repositories of tests lack
_PROSE = {"from", "they", "command"}  # what follows the name of the program in a sentence
# What goes on failing for a reason of the test: a command that edits its own input or fails again; a hard link, which an overlay cannot keep;
# a hint for another clone.
_GOES_ON = re.compile(
    r"changed while \S+ ran|in a clean clone|with changes that are not added: data, moved|this clone never saw it"
)

_walked: dict[tuple[str, str], int] = {}


def commands(said: str) -> list[str]:
    """Returns the commands that lines `hint:` and `next:` name, those with placeholders left out; `A, then: B` is one, `A; B`."""
    found: list[str] = []
    for line in said.splitlines():
        label, _, text = line.partition(": ")
        if label not in ("hint", "next"):
            continue
        end, before = 0, ""
        for match in _COMMAND.finditer(text):
            command = _END.split(match.group())[0].strip().rstrip(".,:")
            if before and re.search(r"\bthen\b", text[end : match.start()]):
                found.remove(before)
                command = f"{before}; {command}"
            elif re.search(r"\bthen\b", text[end : match.start()]):
                continue  # after one with a placeholder
            end, before = match.start() + 1, ""
            if not _PLACEHOLDER.search(command) and command.split()[1] not in _PROSE:
                found.append(command)
                before = command
    return found


def walk(argv: list[str], cwd: os.PathLike[str] | str | None, stdout: str, stderr: str) -> None:
    """Runs what the output of a command names, and appends how it went to the report."""
    folder = Path(cwd or os.getcwd()).resolve()
    top = next((above for above in folder.parents if above.name.startswith("pytest-")), None)
    if top is None:
        return
    error = next((line for line in stderr.splitlines() if line.startswith("error: ")), "")
    for command in commands(f"{stderr}\n{stdout}"):
        kind = (_DETAIL.sub("*", error), _DETAIL.sub("*", command))
        _walked[kind] = _walked.get(kind, 0) + 1
        if _walked[kind] > _EACH:
            continue
        code, said = _run(top, folder, command)
        again = next((line for line in said.splitlines() if line.startswith("error: ")), "")
        problem = ""
        if code in (2, 70, 126, 127, 129) and not any(text in again for text in _LEADS_ON):
            problem = f"exit {code}"
        elif error and again == error and command in commands(said) and not _GOES_ON.search(error):
            problem = "the same error"
        row = {"argv": argv, "error": error, "command": command, "code": code, "problem": problem, "said": said[-600:]}
        with open(REPORT, "a") as report:
            report.write(json.dumps(row) + "\n")


def _run(top: Path, folder: Path, command: str) -> tuple[int, str]:
    environment = {**os.environ, "GIT_EDITOR": "true", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        for name in ("upper", "work"):
            os.mkdir(f"{scratch}/{name}")
        words = ["unshare", "-m", "sh", "-c", _SHELL, "sh", str(top), scratch, str(folder), command]
        done = subprocess.run(words, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    return done.returncode, os.fsdecode(done.stderr + done.stdout)


def main(report: str) -> int:
    """Prints the hints that do not work, and how many were walked."""
    rows = [json.loads(line) for line in Path(report).read_text().splitlines()]
    failed = {(row["error"], row["command"]): row for row in rows if row["problem"]}
    for row in failed.values():
        print(
            f"dvlite {shlex.join(row['argv'][1:])}\n  {row['error']}\n  named: {row['command']}\n  {row['problem']}: {row['said']}\n"
        )
    kinds = {(_DETAIL.sub("*", row["error"]), _DETAIL.sub("*", row["command"])) for row in rows}
    print(f"{len(rows):,} hints of {len(kinds):,} kinds walked, {len(failed)} failed")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
