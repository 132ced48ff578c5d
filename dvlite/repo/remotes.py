"""Configured remotes: from a name to a place and its options, and whether this user lets dvlite go there (DESIGN 9.11).

A committed config comes from strangers. It may name the provider's own S3, GCS or Azure and folders inside the repository; any other
place waits until the user approves it, and approval is kept with the user, not with the clone. Makes no request.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dvlite.errors import Untrusted, UsageError
from dvlite.formats.config import COMMITTED, Config, RemoteConfig
from dvlite.oid import digest_bytes
from dvlite.show import printable, quote
from dvlite.store.url import FOLDER, S3, Location, check_options, host_of, parse_url

_PROFILE = "profile"


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A remote that may be opened; `key` names its place in folder names of the cache."""

    name: str
    location: Location
    options: Mapping[str, str]
    key: str


class PlaceUntrusted(Untrusted):
    """Untrusted, with the place that the user may be asked to approve."""

    def __init__(self, message: str, *, place: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.place = place


def settings(config: Config, name: str | None, root: Path) -> RemoteSettings:
    """Returns a remote that the user trusts; a relative folder starts at `root`.

    Raises UsageError if it is not configured or wrongly so, and PlaceUntrusted with the exact command that approves it.
    """
    remote = configured(config, name)
    location, options = located(remote, root)
    place = untrusted_place(config, remote, root)
    if place is not None:
        raise PlaceUntrusted(
            f"remote {quote(remote.name)} is at {printable(place)}, which this user has not approved; nothing was sent",
            place=place,
            hint=f"dvlite remote trust {printable(place)}     (CI: DVLITE_TRUST={printable(place)})",
        )
    key = digest_bytes(f"{location.text}\n{options.get('endpoint_url', '')}".encode()).hex()[:32]
    return RemoteSettings(remote.name, location, options, key)


def configured(config: Config, name: str | None) -> RemoteConfig:
    """Returns the remote of that name, or the default one; raises UsageError naming those that there are."""
    names = config.remote_names
    if name is None and config.default_remote is None:
        if not names:
            raise UsageError(
                "no remote is configured",
                hint="dvlite remote add s3://BUCKET/PREFIX   or   dvlite remote add /a/folder",
            )
        raise UsageError(
            "no remote is the default one", hint=f"dvlite remote default NAME, with one of: {', '.join(names)}"
        )
    wanted = name or config.default_remote or ""
    remote = config.remote(wanted)
    if remote is None:
        known = f"the remotes are: {', '.join(names)}" if names else "dvlite remote add s3://BUCKET/PREFIX"
        raise UsageError(f"there is no remote {quote(wanted)}", hint=known)
    return remote


def located(remote: RemoteConfig, root: Path) -> tuple[Location, dict[str, str]]:
    """Returns where a remote is and its options; raises UsageError naming the file and line of a wrong one."""
    options = {name: str(setting.value) for name, setting in remote.options.items()}
    try:
        location = parse_url(str(remote.url.value), root)
        check_options(location.scheme, options)
    except UsageError as error:
        raise UsageError(
            f"{remote.url.source}: remote {quote(remote.name)}: {error.message}", hint=error.hint
        ) from None
    return location, options


def untrusted_place(config: Config, remote: RemoteConfig, root: Path) -> str | None:
    """Returns the place of a remote that a committed file chose and the user did not approve, or None."""
    location, options = located(remote, root)
    if not remote.committed:
        return None
    place = place_of(location, options, root)
    if place is None and _PROFILE in remote.options and remote.options[_PROFILE].layer == COMMITTED:
        place = location.text  # it chooses in whose name the user speaks there
    return None if place is None or is_approved(config, place, root) else place


def is_approved(config: Config, place: str, root: Path) -> bool:
    """Returns whether the user approved a place (spelt as `normal_place` does)."""
    for text in config.trust:
        with contextlib.suppress(UsageError):  # what cannot be a place approves none
            if normal_place(text, root) == place:
                return True
    return False


def place_of(location: Location, options: Mapping[str, str], root: Path) -> str | None:
    """Returns what a user has to trust to use a location: a host, a folder outside the repository, or None for nothing."""
    if location.scheme != FOLDER:
        return host_of(location, options)
    folder = Path(os.path.realpath(location.folder or root))  # a link in the repository may lead out of it
    inside = folder.is_relative_to(root) and not folder.is_relative_to(root / ".git")
    return None if inside else str(folder)


def normal_place(text: str, base: Path) -> str:
    """Returns the one spelling of a place that people approve: `https://host[:port]`, a folder, or a whole location."""
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        location = Location(S3, "")
        return (
            host_of(location, {"endpoint_url": f"{parts.scheme}://{parts.netloc.lower()}"})
            or f"{parts.scheme}://{parts.netloc.lower()}"
        )
    location = parse_url(text, base)
    return os.path.realpath(location.folder) if location.folder is not None else location.text
