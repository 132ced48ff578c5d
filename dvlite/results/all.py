"""What every verb returns: the contract between `commands` (which fill these), `render` (JSON) and `text` (people).

Data only, no behaviour beyond sums. Sizes are in bytes, times in seconds, paths repo-relative POSIX text (undecodable bytes as
surrogates, as `os.fsdecode` keeps them), object ids in full (`blake3:<64 hex>`). Fields are only ever added.

They live in modules of their own, for a verb loads those that it returns and no others (making all takes 15 ms).
"""

from __future__ import annotations

from dvlite.results.looks import (
    AbsentPath,
    ChangedPath,
    Counts,
    DiffResult,
    FileChange,
    PathDiff,
    StatusResult,
    UncommittedPointer,
)
from dvlite.results.moves import CheckedOutPath, CheckoutResult, FetchResult, MovedPath, PullResult, PushResult
from dvlite.results.setup import (
    CloneResult,
    ConfigResult,
    ConfigValue,
    DoctorLine,
    DoctorResult,
    InitResult,
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

__all__ = [
    "AbsentPath",
    "AddResult",
    "AddedPath",
    "CachePruneResult",
    "ChangedPath",
    "CheckedOutPath",
    "CheckoutResult",
    "CloneResult",
    "ConfigResult",
    "ConfigValue",
    "Counts",
    "DiffResult",
    "DoctorLine",
    "DoctorResult",
    "FetchResult",
    "FileChange",
    "GetResult",
    "InitResult",
    "LsEntry",
    "LsResult",
    "MovedPath",
    "MvResult",
    "PathDiff",
    "PullResult",
    "PushResult",
    "RemoteAddResult",
    "RemoteChangeResult",
    "RemoteCheck",
    "RemoteListResult",
    "RemoteRow",
    "RemoteTestResult",
    "RemoteTrustResult",
    "Result",
    "RmResult",
    "StatusResult",
    "UncommittedPointer",
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
)
