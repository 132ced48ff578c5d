"""What DVC tracks in one version of a repository, its work tree or a commit, and what DVC's config says of where the data is.

Read without DVC, and written by strangers: a path that leads out of the repository is refused. Changes nothing, contacts nothing.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvlite.errors import FormatError
from dvlite.files import read_regular, refused
from dvlite.formats import dvc_files
from dvlite.formats.dvc_files import DvcConfig, DvcOut, DvcSource
from dvlite.git.output import REGULAR
from dvlite.git.program import Git
from dvlite.paths import check_paths, is_inside
from dvlite.repo.repository import Repo
from dvlite.repo.tracked_paths import overlap, why_untrackable
from dvlite.show import quote, word

FOLDER = ".dvc"
CONFIG = f"{FOLDER}/config"
LIMIT_BYTES = 1 << 20
_NAMED = ("*.dvc", dvc_files.LOCK_NAME, f"*/{dvc_files.LOCK_NAME}")
_SECRETS = ("access_key_id", "secret_access_key", "session_token")  # of these, those that are used


@dataclass(frozen=True, slots=True)
class DvcVersion:
    """Outputs that DVC keeps, by path; `origins`: where imported ones are from. `remote`: the one to read from, '' for the default one.

    `root` is the work tree, with its config; '' for a far repository, whose committed config is `committed`. What only this clone knows is not in it.
    """

    outs: Mapping[str, DvcOut]
    origins: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    committed: bytes = b""
    remote: str = ""

    def at(self, path: str) -> dict[str, DvcOut]:
        """Returns what is at a path or below it, and what the path is inside of."""
        return {name: out for name, out in self.outs.items() if is_inside(name, path) or is_inside(path, name)}


def is_lock(name: str) -> bool:
    """Returns whether a file is DVC's list of what stages made."""
    return posixpath.basename(name) == dvc_files.LOCK_NAME


def is_own(name: str) -> bool:
    """Returns whether a file of git is one by which DVC names data or settings, and none that people read."""
    base = posixpath.basename(name)
    return name.startswith(f"{FOLDER}/") or base == dvc_files.IGNORE_NAME or _is_file(base)


def on_disk(repo: Repo) -> DvcVersion:
    """Returns what DVC tracks in a work tree. Raises FormatError."""
    read = {}
    for name in filter(_names_data, repo.git.list_files(*_NAMED, untracked=True)):
        data = repo.work_tree.read(name, dvc_files.limit_of(name))
        if data is not None:
            _require_size(name, len(data))
            read[name] = data
    version = _version(read, repo.display)
    kept = set(repo.git.tracked_under(list(version.outs)))
    return replace(_without(version, kept), root=str(repo.root))


def of_commit(git: Git, commit: str) -> DvcVersion | None:
    """Returns what DVC tracks in a commit, None where that has no config of DVC. Raises FormatError."""
    entries = {entry.path: entry for entry in git.list_tree(commit) if entry.mode in REGULAR}
    if CONFIG not in entries:
        return None
    names: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if name == CONFIG or _names_data(name):
            names.setdefault(entry.blob, []).append(name)

    limits = {blob: max(map(dvc_files.limit_of, of_blob)) for blob, of_blob in names.items()}
    blobs = git.blobs_within(limits, lambda blob, size: _require_size(names[blob][0], size))
    read = {name: data for blob, data in blobs for name in names[blob]}
    committed = read.pop(CONFIG)
    version = _version(read, lambda name: f"{commit[:8]}:{name}")
    return replace(_without(version, entries), committed=committed)


def config_of(version: DvcVersion, environ: Mapping[str, str]) -> DvcConfig:
    """Returns the config in force: the user's, then that of the version, of a work tree with what this clone alone knows. Raises FormatError.

    Keys to a bucket count where only this user can have written them; a folder without a root is relative to a clone.
    """
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    own, folder = Path(home) / "dvc" / "config", Path(version.root) / FOLDER
    layers: list[tuple[Path | None, str, bytes | None]] = []
    if own.is_absolute():
        layers.append((own.parent, str(own), read_regular(own, str(own), LIMIT_BYTES, follow=True)))
    if version.root:
        for file in ("config", "config.local"):
            name = f"{FOLDER}/{file}"
            layers.append((folder, name, read_regular(folder / file, name, LIMIT_BYTES)))
    else:
        layers.append((None, CONFIG, version.committed))
    merged = DvcConfig()
    for base, name, data in layers:
        if data is not None:
            merged = _merged(merged, dvc_files.parse_config(data, name), base, is_committed=name == CONFIG)
    return replace(merged, remote=version.remote) if version.remote else merged


def _merged(known: DvcConfig, layer: DvcConfig, base: Path | None, *, is_committed: bool) -> DvcConfig:
    """Returns the config with a layer over it; relative places start at `base`."""
    remotes = {name: dict(options) for name, options in known.remotes.items()}
    for name, options in layer.remotes.items():
        kept = {key: value for key, value in options.items() if not (is_committed and key in _SECRETS)}
        url = kept.get("url", "")
        if base is not None and url and "://" not in url:
            kept["url"] = os.path.normpath(base / url)
        remotes[name] = {**remotes.get(name, {}), **kept}
    cache = os.path.normpath(base / layer.cache) if base is not None and layer.cache else known.cache
    return DvcConfig(cache, layer.remote or known.remote, remotes)


def caches(root: Path, config: DvcConfig) -> list[Path]:
    """Returns where DVC's cache of a work tree may be: `cache.dir`, and its own place."""
    own = root / FOLDER / "cache"
    return [Path(config.cache), own] if config.cache else [own]


def placed(file: str, out: DvcOut) -> str:
    """Returns the path of an output relative to the root, for one of DVC's files."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), out.path))


def is_outside(out: DvcOut) -> bool:
    """Returns whether an output or dependency is not in the repository, by its own path: a URL, an absolute path."""
    return "://" in out.path or out.path.startswith(("/", "~"))


def check_places(outs: Iterable[tuple[str, DvcOut]]) -> None:
    """Raises FormatError for an output, of a file, in a place where dvlite cannot track it, or where another one is."""
    places: dict[str, str] = {}
    for file, out in outs:
        if is_outside(out):
            continue
        path = placed(file, out)
        reason = "it is outside the repository" if path.split("/")[0] == ".." else why_untrackable(path)
        if reason is not None:
            raise refused(file, f"{quote(path)} cannot be tracked, {reason}", hint=f"correct {word(file)}")
        try:
            check_paths([os.fsencode(path)])
        except (FormatError, UnicodeEncodeError) as error:
            raise refused(file, str(error), hint=f"correct {word(file)}") from None
        if path in places:
            raise refused(file, f"{quote(path)} is named by {quote(places[path])} too", hint=f"correct {word(file)}")
        places[path] = file


def _require_size(name: str, size_bytes: int) -> None:
    if size_bytes > dvc_files.limit_of(name):
        raise refused(name, f"it has more than {dvc_files.limit_of(name):,} bytes")


def _is_file(base: str) -> bool:
    return base.endswith(dvc_files.SUFFIX) and base != dvc_files.SUFFIX


def _names_data(name: str) -> bool:
    return (is_lock(name) or _is_file(posixpath.basename(name))) and not name.startswith(f"{FOLDER}/")


def _version(read: Mapping[str, bytes], shown: Callable[[str], str]) -> DvcVersion:
    """Returns what files of DVC name, but for what DVC does not keep itself; the first of two that name one path counts."""
    outs: dict[str, DvcOut] = {}
    origins: dict[str, str] = {}
    for name, data in sorted(read.items(), key=lambda item: (is_lock(item[0]), item[0])):
        found, source = _parsed(name, data, shown(name))
        kept = [out for out in found if out.cache and not is_outside(out)]
        check_places((name, out) for out in kept)
        for out in kept:
            path = placed(name, out)
            outs.setdefault(path, out)
            if source is not None:
                origins[path] = source.repository or source.url
    pair = overlap(outs)
    if pair is not None:
        raise refused(pair[1], f"it lies inside {quote(pair[0])}, and DVC tracks both", hint="correct it with dvc")
    return DvcVersion(outs, origins)


def _parsed(name: str, data: bytes, where: str) -> tuple[Iterable[DvcOut], DvcSource | None]:
    if is_lock(name):
        return (out for stage in dvc_files.parse_lock(data, where).values() for out in stage.outs), None
    parsed = dvc_files.parse_file(data, where)
    return parsed.outs, parsed.source


def _without(version: DvcVersion, kept: Collection[str]) -> DvcVersion:
    """Returns a version without the paths that git keeps itself: a lock does not say which those are."""
    return replace(version, outs={path: out for path, out in version.outs.items() if path not in kept})
