"""`init`: prepares a git work tree for dvlite. Safe to repeat: adds what is missing and leaves the rest alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dvlite.files import write_atomic
from dvlite.formats.config import COMMITTED
from dvlite.hooks.scripts import install_if_possible, installed_hooks
from dvlite.progress import Progress
from dvlite.repo import attributes, config_files, ignore
from dvlite.repo.repository import CLONE_SETTINGS, Repo, open_repo
from dvlite.results import Result

_CONFIG_HEAD = (
    b"# dvlite's settings for everyone who works on this project. Your own: dvlite config --user, or --local\n"
)
_GITIGNORE = [b"/config.local.yaml", *ignore.TEMPORARY]
_FILES = (
    config_files.COMMITTED_FILE,
    f"{config_files.FOLDER}/.gitignore",
    ignore.FILE_NAME,
    attributes.FILE_NAME,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InitResult(Result):
    """What `init` set up; `created` are the files it wrote or completed."""

    schema: ClassVar[str] = "dvlite.init/1"
    root: str  # absolute
    existed: bool
    created: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()  # that call dvlite now
    merge_driver: bool = False
    switched_on: tuple[str, ...] = ()  # of "diff" and "merge": what git does with pointers in this clone from now on
    missing: int = 0  # tracked paths without their data here
    warnings: tuple[str, ...] = ()


def init(
    start: Path, environ: Mapping[str, str], *, stage: bool = True, hooks: bool = True, progress: Progress
) -> InitResult:
    """Sets up the work tree around `start`: settings, ignore files, attributes, and of this clone git's settings and `hooks`.

    Raises NotARepository outside a git work tree. Hooks that cannot be installed are a warning.
    """
    repo = open_repo(start, environ, must_be_initialised=False)
    with repo.lock(progress):
        existed = repo.is_initialised
        created = _write_files(repo)
        warnings = install_if_possible(repo) if hooks else []
        off = {key.partition(".")[0] for key in CLONE_SETTINGS if repo.git.config_get(key) is None}
        repo.prepare_clone()
        unstaged = repo.git.unstaged(
            [file for file in _FILES if (repo.root / file).is_file()]
        )  # by a run that was stopped
        staged = repo.stage(list(dict.fromkeys([*created, *unstaged])), enabled=None if stage else False)
    return InitResult(
        root=str(repo.root),
        existed=existed,
        created=tuple(created),
        staged=staged,
        hooks=tuple(installed_hooks(repo)),
        merge_driver=True,
        switched_on=tuple(sorted(off)),
        missing=sum(not os.path.lexists(repo.root / item.path) for item in repo.work_tree.tracked(broken=[])),
        warnings=tuple(warnings),
    )


def _write_files(repo: Repo) -> list[str]:
    """Writes or completes the files that git should have; returns those that changed. What a sparse checkout leaves out stays so."""
    created = []
    is_left_out = repo.git.left_out
    config = repo.root / config_files.COMMITTED_FILE
    if not repo.is_initialised:
        if lost := config_files.removed(repo.git):
            raise lost
        config.parent.mkdir(exist_ok=True)
        write_atomic(config, _CONFIG_HEAD)
    if repo.config.project is None:
        repo.change_config(COMMITTED, {"project": secrets.token_hex(16)})
        created.append(config_files.COMMITTED_FILE)
    own = f"{config_files.FOLDER}/.gitignore"
    if not is_left_out(own) and ignore.add_lines(repo.root / own, _GITIGNORE):
        created.append(own)
    if not is_left_out(ignore.FILE_NAME) and not (repo.root / ignore.FILE_NAME).exists():
        write_atomic(repo.root / ignore.FILE_NAME, ignore.TEMPLATE.encode())
        created.append(ignore.FILE_NAME)
    if not is_left_out(attributes.FILE_NAME) and attributes.write_lines(repo.root):
        created.append(attributes.FILE_NAME)
    return created
