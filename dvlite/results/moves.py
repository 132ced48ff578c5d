"""What the verbs that move data return: push, fetch, pull, checkout. See `results.all`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedPath:
    """One version of a tracked path on its way to or from a remote."""

    path: str
    oid: str
    files: int = 0
    size_bytes: int = 0
    state: Literal["pushed", "fetched", "present", "planned", "missing", "lost", "failed"] = "present"
    revision: str | None = None  # the commit that names it, when revisions were asked for
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a remote has now that it had not before."""

    schema: ClassVar[str] = "dvlite.push/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # uploaded
    objects: int = 0  # written to the remote
    uploaded_bytes: int = 0
    size_bytes: int = 0  # of the files uploaded, before dedup and compression
    records: int = 0  # run records, tags and notes that were uploaded
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What the cache has now that it had not before."""

    schema: ClassVar[str] = "dvlite.fetch/1"
    remote: str
    paths: tuple[MovedPath, ...] = ()
    files: int = 0  # downloaded
    objects: int = 0  # requests answered with data
    downloaded_bytes: int = 0
    size_bytes: int = 0  # of the files that were missing
    records: int = 0  # run records, tags and notes that are new here
    dry_run: bool = False
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOutPath:
    """What `checkout` did to one tracked path."""

    path: str
    written: int = 0
    removed: int = 0
    kept: int = 0  # already right
    extra: int = 0  # local files that no version has: left alone
    written_bytes: int = 0
    conflicts: tuple[str, ...] = ()  # local edits that were not overwritten
    saved: tuple[str, ...] = ()  # overwritten by --force after their bytes went into the cache
    missing: tuple[str, ...] = ()  # not in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutResult:
    """What `checkout` changed in the workspace."""

    schema: ClassVar[str] = "dvlite.checkout/1"
    paths: tuple[CheckedOutPath, ...] = ()
    revision: str | None = None
    link: str = ""  # "reflink", "copy", "hardlink", "symlink"
    unusable: tuple[str, ...] = ()  # why a pointer or lockfile could not be read, though everything was asked for
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """A fetch and the checkout after it (None in a dry run, or where only revisions were fetched)."""

    schema: ClassVar[str] = "dvlite.pull/1"
    fetch: FetchResult
    checkout: CheckoutResult | None = None
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
