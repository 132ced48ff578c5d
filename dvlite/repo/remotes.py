"""Configured remotes: from a name to a place and its options, and whether this user lets dvlite go there (DESIGN 9.11).

A committed config comes from strangers. For reading it may name the provider's own S3, GCS or Azure and folders inside the repository;
any other place waits until the user approves it. Data is pushed only to the bucket, prefix or folder that the user approved for this
project. Approval is kept with the user, not with the clone. Makes no request.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dvlite.errors import Untrusted, UsageError
from dvlite.formats.config import COMMITTED, Config, RemoteConfig, Setting, Value
from dvlite.oid import digest_bytes
from dvlite.repo.config_files import COMMITTED_FILE
from dvlite.show import printable, quote, some, word
from dvlite.store.url import FOLDER, S3, Location, address_of, check_options, host_of, parse_url

_CHOICES = (
    "profile",
    "requester_pays",
    "sse_kms_key_id",
)  # in whose name the user speaks there, who pays, whose key encrypts


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A remote that may be opened; `key` names its place in folder names of the cache."""

    name: str
    location: Location
    options: Mapping[str, str]
    key: str


class PlaceUntrusted(Untrusted):
    """Untrusted, with the place that the user may be asked to approve, for the data of `project` if it is asked `to_push`.

    `reads_only`: nothing of the user's ever goes there.
    """

    reads_only = False

    def __init__(
        self, message: str, *, place: str, project: str | None, to_push: bool = False, file: str = COMMITTED_FILE
    ) -> None:
        how = f"dvlite remote trust {word(place)}     (CI: DVLITE_TRUST={word(place)})"
        super().__init__(f"{message}; nothing was sent", hint=how)
        self.place, self.project, self.to_push, self.file = place, project, to_push, file


def settings(config: Config, name: str | None, root: Path, *, to_push: bool = False) -> RemoteSettings:
    """Returns a remote that the user trusts, for reading or `to_push`; a relative folder starts at `root`.

    Raises UsageError if it is not configured or wrongly so, and PlaceUntrusted with the exact command that approves it.
    """
    remote = configured(config, name)
    location, options = located(remote, root)
    place = unapproved_destination(config, remote, root) if to_push else None
    if place is not None:
        known = some([printable(text) for text in reversed(config.trust_to_push)], 1)
        approved = f" (approved: {known})" if known else ""
        message = f"remote {quote(remote.name)} is at {printable(place)}, which this user has not approved for this project's data{approved}"
        raise PlaceUntrusted(message, place=place, project=config.project, to_push=True)
    place = untrusted_place(config, remote, root)
    if place is not None:
        message = f"remote {quote(remote.name)} is at {printable(place)}, which this user has not approved"
        raise PlaceUntrusted(message, place=place, project=config.project)
    return RemoteSettings(remote.name, location, options, _key(location, options))


def note_keys(config: Config, root: Path) -> set[str]:
    """Returns the names of the folders with notes about the remotes that are configured. Raises UsageError for one that is wrong."""
    remotes = (configured(config, name) for name in config.remote_names)
    return {_key(*located(remote, root)) for remote in remotes}


def _key(location: Location, options: Mapping[str, str]) -> str:
    return digest_bytes(f"{location.text}\n{options.get('endpoint_url', '')}".encode()).hex()[:32]


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
    if place is None and any(remote.options[name].layer == COMMITTED for name in _CHOICES if name in remote.options):
        place = location.text
    return None if place is None or is_approved(config, place, root) else place


def unapproved_destination(config: Config, remote: RemoteConfig, root: Path) -> str | None:
    """Returns the place that data would go to, if a committed file chose it and the user did not approve it for this project, or None."""
    destination = destination_of(*located(remote, root), root)
    if not remote.committed or destination is None or destination in _normal(config.trust_to_push, root):
        return None
    return destination


def is_approved(config: Config, place: str, root: Path) -> bool:
    """Returns whether the user approved a place (spelt as `normal_place` does): itself, or a bucket on that host."""
    return any(text == place or host_part(text) == place for text in _normal(config.trust, root))


def _normal(places: Iterable[str], root: Path) -> list[str]:
    normal = []
    for text in places:
        with contextlib.suppress(UsageError):  # what cannot be a place approves none
            normal.append(normal_place(text, root))
    return normal


def place_of(location: Location, options: Mapping[str, str], root: Path) -> str | None:
    """Returns what a user has to trust to use a location: a host, a folder outside the repository, or None for nothing."""
    if location.scheme != FOLDER:
        return host_of(location, options)
    folder = Path(os.path.realpath(location.folder or root))  # a link in the repository may lead out of it
    inside = folder.is_relative_to(root) and not folder.is_relative_to(root / ".git")
    return None if inside else str(folder)


def destination_of(location: Location, options: Mapping[str, str], root: Path) -> str | None:
    """Returns where pushed data ends up: `s3://bucket/prefix`, `https://host/bucket/prefix`, a folder, or None for one inside the repository.

    All that decides whose place it is stands in it: one bucket's name means another bucket at another host or account.
    """
    if location.scheme == FOLDER:
        return place_of(location, options, root)
    host = None if location.scheme in ("sftp", "ssh") else address_of(location, options)
    if "account_name" in options:
        host = f"https://{options['account_name'].lower()}.blob.core.windows.net"
    return location.text if host is None else f"{host}/{location.bucket}/{location.prefix}".rstrip("/")


def host_part(place: str) -> str | None:
    """Returns the host of a place like `https://host/bucket`, None for one without a host."""
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None


def approvals(said: Mapping[str, Setting], places: Mapping[str, str | None]) -> dict[str, Value | None]:
    """Returns what changes in the user's config when each of the keys lists its place, too."""
    changes: dict[str, Value | None] = {}
    for key, place in places.items():
        setting = said.get(key)
        listed = setting.value if setting is not None and isinstance(setting.value, tuple) else ()
        if place is not None and place not in listed:
            changes[key] = (*listed, place)
    return changes


def normal_place(text: str, base: Path) -> str:
    """Returns the one spelling of a place that people approve: `https://host[:port][/bucket/prefix]`, a folder, or a whole location."""
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        host = f"{parts.scheme}://{parts.netloc.lower()}"
        host = host_of(Location(S3, ""), {"endpoint_url": host}) or host
        return "/".join([host, *filter(None, parts.path.split("/"))])
    location = parse_url(text, base)
    return os.path.realpath(location.folder) if location.folder is not None else location.text
