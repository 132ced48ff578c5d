"""Results of `verify` and `diff` to write reports of, and names that mean something in each format."""

from dvlite.commands.diff import DiffResult, PathDiff
from dvlite.commands.verify import VerifyResult
from dvlite.verify.findings import Finding, OutputVerdict, StageCheck, Unchecked
from dvlite.workspace.changes import Counts, FileChange

HOSTILE = (
    "a|b",
    "a\\|b",
    "`tick` and ``two``",
    "]]>",
    "</pre></details><script>alert(1)</script>",
    '"><img src=https://example.com/x onerror=alert(1)>',
    "@everyone see https://example.com [x](https://example.com)",
    "line\nbreak\r\n| new | row |",
    "::error::x",
    "100%0A",
    "bell\x07esc\x1b[31m nul\x00",
    "bytes \udcff and \ufffe",
    "\u202eright to left",
    "&amp; <b> 'quoted'",
    " spaces around ",
    "${{ secrets.X }} $(id)",
)


def hostile() -> VerifyResult:
    """Returns a result in which every text is one of the names above, in turn."""
    findings = tuple(
        Finding(kind="dep-changed", message=name, file=name, line=3, stage=name, path=name, fix=name)
        for name in HOSTILE
    )
    stages = tuple(
        StageCheck(
            stage=name,
            verdict="different",
            file=name,
            seconds=1.0,
            problem=name,
            after=(HOSTILE[0],) if name != HOSTILE[0] else (),
            outputs=(OutputVerdict(path=name, verdict="different", detail=(name, name)),),
            log_tail=(name,),
            drift={name: (name, None)},
        )
        for name in HOSTILE
    )
    unchecked = tuple(Unchecked(what=name, why=name, file=name) for name in HOSTILE)
    return VerifyResult(
        revision=HOSTILE[4], remote=HOSTILE[5], rerun=True, findings=findings, stages=stages, unchecked=unchecked
    )


def rerun() -> VerifyResult:
    """Returns a result with every verdict that a stage can have."""
    outputs = (
        OutputVerdict(
            path="model.bin", verdict="different", detail=("byte 3 is the first that differs", "- 00", "+ 01")
        ),
        OutputVerdict(path="same.txt", verdict="identical"),
        OutputVerdict(path="close.json", verdict="equivalent", comparator="json"),
        OutputVerdict(path="gone.txt", verdict="missing"),
        OutputVerdict(path="new.txt", verdict="extra"),
    )
    return VerifyResult(
        revision="HEAD",
        rerun=True,
        tracked=2,
        elapsed_seconds=75.0,
        stages=(
            StageCheck(stage="prepare", verdict="identical", file="dvlite.yaml", line=2, seconds=3.0),
            StageCheck(
                stage="train",
                verdict="different",
                file="dvlite.yaml",
                line=5,
                seconds=60.0,
                outputs=outputs,
                culprit=True,
                repeats=False,
                after=("prepare",),
            ),
            StageCheck(
                stage="sub:sum", verdict="failed", file="sub/dvlite.yaml", problem="left with 1", log_tail=("no",)
            ),
            StageCheck(
                stage="evaluate", verdict="not checked", file="dvlite.yaml", problem="needs train", after=("train",)
            ),
            StageCheck(stage="other", verdict="inconclusive", file="dvlite.yaml", problem="an input is not to be had"),
        ),
    )


def many(number: int) -> VerifyResult:
    """Returns a result with so many findings, and as many stages."""
    findings = tuple(
        Finding(kind="not-on-remote", message=f"file {at} is not on origin", file=f"data/{at}.dvlite", line=3)
        for at in range(number)
    )
    stages = tuple(StageCheck(stage=f"stage-{at}", verdict="ok", file="dvlite.yaml", line=at) for at in range(number))
    return VerifyResult(findings=findings, stages=stages)


def changes(number: int = 1, name: str = "data/images") -> DiffResult:
    """Returns what a diff of one tracked path returns, in which so many files differ."""
    files = tuple(
        FileChange(change="added", path=f"{name}/{at:06}{HOSTILE[at % len(HOSTILE)]}.jpg", size_bytes=2000)
        for at in range(number)
    )
    paths = (
        PathDiff(
            path=name, kind="directory", counts=Counts(added=number), old_size_bytes=10, size_bytes=2010, files=files
        ),
    )
    return DiffResult(old="0" * 40, new="HEAD", paths=paths if number else ())
