"""The words of `ls`."""

from dvlite.commands.ls import LsEntry, LsResult
from dvlite.show import Show
from dvlite.text.ls import text
from tests.text.samples import MIB


def said(result, show=None):
    return list(text(result, show or Show()))


def test_ls():
    entries = (
        LsEntry(path="data", kind="directory", size_bytes=MIB, files=3, oid="manifest:" + "ab" * 32),
        LsEntry(path="run.sh", kind="file", size_bytes=10, executable=True),
        LsEntry(path="latest", kind="symlink", target="data"),
    )
    assert said(LsResult(entries=entries)) == ["data", "run.sh", "latest"]
    assert said(LsResult(entries=entries, long=True)) == [
        "   1.0 MiB        3 files  abababab  data/",
        "      10 B                           run.sh*",
        "                                     latest@ -> data",
    ]
    other = LsEntry(path="code.py", kind="file", size_bytes=5, kept_by="git")
    assert said(LsResult(entries=(other, entries[1]), long=True, source="u")) == [
        "       5 B                           git     code.py",
        "      10 B                           dvlite  run.sh*",
    ]
