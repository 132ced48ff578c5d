"""`config`: shows and changes settings, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.errors import UsageError
from dvlite.formats.config import COMMITTED, DEFAULTS, LOCAL, Value, from_text, is_known, is_secret, nearest
from dvlite.progress import Progress
from dvlite.repo import config_files
from dvlite.repo.remotes import configured
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.show import quote, word
from dvlite.store.url import check_option, parse_url

_HIDDEN = "(set, not shown)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValue:
    """One setting in force and where it comes from."""

    key: str
    value: str | int | bool | list[str] | None
    source: str  # a config file, an environment variable, or "default"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConfigResult(Result):
    """The requested settings, or the one that was changed."""

    schema: ClassVar[str] = "dvlite.config/1"
    action: Literal["list", "get", "set", "unset"]
    values: tuple[ConfigValue, ...] = ()
    in_force: ConfigValue | None = None  # what holds for the key after a change; None: nothing
    config_path: str | None = None  # the file that was changed
    staged: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()


def config(
    repo: Repo | None,
    key: str | None,
    value: str | None,
    *,
    environ: Mapping[str, str],
    unset: bool = False,
    place: str | None = None,
    stage: bool = True,
    progress: Progress,
) -> ConfigResult:
    """Lists the settings in force, or shows, sets or removes one; `place` is a layer, for changes the committed one if None.

    Without a repository, those of the user and the system. Raises UsageError for an unknown key, for a value or layer that the key cannot
    have, and for a value that would break what uses it.
    """
    if key is None:
        return ConfigResult(action="list", values=_listed(repo, place, environ))
    if not is_known(key):
        raise UsageError(f"there is no setting {quote(key)}", hint=nearest(key))
    if value is None and not unset:
        shown = [setting for setting in _listed(repo, place, environ) if setting.key == key]
        if not shown:
            raise UsageError(f"{quote(key)} is not set", hint=f"dvlite config {word(key)} VALUE")
        return ConfigResult(action="get", values=tuple(shown))
    if unset and value is not None:
        raise UsageError("--unset takes no value", hint=f"dvlite config --unset {word(key)}")
    layer = place or COMMITTED
    root = None if repo is None else repo.root
    if unset and key not in config_files.read(layer, root, environ):
        raise UsageError(f"{quote(key)} is not set in the {layer} config", hint="see where it is: dvlite config")
    changed = None if value is None else from_text(key, value, layer)
    names: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    if repo is None:
        path = config_files.change(layer, {key: changed}, None, environ)
    else:
        if changed is not None:
            _refuse_what_breaks(repo, key, changed, layer)
        with repo.lock(progress):
            path = repo.change_config(layer, {key: changed})
            if layer == COMMITTED:
                names = (path.relative_to(repo.root).as_posix(),)
                staged = repo.stage(names, enabled=None if stage else False)
    row = ConfigValue(key=key, value=None if changed is None else _shown(key, changed), source=str(path))
    return ConfigResult(
        action="unset" if unset else "set",
        values=(row,),
        in_force=next((now for now in _listed(repo, None, environ) if now.key == key), None),
        config_path=str(path),
        staged=staged,
        unstaged=() if staged else names,
    )


def _refuse_what_breaks(repo: Repo, key: str, value: Value, layer: str) -> None:
    """Raises UsageError for an address, an option or the name of a remote at which the next command would stop."""
    if key == "core.remote":
        for name in value if isinstance(value, tuple) else (str(value),):
            configured(repo.config, name)
    if not key.startswith("remotes."):
        return
    _, name, option = key.split(".")
    remote = repo.config.remote(name)
    if option == "url":
        parse_url(str(value), repo.root)
    elif remote is not None:
        check_option(parse_url(str(remote.url.value), repo.root).scheme, option, str(value))
    elif layer in {COMMITTED, LOCAL}:  # the user's own file is for other repositories, too
        configured(repo.config, name)


def _listed(repo: Repo | None, place: str | None, environ: Mapping[str, str]) -> tuple[ConfigValue, ...]:
    root = None if repo is None else repo.root
    rows: dict[str, tuple[Value, str]] = {}
    if place is not None:
        settings = config_files.read(place, root, environ)
    else:
        settings = (config_files.load(None, environ) if repo is None else repo.config).settings
        rows = {key: (value, "default") for key, value in DEFAULTS.items()}
        if repo is not None:
            rows["cache.dir"] = (str(repo.cache_dir), "default")
    rows |= {key: (setting.value, setting.source) for key, setting in settings.items()}
    return tuple(
        ConfigValue(key=key, value=_shown(key, value), source=source) for key, (value, source) in sorted(rows.items())
    )


def _shown(key: str, value: Value) -> str | int | bool | list[str]:
    if key.startswith("remotes.") and is_secret(key.rpartition(".")[2]):
        return _HIDDEN
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, float) else value
