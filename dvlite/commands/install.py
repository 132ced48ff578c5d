"""`install`: git hooks that call dvlite, and its merge driver, in this clone; or their removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.hooks.scripts import hooks_place, install_hooks, uninstall_hooks
from dvlite.progress import Progress
from dvlite.repo.repository import CLONE_SETTINGS, Repo
from dvlite.results import Result

_CALLS = "dvlite merge-driver"  # in the command that dvlite sets, whatever its path


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InstallResult(Result):
    """Which git hooks call dvlite now, or did until now."""

    schema: ClassVar[str] = "dvlite.install/1"
    action: Literal["installed", "uninstalled"]
    folder: str  # absolute
    hooks: tuple[str, ...] = ()
    chained: tuple[str, ...] = ()  # hooks with an earlier hook that runs first, or was restored by uninstall
    merge_driver: bool = False
    warnings: tuple[str, ...] = ()


def install(repo: Repo, *, uninstall: bool = False, force: bool = False, progress: Progress) -> InstallResult:
    """Installs hooks and the merge driver, beside existing hooks; or removes them and restores the earlier ones.

    Raises UsageError where the hooks are not this repository's own, unless `force`.
    """
    with repo.lock(progress):
        if uninstall:
            done = uninstall_hooks(hooks_place(repo, force=True))
            done.warnings += _forget_merge_driver(repo)
        else:
            done = install_hooks(repo, hooks_place(repo, force=force), force=force)
            repo.prepare_clone()
    return InstallResult(
        action="uninstalled" if uninstall else "installed",
        folder=str(done.folder),
        hooks=tuple(done.hooks),
        chained=tuple(done.chained),
        merge_driver=not uninstall,
        warnings=tuple(done.warnings),
    )


def _forget_merge_driver(repo: Repo) -> list[str]:
    """Removes the settings of dvlite's merge driver from the config of this clone; returns warnings about other drivers."""
    warnings = []
    ours = [key for key in CLONE_SETTINGS if key.startswith("merge.")]
    # The commands go last: git refuses to merge at all with a driver that has a name and no command.
    for key in sorted(ours, key=_is_command):
        value = repo.git.run("config", "--local", "--get-all", key, check=False).decode(errors="replace").strip()
        if value == CLONE_SETTINGS[key] or (_is_command(key) and _CALLS in value):
            repo.git.run("config", "--local", "--unset-all", key)
        elif value and _is_command(key):
            warnings.append(f"{key} is not what dvlite sets, and stays: git config --unset {key}")
    repo.sync_git_config()
    return warnings


def _is_command(key: str) -> bool:
    return key.endswith(".driver")
