"""Far repositories: a clone without a checkout, and what a branch or tag is now, by one `git ls-remote`.

The address must be one that git reads as a plain one; of a pointer, `repo.sources` decides.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.git import output as git_output
from dvlite.git.output import is_commit_id
from dvlite.git.program import outside, program, without_credentials
from dvlite.show import quote

_SECONDS = 60.0
_NAME = re.compile(r"[^~^:?*\[\\\s@]+")  # of a branch or tag; all else is an expression, which only a clone can resolve


def clone_silently(url: str, target: Path, environ: Mapping[str, str], options: Sequence[str]) -> None:
    """Clones a repository with nothing checked out and no hooks; git may ask for credentials. Raises DvliteError with its reason."""
    arguments = ["clone", "--quiet", "--no-checkout", "--template=", *options, "--", url, str(target)]
    command = [program(environ, not_in=Path.cwd()), *arguments]
    done = subprocess.run(
        command, env=outside(environ) | {"LC_ALL": "C"}, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        reason = without_credentials(git_output.failed(arguments, done.stderr).message)
        raise DvliteError(
            f"cannot read {quote(without_credentials(url))}: {reason}", hint="give a URL that git clone takes"
        )


def is_fixed(revision: str) -> bool:
    """Returns whether a revision names the same commit for ever: the id of one, whole or short, or an expression."""
    is_id = re.fullmatch(r"[0-9a-f]{7,64}", revision) is not None
    return is_id or (revision != "" and _NAME.fullmatch(revision) is None)


def resolve_far(address: str, revisions: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the commit of each branch or tag ('': of the default branch) that the repository has. Raises DvliteError if it does not answer."""
    wanted = {revision: _names(revision) for revision in revisions if not is_fixed(revision)}
    patterns = sorted({name for names in wanted.values() for name in names})
    if not patterns:
        return {}
    arguments = ["ls-remote", "--quiet", "--", address, *patterns]
    command = [program(environ, not_in=Path.cwd()), "-c", "core.askPass=", *arguments]
    env = outside(environ) | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DvliteError(
            f"{quote(without_credentials(address))} did not answer in {_SECONDS:.0f} s", hint="try again later"
        ) from None
    if done.returncode:
        reason = without_credentials(git_output.failed(arguments, done.stderr).message)
        raise DvliteError(
            f"cannot read {quote(without_credentials(address))}: {reason}", hint="check the address, and your rights"
        )
    refs: dict[str, str] = {}
    for line in done.stdout.splitlines():
        commit, _, name = os.fsdecode(line).partition("\t")
        if is_commit_id(commit):
            refs[name] = commit
    commits = {revision: next(filter(None, map(refs.get, names)), "") for revision, names in wanted.items()}
    return {revision: commit for revision, commit in commits.items() if commit}


def _names(revision: str) -> tuple[str, ...]:
    """Returns the names under which a server lists a revision, the one that counts first: as `git clone --branch` takes them."""
    if not revision:
        return ("HEAD",)
    return f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}"
