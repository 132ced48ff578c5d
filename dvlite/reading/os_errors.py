"""The errors of dvlite for readers that expect those of a file system: the same classes, messages, hints and exit codes, and OSErrors besides.

None of them is a FileNotFoundError: to zarr and others that means "nothing was ever there", and they go on with zeros.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from dvlite.errors import DvliteError, ObjectCorrupt, ObjectMissing, PartlyDone, RemoteError, Untrusted
from dvlite.show import quote


class UnreadableError(DvliteError, OSError):
    """Something of a version cannot be read; `filename` is its path, where it is known."""

    def __str__(self) -> str:
        return self.message


class MissingError(ObjectMissing, UnreadableError):
    """Content that a version names is nowhere to be found."""


class DamagedError(ObjectCorrupt, UnreadableError):
    """Stored bytes are not the bytes that their name promises."""


class GoneError(PartlyDone, UnreadableError):
    """Content was purged, or dropped by the rules of the project."""


class StoreError(RemoteError, UnreadableError):
    """A remote store could not be reached, or refused."""


class UntrustedError(Untrusted, UnreadableError, PermissionError):
    """A committed config names a place that this user has not approved."""


_CLASSES: tuple[tuple[type[DvliteError], type[UnreadableError]], ...] = (
    (Untrusted, UntrustedError),
    (RemoteError, StoreError),
    (ObjectMissing, MissingError),
    (ObjectCorrupt, DamagedError),
    (PartlyDone, GoneError),
)


def as_os_error(error: DvliteError, path: str | None = None) -> DvliteError:
    """Returns the error as one that is an OSError too, if it is about stored bytes; any other as it is."""
    if isinstance(error, OSError):
        return error
    for kind, own in _CLASSES:
        if isinstance(error, kind):
            subject = "" if path is None or own is GoneError else f"cannot read {quote(path)}: "  # which names it
            both = own(subject + error.message, hint=error.hint)
            both.errno, both.strerror, both.filename = errno.EIO, os.strerror(errno.EIO), path
            both.__cause__ = error
            return both
    return error


@contextlib.contextmanager
def as_os_errors(path: str | None = None) -> Iterator[None]:
    """Within it, errors about stored bytes are OSErrors too, of a path."""
    try:
        yield
    except DvliteError as error:
        both = as_os_error(error, path)
        raise both from both.__cause__
