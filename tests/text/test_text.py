"""What people read, verb by verb."""

from importlib import import_module

import pytest

from dvlite.commands.add import AddedPath, AddResult
from dvlite.commands.cache import CachePruneResult
from dvlite.commands.clone import CloneResult
from dvlite.commands.config import ConfigResult, ConfigValue
from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.doctor import DoctorLine, DoctorResult
from dvlite.commands.get import GetResult
from dvlite.commands.init import InitResult
from dvlite.commands.ls import LsEntry, LsResult
from dvlite.commands.mv import MvResult
from dvlite.commands.remote import (
    RemoteAddResult,
    RemoteChangeResult,
    RemoteCheck,
    RemoteListResult,
    RemoteRow,
    RemoteTestResult,
    RemoteTrustResult,
)
from dvlite.commands.rm import RmResult
from dvlite.commands.status import StatusResult, UncommittedPointer
from dvlite.errors import ObjectMissing, PartlyDone, RemoteError
from dvlite.share.fetch_plan import FetchResult, PullResult
from dvlite.share.publish import PushResult
from dvlite.text.style import Show, count, delta_text, duration_text, table
from dvlite.workspace.changes import Counts, FileChange
from dvlite.workspace.fetch import MovedPath
from dvlite.workspace.path_status import AbsentPath, ChangedPath
from dvlite.workspace.restore import CheckedOutPath, CheckoutResult

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
MOVED = MovedPath(path="data/images", oid="manifest:" + "5" * 64, files=2, size_bytes=2 * MIB)


def said(result, show=None, words="text"):
    verb = result.schema.removeprefix("dvlite.").split("/")[0].split("-")[0]
    return list(getattr(import_module(f"dvlite.text.{verb}"), words)(result, show or Show()))


def problem(result):
    verb = result.schema.removeprefix("dvlite.").split("/")[0].split("-")[0]
    return import_module(f"dvlite.text.{verb}").problem(result, Show())


def moved(state, **more):
    return MovedPath(path="data/images", oid="x", files=2, size_bytes=2 * MIB, state=state, **more)


def test_init():
    result = InitResult(
        root="/w/birds",
        existed=False,
        created=("a",),
        staged=("a", "b"),
        hooks=("pre-commit", "pre-push"),
        merge_driver=True,
    )
    assert said(result) == [
        "Initialised /w/birds  Hooks: pre-commit, pre-push. Merge driver: on.",
        "staged in git: a b",
        "next: dvlite add PATH",
    ]
    assert said(InitResult(root="/w", existed=False))[0] == "Initialised /w"
    assert said(InitResult(root="/w", existed=True, switched_on=("diff",), missing=2)) == [
        "Already initialised /w  Hooks: none (dvlite install). Merge driver: on.",
        "switched on in this clone: git diff shows what changed in data",
        "next: dvlite pull",
    ]


def test_clone():
    result = CloneResult(url="u", directory="birds", hooks=("pre-push",), elapsed_seconds=3.2)
    assert said(result) == ["Cloned into birds, hooks installed  3.2 s", "next: cd birds; dvlite pull [PATH]"]


def test_add_a_new_directory():
    result = AddResult(
        paths=(IMAGES,),
        staged=("data/images.dvlite", "data/.gitignore"),
        cache_grew_bytes=400 * MIB,
        cache_free_bytes=212 * GIB,
        shares_blocks=True,
        has_remote=False,
        elapsed_seconds=108,
    )
    assert said(result) == [
        "Added data/images: 384,211 files, 50.0 GiB (2,104 duplicates; left out: 3 .DS_Store). 1m48s",
        "cache +400.0 MiB (files share blocks with the workspace), 212.0 GiB free",
        "staged in git: data/images.dvlite data/.gitignore",
        "next: git commit; dvlite remote add s3://BUCKET/PREFIX",
    ]


def test_add_of_changes():
    assert said(AddResult(paths=(GULLS,), staged=("data/images.dvlite",), elapsed_seconds=0.9)) == [
        "Added data/images: +1,204 -3 files, +161.0 MiB. 0.9 s",
        "staged in git: data/images.dvlite",
        "next: git commit; dvlite push",
    ]


def test_add_of_nothing_new():
    same = AddedPath(path="a", kind="file", oid="x", size_bytes=1, unchanged=True)
    assert said(AddResult(paths=(same,))) == ["Nothing to add: a unchanged. 0.0 s"]
    assert said(AddResult()) == ["Nothing to add: nothing changed."]


def test_add_of_many_files_is_summed_up():
    many = tuple(AddedPath(path=f"d/{i}", kind="file", oid="x", size_bytes=MIB, created=True) for i in range(1200))
    lines = said(AddResult(paths=many, suggest_folder="d", unstaged=("d/1.dvlite",)))
    assert lines[0] == "Added 1,200 paths: 1,200 files, 1.2 GiB. 0.0 s"
    assert "1,200 single files: a folder is tracked as one, dvlite add d" in lines
    assert "not staged: git add d/1.dvlite" in lines


def test_rm_and_mv():
    assert said(RmResult(paths=("a", "b"), kept=True)) == [
        "No longer tracked, data left in place: a, b",
        "next: git commit",
    ]
    assert said(MvResult(source="a", target="b", staged=("b.dvlite",)))[:2] == [
        "Moved a -> b",
        "staged in git: b.dvlite",
    ]


def test_status_has_parts_each_with_the_command_that_settles_it():
    result = StatusResult(
        clean=False,
        tracked=4,
        changed=(
            ChangedPath(
                path="data/images", kind="directory", counts=Counts(added=1204, removed=3, delta_bytes=161 * MIB)
            ),
            ChangedPath(path="model.pt", kind="file", counts=Counts(modified=1)),
        ),
        missing=(AbsentPath(path="x", kind="file", files=1, size_bytes=5),),
        uncommitted=(UncommittedPointer(path="x.dvlite", state="untracked"),),
        not_in_cache=(
            AbsentPath(path="data/b", kind="directory", files=2, size_bytes=MIB, whole=False, example="data/b/1"),
        ),
        not_pushed=(AbsentPath(path="x", kind="file", files=1, size_bytes=5),),
        remote="origin",
    )
    assert said(result) == [
        "Data changed, not added          (dvlite add -u, or undo: dvlite checkout --force data/images)",
        "  data/images  +1,204  -3  ~0 files  +161.0 MiB",
        "  model.pt     changed",
        "Not in the workspace             (dvlite checkout)",
        "  x  1 file, 5 B",
        "Not committed                    (git commit)",
        "  x.dvlite  untracked",
        "Not in the cache                 (dvlite pull)",
        "  data/b  2 files, 1.0 MiB  for example data/b/1",
        "Not on origin                    (dvlite push)",
        "  x  1 file, 5 B",
    ]


def test_a_clean_status_says_what_was_looked_at():
    assert said(StatusResult(clean=True, tracked=1)) == ["Clean: 1 tracked path."]
    assert said(StatusResult(clean=True, tracked=2, not_pushed=(), remote="origin")) == [
        "Clean: 2 tracked paths, complete on origin."
    ]
    assert said(StatusResult(clean=True)) == ["Nothing is tracked yet.", "next: dvlite add PATH"]


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


def test_diff():
    assert said(DIFF) == [
        "data  +2 -1 ~1 1 renamed  50.0 GiB -> 51.0 GiB",
        "  + a.jpg  10 B",
        "  + b.jpg  10 B",
        "  - c.png  2.0 KiB",
        "  ~ d  3 B (+2 B), symlink -> file",
        "  > old -> new  7 B",
        "model.pt  +1  new, 1.0 MiB",
        "  files not listed: its data is not here",
    ]


def test_diff_stat_is_a_line_for_each_tracked_path():
    lines = said(DIFF, words="stat")
    assert len(lines) == 2
    assert lines[0].startswith("data      +2  -1  ~1  1 renamed  50.0 GiB -> 51.0 GiB  +2 .jpg  -1 .png")


def test_checkout():
    result = CheckoutResult(
        paths=(CheckedOutPath(path="d", written=2, removed=1, written_bytes=MIB, saved=("d/x",)),), elapsed_seconds=2
    )
    assert said(result) == [
        "Checked out d: 2 files written, 1.0 MiB, 1 file removed. 2.0 s",
        "1 file overwritten in d; the bytes before are in the cache",
    ]
    assert problem(result) is None
    assert said(CheckoutResult(paths=(CheckedOutPath(path="d", kept=5),))) == [
        "Nothing to check out: 1 tracked path as it should be."
    ]


def test_checkout_of_what_is_not_there_is_more_than_a_kept_edit():
    result = CheckoutResult(paths=(CheckedOutPath(path="d", conflicts=("d/a",), missing=("d/b",)),))
    assert isinstance(problem(result), ObjectMissing)
    assert said(result) == []
    kept = problem(CheckoutResult(paths=(CheckedOutPath(path="d", conflicts=tuple("abcde")),)))
    assert isinstance(kept, PartlyDone)
    assert kept.message == "5 files changed here and not overwritten: a, b, c, 2 more"


def test_push():
    result = PushResult(
        remote="origin",
        paths=(moved("pushed"), moved("present")),
        files=2,
        objects=791,
        uploaded_bytes=MIB,
        size_bytes=MIB,
        elapsed_seconds=421,
    )
    assert said(result) == ["Pushed data/images to origin: 2 files, 1.0 MiB in 791 objects. 7m01s", "next: git push"]
    small = PushResult(
        remote="origin", paths=(moved("pushed"),), files=1, objects=1, uploaded_bytes=MIB, size_bytes=9 * MIB
    )
    assert said(small)[0] == "Pushed data/images to origin: 1 file, 9.0 MiB as 1.0 MiB in 1 object. 0.0 s"


def test_push_of_nothing_new_and_of_what_is_nowhere():
    assert said(PushResult(remote="origin", paths=(moved("present"),))) == [
        "Nothing to push: 1 tracked path complete on origin. 0.0 s"
    ]
    gone = PushResult(remote="origin", paths=(moved("missing"),))
    assert said(gone) == []
    assert problem(gone).exit_code == 12
    assert problem(gone).message == "data/images: neither in the cache nor on origin"
    failed = problem(PushResult(remote="origin", paths=(moved("failed", problem="timed out"), moved("pushed"))))
    assert failed.exit_code == 3
    assert failed.message == "cannot push 1 of 2 tracked paths, data/images: timed out"


def test_a_dry_run_says_what_would_be_done_even_quietly():
    result = PushResult(remote="origin", paths=(moved("planned", revision="0d9e8f7a1"),), dry_run=True)
    assert said(result, Show(quiet=True)) == ["would push data/images at 0d9e8f7a: 2 files, 2.0 MiB"]
    assert said(FetchResult(remote="origin", dry_run=True)) == [
        "Nothing to fetch: origin and the cache agree on 0 tracked paths."
    ]


def test_fetch_and_pull():
    fetch = FetchResult(remote="origin", paths=(moved("fetched"),), files=2, downloaded_bytes=MIB, elapsed_seconds=1)
    assert said(fetch) == [
        "Fetched data/images from origin: 2 files, 1.0 MiB downloaded. 1.0 s",
        "next: dvlite checkout",
    ]
    checkout = CheckoutResult(paths=(CheckedOutPath(path="data/images", written=2, removed=1),))
    assert said(PullResult(fetch=fetch, checkout=checkout, elapsed_seconds=432)) == [
        "Pulled data/images: 2 files written, 1 removed, 1.0 MiB downloaded. 7m12s"
    ]
    present = FetchResult(remote="origin", paths=(moved("present"),))
    assert said(PullResult(fetch=present, checkout=CheckoutResult())) == [
        "Nothing to pull: 1 tracked path up to date with origin. 0.0 s"
    ]
    lost = PullResult(fetch=FetchResult(remote="origin", paths=(moved("missing"),)), checkout=CheckoutResult())
    assert problem(lost).exit_code == 12


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


def test_get_keeps_quiet_when_the_data_went_to_standard_output():
    result = GetResult(source="u", path="m.pt", revision="0" * 40, output="m.pt", oid="x", files=1, size_bytes=5)
    assert said(result) == ["Got m.pt: 1 file, 5 B, m.pt of u at 00000000. 0.0 s"]
    assert said(GetResult(source="u", path="p", revision="", output="-", oid="x", files=1, size_bytes=5)) == []


def test_remotes():
    assert said(
        RemoteAddResult(remote=ORIGIN, state="empty", writable=True, region="eu-west-1", latency_seconds=0.041)
    ) == [
        "origin = s3://acme-data/birds (default): reachable, empty, writable, region eu-west-1, 41 ms",
        "next: git commit; dvlite push",
    ]
    assert said(RemoteAddResult(remote=ORIGIN, state="unreachable", problem="no such bucket")) == [
        "origin = s3://acme-data/birds (default): unreachable (no such bucket)",
        "next: dvlite remote test origin",
    ]
    other = RemoteRow(name="b", url="https://x", trusted=False)
    assert said(RemoteListResult(remotes=(ORIGIN, other))) == [
        "origin = s3://acme-data/birds (default)",
        "b = https://x  not trusted: dvlite remote trust b",
    ]
    assert said(RemoteListResult())[0] == "No remote is configured."
    assert said(RemoteChangeResult(action="removed", name="a", default="b")) == [
        "Removed remote a (its data is untouched); default is now b"
    ]
    assert said(RemoteTrustResult(place="https://x", config_path="/c")) == ["Trusted: https://x", "written to /c"]


def test_remote_test():
    checks = (
        RemoteCheck(name="write", ok=True, elapsed_seconds=0.01),
        RemoteCheck(name="read back", ok=False, elapsed_seconds=0.2, detail="denied"),
    )
    result = RemoteTestResult(name="origin", url="s3://b", ok=False, checks=checks, upload_bytes_per_second=1e6)
    assert said(result) == [
        "origin = s3://b",
        "  ok      write      10 ms",
        "  failed  read back  200 ms  denied",
        "  976.6 KiB/s up",
    ]
    assert isinstance(problem(result), RemoteError)
    assert problem(result).message == "remote 'origin' failed its test: read back: denied"


def test_cache_prune():
    assert said(CachePruneResult(remote="origin", objects=2, freed_bytes=GIB, kept_objects=1, kept_bytes=5)) == [
        "Freed 1.0 GiB: 2 objects that origin has.",
        "Kept 5 B that it does not have.",
        "next: dvlite push --all-commits",
    ]


def test_config():
    value = ConfigValue(key="core.autostage", value=True, source="default")
    assert said(ConfigResult(action="get", values=(value,))) == ["true"]
    assert said(ConfigResult(action="list", values=(value,))) == ["core.autostage  true  default"]
    assert said(ConfigResult(action="set", values=(value,), config_path=".dvlite/config.yaml")) == [
        "core.autostage = true  in .dvlite/config.yaml"
    ]


def test_doctor():
    lines = (
        DoctorLine(topic="links", text="reflink works"),
        DoctorLine(topic="cache", text="1 GiB"),
        DoctorLine(topic="cache", text="disk is full", level="problem", fix="dvlite cache prune --pushed"),
    )
    result = DoctorResult(ok=False, lines=lines)
    assert said(result) == [
        "links  reflink works",
        "cache  1 GiB",
        "       problem: disk is full",
        "       fix: dvlite cache prune --pushed",
    ]
    assert said(result, Show(quiet=True))[0] == "cache  problem: disk is full"
    assert problem(result).message == "1 problem found"


DONE = [
    InitResult(root="/w", existed=False, staged=("a",)),
    CloneResult(url="u", directory="d"),
    AddResult(paths=(IMAGES, MODEL), staged=("a",)),
    RmResult(paths=("a",), staged=("a",)),
    MvResult(source="a", target="b", staged=("a",)),
    CheckoutResult(paths=(CheckedOutPath(path="d", written=2),)),
    PushResult(remote="origin", paths=(moved("pushed"),)),
    FetchResult(remote="origin", paths=(moved("fetched"),)),
    PullResult(fetch=FetchResult(remote="origin", paths=(moved("fetched"),)), checkout=CheckoutResult()),
    RemoteAddResult(remote=ORIGIN, state="empty"),
    CachePruneResult(remote="origin"),
    StatusResult(clean=True, tracked=1),
]


@pytest.mark.parametrize("result", DONE, ids=lambda result: result.schema)
def test_quiet_says_nothing_of_what_went_well(result):
    assert said(result)
    assert said(result, Show(quiet=True)) == []


@pytest.mark.parametrize("result", DONE, ids=lambda result: result.schema)
def test_no_text_has_the_words_of_the_inside(result):
    words = {word.strip(".,:()").lower() for line in said(result) for word in line.split()}
    assert not words & {"root", "roots", "pack", "packs", "manifest", "index", "recipe", "condemned"}


def test_colours_change_no_word():
    for result in (DIFF, *DONE):
        colored = "\n".join(said(result, Show(color=True)))
        for code in ("0", "1", "2", "31", "32", "33", "36"):
            colored = colored.replace(f"\x1b[{code}m", "")
        assert colored == "\n".join(said(result))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.94, "0.9 s"), (9.96, "10 s"), (59.6, "1m00s"), (421, "7m01s"), (7500, "2h05m")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_numbers():
    assert (count(1, "file"), count(1204, "file"), count(5)) == ("1 file", "1,204 files", "5")
    assert (delta_text(-3), delta_text(0), delta_text(MIB)) == ("-3 B", "+0 B", "+1.0 MiB")


def test_a_table_of_nothing_is_nothing():
    assert list(table([])) == []


def test_a_list_of_names_is_cut_unless_all_are_asked_for():
    assert Show().paths(list("abcde")) == "a, b, c, 2 more"
    assert Show(verbose=1).paths(list("abcde")) == "a, b, c, d, e"
