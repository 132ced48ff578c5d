"""Makes what is on disk equal a version, as planned. Bytes that a plan does not name are never overwritten or removed."""

from __future__ import annotations

import os
from pathlib import Path

from dvlite.formats import manifest
from dvlite.formats.manifest import Entries
from dvlite.oid import Digest
from dvlite.progress import NullProgress, Progress
from dvlite.store.cache import Cache
from dvlite.workspace import sparse
from dvlite.workspace.checkout_plan import CheckoutPlan, selected
from dvlite.workspace.dirfd import Folders
from dvlite.workspace.hashing import Snapshot
from dvlite.workspace.outcome import Outcome
from dvlite.workspace.tree_writer import TreeWriter
from dvlite.workspace.writer_process import Job, Report, WriterOptions


def apply(
    made: CheckoutPlan,
    want: Entries,
    have: Snapshot | None,
    root: Path,
    path: bytes,
    cache: Cache,
    *,
    progress: Progress,
    help_: WriterOptions | None = None,
) -> Outcome:
    """Carries out a plan at `path` inside `root`.

    Objects that are damaged or missing are listed in the outcome, not raised: everything else is still done.
    """
    writer = TreeWriter(want, cache, root, path, progress, help_ or WriterOptions())
    single = want.paths == [b""]
    if have is None:
        if single:
            writer.single_file()
        else:
            writer.fresh_tree(made.write)
    elif single:
        writer.update_single(made, have)
    else:
        writer.update_tree(made, have)
    return writer.outcome(made, have)


def write_part(job: Job) -> Report:
    """Writes a job's entries of a fresh tree; runs in the second process. What fails there is left for the first."""
    cache = Cache(Path(job.cache), pack_below_bytes=job.pack_below_bytes)
    want = manifest.load(Digest(bytes.fromhex(job.root)), cache.read_node)
    if job.patterns:
        want = selected(want, sparse.selector(job.patterns))
    writer = TreeWriter(want, cache, Path(job.work_tree), os.fsencode(job.folder), NullProgress(), WriterOptions())
    with Folders(Path(job.work_tree), os.fsencode(job.folder)) as folders:
        unwritten = writer.write_quietly(range(job.start, job.stop), folders)
    return writer.report(job, unwritten)
