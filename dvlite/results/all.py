"""What every verb returns: the contract between `commands` (which fill these), `render` (JSON) and `text` (people).

Data only, no behaviour beyond sums. Sizes are in bytes, times in seconds, paths repo-relative POSIX text (undecodable bytes as
surrogates, as `os.fsdecode` keeps them), object ids in full (`blake3:<64 hex>`). Fields are only ever added.

They live in modules of their own, for a verb loads those that it returns and no others (making all takes 15 ms).
"""

from __future__ import annotations

from dvlite.results.hooks import Blocked, HookResult
from dvlite.results.lineage import (
    LineageArtefact,
    LineageCommit,
    LineageContentChange,
    LineageDiffResult,
    LineageFindResult,
    LineageFound,
    LineageGraph,
    LineageLink,
    LineageResult,
    LineageRun,
    LineageRunName,
    LineageSide,
    LineageSubject,
    LineageUse,
    LineageValueChange,
    LogResult,
    LogVersion,
)
from dvlite.results.looks import (
    AbsentPath,
    ChangedPath,
    Counts,
    DiffResult,
    FileChange,
    PathDiff,
    Reason,
    StaleStage,
    StatusResult,
    UncommittedPointer,
)
from dvlite.results.merging import MergeConflict, ResolvedPath, ResolveResult
from dvlite.results.moves import CheckedOutPath, CheckoutResult, FetchResult, MovedPath, PullResult, PushResult
from dvlite.results.pipeline import (
    DagResult,
    DagStage,
    MetricChange,
    ParamSet,
    ReproResult,
    StageOutput,
    StageRun,
)
from dvlite.results.pipeline_files import (
    MetricDifference,
    MetricsDiffResult,
    MetricsFile,
    MetricsOfRevision,
    MetricsShowResult,
    ParamDifference,
    ParamsDiffResult,
    StageAddResult,
    StageListResult,
    StageRow,
)
from dvlite.results.runs import (
    RunColumn,
    RunNote,
    RunsDiffResult,
    RunSide,
    RunsListResult,
    RunsNoteResult,
    RunsShowResult,
    RunsTagResult,
    RunSummary,
    RunValueChange,
)
from dvlite.results.setup import (
    CloneResult,
    ConfigResult,
    ConfigValue,
    DoctorLine,
    DoctorResult,
    InitResult,
    InstallResult,
    RemoteAddResult,
    RemoteChangeResult,
    RemoteCheck,
    RemoteListResult,
    RemoteRow,
    RemoteTestResult,
    RemoteTrustResult,
)
from dvlite.results.stored import CachePruneResult, GetResult, LsEntry, LsResult
from dvlite.results.tracking import AddedPath, AddResult, MvResult, RmResult
from dvlite.results.verify import Finding, OutputVerdict, StageCheck, Unchecked, VerifyResult

__all__ = [
    "AbsentPath",
    "AddResult",
    "AddedPath",
    "Blocked",
    "CachePruneResult",
    "ChangedPath",
    "CheckedOutPath",
    "CheckoutResult",
    "CloneResult",
    "ConfigResult",
    "ConfigValue",
    "Counts",
    "DagResult",
    "DagStage",
    "DiffResult",
    "DoctorLine",
    "DoctorResult",
    "FetchResult",
    "FileChange",
    "Finding",
    "GetResult",
    "HookResult",
    "InitResult",
    "InstallResult",
    "LineageArtefact",
    "LineageCommit",
    "LineageContentChange",
    "LineageDiffResult",
    "LineageFindResult",
    "LineageFound",
    "LineageGraph",
    "LineageLink",
    "LineageResult",
    "LineageRun",
    "LineageRunName",
    "LineageSide",
    "LineageSubject",
    "LineageUse",
    "LineageValueChange",
    "LogResult",
    "LogVersion",
    "LsEntry",
    "LsResult",
    "MergeConflict",
    "MetricChange",
    "MetricDifference",
    "MetricsDiffResult",
    "MetricsFile",
    "MetricsOfRevision",
    "MetricsShowResult",
    "MovedPath",
    "MvResult",
    "OutputVerdict",
    "ParamDifference",
    "ParamSet",
    "ParamsDiffResult",
    "PathDiff",
    "PullResult",
    "PushResult",
    "Reason",
    "RemoteAddResult",
    "RemoteChangeResult",
    "RemoteCheck",
    "RemoteListResult",
    "RemoteRow",
    "RemoteTestResult",
    "RemoteTrustResult",
    "ReproResult",
    "ResolveResult",
    "ResolvedPath",
    "Result",
    "RmResult",
    "RunColumn",
    "RunNote",
    "RunSide",
    "RunSummary",
    "RunValueChange",
    "RunsDiffResult",
    "RunsListResult",
    "RunsNoteResult",
    "RunsShowResult",
    "RunsTagResult",
    "StageAddResult",
    "StageCheck",
    "StageListResult",
    "StageOutput",
    "StageRow",
    "StageRun",
    "StaleStage",
    "StatusResult",
    "Unchecked",
    "UncommittedPointer",
    "VerifyResult",
]

Result = (
    InitResult
    | CloneResult
    | RemoteAddResult
    | RemoteListResult
    | RemoteChangeResult
    | RemoteTrustResult
    | RemoteTestResult
    | AddResult
    | RmResult
    | MvResult
    | StatusResult
    | DiffResult
    | CheckoutResult
    | PushResult
    | FetchResult
    | PullResult
    | LsResult
    | GetResult
    | CachePruneResult
    | ConfigResult
    | DoctorResult
    | LineageResult
    | LineageFindResult
    | LineageDiffResult
    | LogResult
    | MetricsDiffResult
    | MetricsShowResult
    | ParamsDiffResult
    | StageAddResult
    | StageListResult
    | RunsListResult
    | RunsShowResult
    | RunsDiffResult
    | RunsTagResult
    | RunsNoteResult
    | ResolveResult
    | InstallResult
    | HookResult
    | VerifyResult
)
