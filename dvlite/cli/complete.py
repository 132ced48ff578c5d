"""What the shell offers for words that name something of the repository: remotes, revisions, stages, runs and settings.

Asked on the Tab key: what cannot be read offers nothing, and prints nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from dvlite.errors import DvliteError

if TYPE_CHECKING:
    from dvlite.repo.repository import Repo

_MOST_RUNS = 50


def _remotes(repo: Repo) -> Iterable[str]:
    return repo.config.remote_names


def _revisions(repo: Repo) -> Iterable[str]:
    listed = repo.git.run("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    return os.fsdecode(listed).splitlines()


def _stages(repo: Repo) -> Iterable[str]:
    from dvlite.formats import pipeline
    from dvlite.repo.stage_names import address

    for name in repo.work_tree.pipeline_files():
        for stage in pipeline.parse(repo.work_tree.read(name) or b"", name, repo.work_tree.beside(name)).stages:
            yield address(name, stage.name)


def _runs(repo: Repo) -> Iterable[str]:
    from dvlite.commands.runs import runs_list
    from dvlite.progress import NullProgress
    from dvlite.runs.options import RunsOptions

    listed = runs_list(repo, RunsOptions(limit=_MOST_RUNS), now_ns=time.time_ns(), progress=NullProgress())
    return ["last", *(run.name for run in listed.runs)]


def _settings(repo: Repo) -> Iterable[str]:
    from dvlite.formats.config import known_keys

    return sorted({*known_keys(), *repo.config.settings})


_KINDS: Mapping[str, Callable[[Repo], Iterable[str]]] = {
    "remote": _remotes,
    "revision": _revisions,
    "stage": _stages,
    "run": _runs,
    "setting": _settings,
}


class NameOf(click.ParamType[str]):
    """A word that names something of one kind; with `or_file`, or a file, which the shell offers itself."""

    name = "text"

    def __init__(self, kind: str, *, or_file: bool = False) -> None:
        self._list, self._or_file = _KINDS[kind], or_file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offers the names that begin so."""
        from pathlib import Path

        from dvlite.repo.repository import open_repo

        try:
            repo = open_repo(Path(ctx.ensure_object(dict).get("start_in", "")), os.environ)
            items = [CompletionItem(name) for name in self._list(repo) if name.startswith(incomplete)]
        except (DvliteError, OSError):
            items = []
        return [*items, CompletionItem(incomplete, type="file")] if self._or_file else items
