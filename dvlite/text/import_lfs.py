"""The words of `import-lfs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvlite.show import Show, count, duration_text, printable
from dvlite.text.style import amount_text

if TYPE_CHECKING:
    from dvlite.commands.import_lfs import ImportLfsResult


def text(result: ImportLfsResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for name, reason in result.left.items():
        yield f"{show.path(name)} stays with Git LFS: {printable(reason)}"
    if show.quiet:
        return
    size = amount_text(sum(row.files for row in result.paths), sum(row.size_bytes for row in result.paths))
    if result.refs:
        yield from _of_history(result, show, size)
        return
    what = f"{count(len(result.paths), 'path')} ({size})"
    if result.dry_run:
        yield f"Would import {what}; nothing was changed"
        yield from show.next_step("dvlite import-lfs")
        return
    yield f"Imported {what}. {duration_text(result.elapsed_seconds)}"
    if result.attributes:
        yield f"no longer given to Git LFS in {show.paths(result.attributes)}"
    yield "Earlier commits still name its objects: keep its server, hooks and settings as long as they matter."
    then = "; dvlite checkout" if result.absent else "; dvlite status"
    yield from show.next_commit(result.staged, (), then)


def _of_history(result: ImportLfsResult, show: Show, size: str) -> Iterator[str]:
    """Yields the lines of a history that was rewritten."""
    refs = count(len(result.refs), "branch or tag", "branches and tags")
    if result.dry_run:
        yield f"Would import {size} of {count(result.commits, 'commit')} on {refs}; nothing was changed"
        yield from show.next_step("dvlite import-lfs --all-history")
        return
    if result.commits:
        yield f"Imported {size} into {count(result.commits, 'new commit')} on {refs}. {duration_text(result.elapsed_seconds)}"
        yield f"old and new commits: {show.path(result.commit_map)}; what was before: refs/original/"
    yield "Clones of the old history do not fit the new one: all who work on it have to clone again."
    yield from show.next_step(
        "dvlite checkout; once it is right: dvlite push --all-commits && git push --force --all && git push --force --tags"
    )
