"""Addresses that data is imported from: which ones there are, how they are written down, and whether this user lets dvlite go there.

A pointer comes from strangers, as a committed config does: what it names is contacted by `update` and `status --remote` only, and only
where the user approved its host or folder (DESIGN 9.11). To name an address in a command is consent. Makes no request.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.config import USER
from dvlite.formats.pointer import SUFFIX
from dvlite.formats.source import ImportSource
from dvlite.git.program import without_credentials
from dvlite.repo.remotes import (
    PlaceUntrusted,
    approvals,
    configured,
    is_approved,
    located,
    normal_place,
    place_of,
    settings,
)
from dvlite.repo.repository import Repo
from dvlite.show import printable, quote
from dvlite.store.url import FOLDER, Location, parse_url

_WEB = ("http", "https")
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!/)[^\s]+")  # git@example.com:acme/birds
_SECRETS = re.compile(
    r"(?i)(.*[-_])?(access[-_]?key(id)?|api[-_]?key|auth|credential|key|password|pwd|secret|sig|signature|token)"
)
_HOST = re.compile(
    r"[a-z0-9](?:[\w.-]{0,251}\w)?|[0-9a-f:]*:[0-9a-f:.]*"
)  # a name, perhaps with letters of any script, or IPv6
_MOST_LETTERS = 4096


class SourceUntrusted(PlaceUntrusted):
    """The pointer of an import names a place that the user did not approve."""

    reads_only = True


def repository_address(text: str, repo: Repo) -> str:
    """Returns the spelling by which pointers name a git repository: a folder, absolute or from the root, or the URL itself.

    Raises UsageError for credentials in it, and for what git would not read as a plain address.
    """
    _require_plain(text, "a repository")
    parts = urlsplit(text)
    if parts.scheme in (*_WEB, "ssh") and parts.hostname:
        user = parts.username if parts.scheme == "ssh" else None
        if parts.password or (parts.username and user is None) or parts.query or parts.fragment:
            raise UsageError(
                f"{quote(without_credentials(text))} would put credentials into a pointer, which git keeps for ever",
                hint="give it without them; git asks its credential helper",
            )
        return text
    if "://" not in text and not os.path.exists(repo.cwd / text) and _SCP.fullmatch(text):
        return text
    return _folder_address(text, repo, "give a git URL, or the folder of a repository")


def url_address(text: str, repo: Repo) -> str:
    """Returns the spelling by which pointers name a URL or folder. Raises UsageError for credentials in it, and for what no address is."""
    _require_plain(text, "a URL")
    parts = urlsplit(text)
    if parts.scheme in _WEB:
        if not parts.hostname or parts.fragment:
            raise UsageError(f"{quote(without_credentials(text))} is not a plain URL", hint="leave out what follows #")
        if parts.username or any(_SECRETS.fullmatch(name) for name, _ in parse_qsl(parts.query)):
            raise UsageError(
                f"{quote(without_credentials(text))} would put credentials into a pointer, which git keeps for ever",
                hint="add what it has, without its address: curl -fL URL | dvlite add - -o OUT",
            )
        return text
    if "://" in text and parts.scheme != FOLDER:
        return parse_url(text, repo.cwd).text + ("/" if text.endswith("/") else "")
    return _folder_address(text, repo, "give a URL, a file or a folder")


def open_address(address: str, repo: Repo) -> str:
    """Returns an address of a pointer as git and the readers of URLs take it: a folder from the root becomes absolute."""
    return os.path.normpath(repo.root / address) if _is_folder(address) else address


def require_trusted(repo: Repo, path: str, source: ImportSource) -> None:
    """Raises SourceUntrusted unless the user approved the host or folder that a pointer names, UsageError for one that is no address."""
    place = _place(source, repo)
    if place is None or is_approved(repo.config, place, repo.root):
        return
    message = f"{quote(path)} is imported from {printable(place)}, which this user has not approved"
    raise SourceUntrusted(message, place=place, project=None, file=path + SUFFIX)


def consent(repo: Repo, source: ImportSource) -> tuple[str, ...]:
    """Approves, for reading, the place that the user named in a command; returns a warning if that could not be kept."""
    place = _place(source, repo)
    if place is None or is_approved(repo.config, place, repo.root):
        return ()
    try:
        changes = approvals(repo.read_layer(USER), {"trust": place})
        repo.change_config(USER, changes)
    except DvliteError as error:
        return (f"your approval of {place} could not be kept: {error.message}",)
    return ()


def options_of(location: Location, repo: Repo) -> dict[str, str]:
    """Returns the options for a bucket: those of a configured remote in it, if there is one. Raises PlaceUntrusted as that remote does."""
    for name in repo.config.remote_names:
        try:
            known, _ = located(configured(repo.config, name), repo.root)
        except UsageError:  # of another remote
            continue
        if (known.scheme, known.bucket) == (location.scheme, location.bucket):
            return dict(settings(repo.config, name, repo.root).options)
    return {}


def _place(source: ImportSource, repo: Repo) -> str | None:
    """Returns what a user has to trust: a host, a folder outside the repository, or None for nothing."""
    text = source.address.removeprefix("file://")
    if source.repository:
        repository_address(text, repo)
    else:
        url_address(text, repo)
    parts = urlsplit(text)
    if _is_folder(text):
        place = place_of(Location(FOLDER, text, folder=repo.root / text), {}, repo.root)
        if place is None and not source.repository:  # a stranger's pointer could make us push what is no data
            raise UsageError(f"{quote(text)} is in this repository", hint="track it: dvlite add PATH -o OUT")
        return place
    if parts.scheme in _WEB:
        return normal_place(f"{parts.scheme}://{parts.netloc}", repo.root)
    if source.repository:
        scp = None if "://" in text else _SCP.fullmatch(text)
        return f"ssh://{(scp[1] if scp else parts.netloc.rpartition('@')[2]).lower()}"
    location = parse_url(text, repo.root)
    return place_of(location, options_of(location, repo), repo.root)


def _require_plain(text: str, what: str) -> None:
    if not text or not text.isprintable() or text != text.strip() or len(text) > _MOST_LETTERS:
        raise UsageError(f"{quote(text[:80])} is not the address of {what}")
    if text.startswith("-") or "::" in text.partition("/")[0] or "\\" in text:
        raise UsageError(f"{quote(text)} is not the address of {what}", hint="a folder is written ./FOLDER")
    try:
        parts = urlsplit(text)
        is_sound = parts.port != 0 and (not parts.hostname or _HOST.fullmatch(parts.hostname) is not None)
    except ValueError:
        is_sound = False
    if not is_sound:
        raise UsageError(f"{quote(without_credentials(text))} is not the address of {what}")


def _is_folder(address: str) -> bool:
    return "://" not in address and (address.startswith(("/", ".")) or not _SCP.fullmatch(address))


def _folder_address(text: str, repo: Repo, hint: str) -> str:
    plain = text.removeprefix("file://")
    if "://" in plain or (plain != text and not plain.startswith("/")):
        raise UsageError(f"cannot read {quote(without_credentials(text))}: its kind is not known", hint=hint)
    if os.path.isabs(plain):
        return os.path.normpath(plain)
    whole = os.path.normpath(repo.cwd / plain)
    relative = os.path.relpath(whole, repo.root)
    return relative if relative.startswith("..") else f"./{relative}"
