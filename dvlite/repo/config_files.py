"""Where the config files are, and reading and changing them. What may stand in them is the business of `formats.config`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dvlite.errors import FormatError, UsageError
from dvlite.files import os_error, read_regular, write_atomic
from dvlite.formats import config
from dvlite.formats.config import COMMITTED, LOCAL, SYSTEM, USER, Config, Setting, Value
from dvlite.git.program import Git

FOLDER = ".dvlite"
COMMITTED_FILE = f"{FOLDER}/config.yaml"
LOCAL_FILE = f"{FOLDER}/config.local.yaml"
_LIMIT_BYTES = (1 << 20) + 1  # one more than the format allows, so that it can say so


def load(root: Path | None, environ: Mapping[str, str], git: Git | None = None) -> Config:
    """Reads every layer there is; without `root`, those of no repository. Raises FormatError naming a file and a line."""
    layers: list[Mapping[str, Setting]] = []
    for layer in (SYSTEM, USER):
        path = own_file(layer, environ)
        data = _read_own(path) if path is not None else None
        if data is not None:
            layers.append(config.parse(data, str(path), layer))
    if root is not None:
        if (root / FOLDER).is_symlink():
            raise FormatError(f"refused '{FOLDER}': it is a symbolic link", hint="replace it by a folder")
        layers += [layer for layer in (_read_layer(root, COMMITTED, git), _read_layer(root, LOCAL, git)) if layer]
    layers.append(config.from_environment(environ))
    return config.merge(layers)


def read(layer: str, root: Path | None, environ: Mapping[str, str]) -> Mapping[str, Setting]:
    """Returns what one layer's file says, nothing where it does not exist."""
    path = file_of(layer, root, environ)
    where = _where(path, root)
    data = _read_own(path) if layer in (SYSTEM, USER) else read_regular(path, where, _LIMIT_BYTES)
    return config.parse(data, where, layer) if data is not None else {}


def file_of(layer: str, root: Path | None, environ: Mapping[str, str]) -> Path:
    """Returns the path of a layer's file; raises UsageError where there can be none."""
    if layer in (COMMITTED, LOCAL):
        if root is None:
            raise UsageError(f"the {layer} config belongs to a repository", hint="cd into one, or use --user")
        return root / (COMMITTED_FILE if layer == COMMITTED else LOCAL_FILE)
    path = own_file(layer, environ)
    if path is None:
        raise UsageError(
            f"cannot tell where the {layer} config is: HOME is not set", hint="set HOME, or XDG_CONFIG_HOME"
        )
    return path


def change(layer: str, settings: Mapping[str, Value | None], root: Path | None, environ: Mapping[str, str]) -> Path:
    """Sets the keys (removes those with None) in a layer's file, all at once, and returns its path.

    The result is checked as a whole before it is written; comments stay. Only the user can read what may hold secrets.
    """
    path = file_of(layer, root, environ)
    where = _where(path, root)
    before = (_read_own(path) if layer in (SYSTEM, USER) else read_regular(path, where, _LIMIT_BYTES)) or b""
    data = before
    for key, value in settings.items():
        data = config.edit(data, key, value, where)
    config.parse(data, where, layer)
    if data != before:
        target = (
            Path(os.path.realpath(path)) if layer in (SYSTEM, USER) else path
        )  # people keep links to their dotfiles
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise os_error(error, "make the folder", target.parent) from error
        write_atomic(target, data, mode=0o600 if layer in (USER, LOCAL) else 0o666)
    return path


def own_file(layer: str, environ: Mapping[str, str]) -> Path | None:
    """Returns the system's or the user's config file, in this platform's place."""
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


def _read_layer(root: Path, layer: str, git: Git | None) -> Mapping[str, Setting] | None:
    path = file_of(layer, root, {})
    where = _where(path, root)
    data = read_regular(path, where, _LIMIT_BYTES)
    if data is None:
        return None
    if layer == LOCAL and git is not None and git.tracked_under([LOCAL_FILE]):
        # It could have come with the clone, and what is said in it counts as said by this user.
        raise FormatError(
            f"refused '{LOCAL_FILE}': git tracks it, and it may hold secrets", hint=f"git rm --cached {LOCAL_FILE}"
        )
    return config.parse(data, where, layer)


def _read_own(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise os_error(error, "read", path) from error


def _where(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)
