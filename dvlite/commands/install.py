"""`install`: git hooks that call dvlite, and its merge driver, in this clone; or their removal."""

from __future__ import annotations

from dvlite.progress import Progress
from dvlite.repo import CLONE_SETTINGS, Repo
from dvlite.results.setup import InstallResult
from dvlite.workspace.hook_scripts import hooks_place, install_hooks, uninstall_hooks


def install(repo: Repo, *, uninstall: bool = False, force: bool = False, progress: Progress) -> InstallResult:
    """Installs hooks and the merge driver, beside hooks that are there already; or takes them away and puts back what was there.

    Raises UsageError where the hooks are not this repository's own, unless `force`.
    """
    with repo.lock(waiting=lambda: progress.warn("waiting for another dvlite command here")):
        if uninstall:
            done = uninstall_hooks(hooks_place(repo, force=True))
            for section in sorted({key.rpartition(".")[0] for key in CLONE_SETTINGS if key.startswith("merge.")}):
                repo.git.run("config", "--local", "--remove-section", section, check=False)
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
