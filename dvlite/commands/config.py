"""`config`: shows and changes settings, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from dvlite.errors import UsageError
from dvlite.formats.config import COMMITTED, DEFAULTS, Setting, Value, from_text, is_known, is_secret, nearest
from dvlite.progress import Progress
from dvlite.repo.repository import Repo
from dvlite.show import quote, word
from dvlite.store.url import check_option, parse_url

_HIDDEN = "(set, not shown)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValue:
    """One setting in force and where it comes from."""

    key: str
    value: str | int | bool | list[str] | None
    source: str  # a config file, an environment variable, or "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResult:
    """The requested settings, or the one that was changed."""

    schema: ClassVar[str] = "dvlite.config/1"
    action: Literal["list", "get", "set", "unset"]
    values: tuple[ConfigValue, ...] = ()
    config_path: str | None = None  # the file that was changed
    staged: tuple[str, ...] = ()


def config(
    repo: Repo,
    key: str | None,
    value: str | None,
    *,
    unset: bool = False,
    place: str | None = None,
    stage: bool = True,
    progress: Progress,
) -> ConfigResult:
    """Lists the settings in force, or shows, sets or removes one; `place` is a layer, for changes the committed one if None.

    Raises UsageError for an unknown key, and for a value or layer that the key cannot have.
    """
    if key is None:
        return ConfigResult(action="list", values=_listed(repo, place))
    if not is_known(key):
        raise UsageError(f"there is no setting {quote(key)}", hint=nearest(key))
    if value is None and not unset:
        shown = [setting for setting in _listed(repo, place) if setting.key == key]
        if not shown:
            raise UsageError(f"{quote(key)} is not set", hint=f"dvlite config {word(key)} VALUE")
        return ConfigResult(action="get", values=tuple(shown))
    if unset and value is not None:
        raise UsageError("--unset takes no value", hint=f"dvlite config --unset {word(key)}")
    layer = place or COMMITTED
    if unset and key not in repo.read_layer(layer):
        raise UsageError(f"{quote(key)} is not set in the {layer} config", hint="see where it is: dvlite config")
    changed = None if value is None else from_text(key, value, layer)
    if key.startswith("remotes.") and changed is not None:
        _check_remote(repo, key, str(changed))
    with repo.lock():
        path = repo.change_config(layer, {key: changed})
        staged = (
            repo.stage([path.relative_to(repo.root).as_posix()], enabled=None if stage else False)
            if layer == COMMITTED
            else ()
        )
    shown = [] if changed is None else [ConfigValue(key=key, value=_shown(key, changed), source=str(path))]
    return ConfigResult(action="unset" if unset else "set", values=tuple(shown), config_path=str(path), staged=staged)


def _check_remote(repo: Repo, key: str, value: str) -> None:
    """Raises UsageError for an address, or an option of a remote that is configured, at which the next command would stop."""
    _, name, option = key.split(".")
    remote = repo.config.remote(name)
    if option == "url":
        parse_url(value, repo.root)
    elif remote is not None:
        check_option(parse_url(str(remote.url.value), repo.root).scheme, option, value)


def _listed(repo: Repo, place: str | None) -> tuple[ConfigValue, ...]:
    settings: Mapping[str, Setting] = repo.config.settings if place is None else repo.read_layer(place)
    rows = {} if place is not None else {key: (value, "default") for key, value in DEFAULTS.items()}
    rows |= {key: (setting.value, setting.source) for key, setting in settings.items()}
    return tuple(
        ConfigValue(key=key, value=_shown(key, value), source=source) for key, (value, source) in sorted(rows.items())
    )


def _shown(key: str, value: Value) -> str | int | bool | list[str]:
    if key.startswith("remotes.") and is_secret(key.rpartition(".")[2]):
        return _HIDDEN
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, float) else value
