"""Every error a user can meet: a message, a hint that says what to do, and the exit code (docs/reference/exit-codes.md).

Raised where the path or the object is known, caught once, in `cli`. Messages are lower case, name their subject in single quotes and
end without a full stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path


class DvliteError(Exception):
    """An operation failed; `hint` says what the user can do about it.

    `result` is what a verb that was called from Python did before it failed, None if that is nothing.
    """

    exit_code = 1
    result: Any = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets errors come out of another process, whatever their `__init__` takes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[DvliteError], args: tuple[object, ...], state: dict[str, Any]) -> DvliteError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def reason_of(error: DvliteError | OSError) -> str:
    """Returns why something failed, for a message, without the number and the brackets that Python puts around an error of the system."""
    return error.message if isinstance(error, DvliteError) else error.strerror or str(error)


class UsageError(DvliteError):
    """The command line, a path or a value given by the user cannot be used."""

    exit_code = 2


class StrangeFile(UsageError):
    """In the data of a tracked path stands what no version can hold: a FIFO, a socket, a device, a link that leaves it. `place` is where."""

    def __init__(self, message: str, *, hint: str | None = None, place: Path | None = None) -> None:
        super().__init__(message, hint=hint)
        self.place = place


class PartlyDone(DvliteError):
    """Some of the work could not be done or checked; what could be done was."""

    exit_code = 3


class Dropped(PartlyDone):
    """Versions that keep rules of the project dropped, and that are not there any more."""

    def __init__(self, names: str, rules: str) -> None:
        hint = "choose a later version: dvlite log PATH; another clone may still have it in its cache"
        super().__init__(f"{names}: dropped by {rules}", hint=hint)


class StageFailed(DvliteError):
    """The command of a stage failed, or did not make what it should."""

    exit_code = 4


class NotARepository(DvliteError):
    """There is no git work tree here, or dvlite was not initialised in it."""

    exit_code = 10


class Busy(DvliteError):
    """Another dvlite process holds the lock and `--no-wait` was given."""

    exit_code = 11


class ObjectMissing(DvliteError):
    """Content that a pointer names is nowhere to be found."""

    exit_code = 12


class ObjectCorrupt(DvliteError):
    """Stored bytes are not the bytes that their name promises."""

    exit_code = 13


FormatProblem = Literal["conflict", "malformed", "later", "other"]


class FormatError(DvliteError):
    """A file is not in the format that it should be in, or its content is refused.

    Decisions rest on the fields, never on the wording. `file` and `line` say where, if that is known; `reason` what is wrong there (the
    message if nothing shorter is known). `kind`: an unresolved merge "conflict"; "malformed" if all that helps is to correct the file or to
    restore an earlier version of it; "later" if a later dvlite wrote it; "other" if the hint says what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        reason: str | None = None,
        kind: FormatProblem = "other",
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.kind = file, line, kind
        self.reason = reason or message


class LaterVersion(FormatError):
    """Bytes that are whole, by their name or checksum, and that a later dvlite wrote: never treated as damaged."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} was written by a later dvlite", hint="upgrade dvlite; nothing is damaged")


class RemoteError(DvliteError):
    """A remote store could not be reached, or refused."""


class Untrusted(RemoteError):
    """A committed config names a place that this user has not approved."""


class NoSpace(DvliteError):
    """A disk has less free space than the operation needs."""


class FileChanged(DvliteError):
    """A file changed while it was being read."""
