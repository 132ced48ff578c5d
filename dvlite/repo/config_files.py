"""Where the config files are, and reading and changing them. What may stand in them is the business of `formats.config`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dvlite.errors import FormatError, NotARepository, UsageError
from dvlite.files import os_error, read_regular, write_atomic
from dvlite.formats import config
from dvlite.formats.config import COMMITTED, LOCAL, SYSTEM, USER, Config, Setting, Value
from dvlite.git.program import Git

FOLDER = ".dvlite"
COMMITTED_FILE = f"{FOLDER}/config.yaml"
LOCAL_FILE = f"{FOLDER}/config.local.yaml"
_FILES = {COMMITTED: COMMITTED_FILE, LOCAL: LOCAL_FILE}
LIMIT_BYTES = (1 << 20) + 1  # one more than the format allows, so that it can say so


def load(
    root: Path | None, environ: Mapping[str, str], git: Git | None = None, *, committed: bytes | None = None
) -> Config:
    """Reads every layer there is; without `root`, those of no repository. Raises FormatError naming a file and a line.

    `committed` is the committed file of a repository that is not on this disk.
    """
    layers: list[Mapping[str, Setting]] = []
    for layer in (SYSTEM, USER) if root is None else (SYSTEM, USER, COMMITTED, LOCAL):
        path = path_of(layer, root, environ)
        data = None if path is None else _read(path, layer)
        if data is None and layer == COMMITTED and git is not None:
            data = git.read_left_out(COMMITTED_FILE, limit_bytes=LIMIT_BYTES)
        if path is None or data is None:
            continue
        if layer == LOCAL and git is not None and git.tracked_under([LOCAL_FILE]):
            # It could have come with the clone, and what is said in it counts as said by this user.
            raise FormatError(
                f"refused '{LOCAL_FILE}': git tracks it, and it may hold secrets", hint=f"git rm --cached {LOCAL_FILE}"
            )
        layers.append(config.parse(data, _FILES.get(layer) or str(path), layer))
    if committed is not None:
        layers.append(config.parse(committed, COMMITTED_FILE, COMMITTED))
    if not environ.keys().isdisjoint(config.ENVIRONMENT_KEYS):
        layers.append(config.from_environment(environ))
    return config.merge(layers)


def removed(git: Git) -> NotARepository | None:
    """Returns the error for committed settings that git has and the work tree has lost; None where git has none."""
    if git.head() is None or git.read_file("HEAD", COMMITTED_FILE, limit_bytes=LIMIT_BYTES) is None:
        return None
    return NotARepository(
        f"'{COMMITTED_FILE}' is gone from the work tree, and the last commit has it",
        hint=f"git checkout HEAD -- {FOLDER}",
    )


def read(layer: str, root: Path | None, environ: Mapping[str, str]) -> Mapping[str, Setting]:
    """Returns what one layer's file says, nothing where it does not exist."""
    path = file_of(layer, root, environ)
    data = _read(path, layer)
    return {} if data is None else config.parse(data, _FILES.get(layer) or str(path), layer)


def file_of(layer: str, root: Path | None, environ: Mapping[str, str]) -> Path:
    """Returns the path of a layer's file; raises UsageError where there can be none."""
    path = path_of(layer, root, environ)
    if path is not None:
        return path
    if layer in _FILES:
        raise UsageError(f"the {layer} config belongs to a repository", hint="cd into one, or use --user")
    raise UsageError(f"cannot find the {layer} config: HOME is not set", hint="set HOME, or XDG_CONFIG_HOME")


def change(
    layer: str,
    settings: Mapping[str, Value | None],
    root: Path | None,
    environ: Mapping[str, str],
    *,
    private: Path | None = None,
) -> Path:
    """Sets the keys (removes those with None) in a layer's file, all at once, and returns its path.

    The result is checked as a whole before it is written; comments stay. Only the user can read what may hold secrets;
    of those in the work tree, a temporary file is in `private`, the git directory, if that is on the same disk: git would take it else.
    """
    path = file_of(layer, root, environ)
    where = _FILES.get(layer) or str(path)
    data = before = _read(path, layer) or b""
    for key, value in settings.items():
        data = config.edit(data, key, value, where)
    config.parse(data, where, layer)
    if data != before:
        target = path if layer in _FILES else Path(os.path.realpath(path))  # people keep links to their dotfiles
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise os_error(error, "make the folder", target.parent) from error
        if layer != LOCAL or private is None or os.stat(private).st_dev != os.stat(target.parent).st_dev:
            private = None
        write_atomic(target, data, mode=0o600 if layer in (USER, LOCAL) else 0o666, aside=private)
    return path


def path_of(layer: str, root: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Returns where a layer's file is, those of the system and the user in this platform's place; None where there can be none."""
    if layer in _FILES:
        return None if root is None else root / _FILES[layer]
    mac = sys.platform == "darwin"
    if layer == SYSTEM:
        return Path("/Library/Application Support/dvlite/config.yaml" if mac else "/etc/dvlite/config.yaml")
    home, xdg = environ.get("HOME", ""), environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(xdg):
        return Path(xdg) / "dvlite" / "config.yaml"
    if not os.path.isabs(home):
        return None
    return Path(home) / ("Library/Application Support" if mac else ".config") / "dvlite" / "config.yaml"


def own_cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Returns the user's folder for what can be made again and belongs to no clone, in this platform's place; None without a home."""
    home, xdg = environ.get("HOME", ""), environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):
        return Path(xdg) / "dvlite"
    if not os.path.isabs(home):
        return None
    return Path(home) / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "dvlite"


def _read(path: Path, layer: str) -> bytes | None:
    if layer in _FILES:  # a clone may bring it, and the folder
        if path.parent.is_symlink():
            raise FormatError(f"refused '{FOLDER}': it is a symbolic link", hint="replace it by a folder")
        return read_regular(path, _FILES[layer], LIMIT_BYTES)
    return read_regular(path, str(path), LIMIT_BYTES, follow=True)  # people keep links to their dotfiles
