"""Results to word."""

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.remote import RemoteRow
from dvlite.workspace.adder import AddedPath
from dvlite.workspace.changes import Counts, FileChange
from dvlite.workspace.fetch import MovedPath

GIB, MIB = 1 << 30, 1 << 20

ORIGIN = RemoteRow(name="origin", url="s3://acme-data/birds", default=True)

IMAGES = AddedPath(
    path="data/images",
    kind="directory",
    oid="manifest:" + "5" * 64,
    size_bytes=50 * GIB,
    files=384_211,
    created=True,
    duplicates=2104,
    left_out={".DS_Store": 3},
)

GULLS = AddedPath(
    path="data/images",
    kind="directory",
    oid="manifest:" + "6" * 64,
    size_bytes=50 * GIB,
    files=385_412,
    counts=Counts(added=1204, removed=3, delta_bytes=161 * MIB),
)

MODEL = AddedPath(path="model.pt", kind="file", oid="blake3:" + "1" * 64, size_bytes=97 * MIB, created=True)

DIFF = DiffResult(
    old="main",
    new="workspace",
    paths=(
        PathDiff(
            path="data",
            kind="directory",
            counts=Counts(added=2, removed=1, modified=1, renamed=1),
            old_size_bytes=50 * GIB,
            size_bytes=51 * GIB,
            files=(
                FileChange(change="added", path="data/a.jpg", size_bytes=10),
                FileChange(change="added", path="data/b.jpg", size_bytes=10),
                FileChange(change="removed", path="data/c.png", old_size_bytes=2048),
                FileChange(change="modified", path="data/d", old_size_bytes=1, size_bytes=3, kind="file", old_kind="symlink"),
                FileChange(change="renamed", path="data/new", old_path="data/old", old_size_bytes=7, size_bytes=7),
            ),
        ),
        PathDiff(path="model.pt", kind="file", counts=Counts(added=1), size_bytes=MIB, incomplete="its data is not here"),
    ),
)  # fmt: skip


def moved(state, **more):
    return MovedPath(path="data/images", oid="manifest:" + "5" * 64, files=2, size_bytes=2 * MIB, state=state, **more)
