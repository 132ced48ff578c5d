"""Configuration files: strict YAML <-> settings, and which layer may say what (docs/reference/config.md).

Layers, later ones win: system, user, committed (`.dvlite/config.yaml`), local (`.dvlite/config.local.yaml`), environment. Every setting
remembers its layer, because a committed file comes from strangers: it may never hold secrets, folders of this machine or consent.
Reads no file and no environment; does not know what a remote's options mean beyond which of them are dangerous.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dvlite.errors import FormatError, UsageError
from dvlite.formats import strict_yaml, yaml_edit
from dvlite.formats.strict_yaml import Tree
from dvlite.show import closest, quote

Value = str | int | float | bool | tuple[str, ...]

SYSTEM, USER, COMMITTED, LOCAL, ENVIRONMENT = "system", "user", "committed", "local", "environment"
DEFAULTS: Mapping[str, Value] = {
    "core.autostage": True,
    "core.pager": True,
    "cache.pack_below": 65536,
    "cache.link": ("reflink", "copy"),
    "transfer.jobs": 8,
    "transfer.retry_seconds": 30,
    "models.stages": ("dev", "staging", "prod"),
    "hooks.pre_commit": "note",
    "hooks.pre_push": "on",
    "hooks.follow": "on",
    "hooks.large_file": 10 << 20,
    "hooks.fetch_limit": 100 << 20,
    "hooks.push_limit": 1 << 30,
}
ENVIRONMENT_KEYS = {
    "DVLITE_CACHE_DIR": "cache.dir",
    "DVLITE_TRUST": "trust",
    "DVLITE_JOBS": "transfer.jobs",
    "DVLITE_RETRY_SECONDS": "transfer.retry_seconds",
}
_NOT_COMMITTED = {
    "cache.dir": "it is a folder of one machine",
    "cache.shared": "it opens the cache to other users of a machine",
    "cache.link": "each user decides how files are linked to the cache",
    "core.pager": "each user decides how text is shown",
    "trust": "consent is each user's own",
}
_ONLY_COMMITTED = {
    "project": "it is made by dvlite init",
    "gc.copies": "what may be lost is decided for all clones: dvlite config gc.copies VALUE",
    "gc.keep_tags": "what may be lost is decided for all clones: dvlite config gc.keep_tags VALUE",
    "gc.keep_last": "what may be lost is decided for all clones: dvlite config gc.keep_last VALUE",
    "gc.keep_within": "what may be lost is decided for all clones: dvlite config gc.keep_within VALUE",
}
_AT_MOST_DEFAULT = ("hooks.fetch_limit", "hooks.push_limit")  # in a committed file; so much may be sent unasked
_CONSENT_LAYERS = (SYSTEM, USER, ENVIRONMENT)
_PUSH_TO = re.compile(r"push_to\.project-[0-9a-f]{32}")
_ANY_PROJECT = "push_to.project-ID"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_STAGE = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # as `model_tag` takes it
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Secrets, where secrets are, and what weakens the connection: never from a file that others wrote. By shape, so that it holds for
# options that a store will only take later. The id of a KMS key is none.
_SECRET = re.compile(
    r"secret|token|passw|credential|access_key|account_key|connection_string|(^|_)(?<!kms_)(key|sas|pat)($|_)"
)
_UNSAFE = re.compile(r"verify|ssl|ca_bundle|cert|proxy|header|_file$|_filename$|_path$|command|process|role|anon$")
_WORDS = (
    "core.autostage",
    "core.pager",
    "transfer.jobs",
    "transfer.retry_seconds",
    "gc.copies",
    "gc.keep_tags",
    "gc.keep_last",
)
_LINE = "one line of text"
_WAYS = ("reflink", "hardlink", "symlink", "copy")  # to link a file to the cache
_SIZE = re.compile(r"([0-9]{1,15}) ?(|B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)", re.IGNORECASE)
_BINARY = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,6}) ?(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_UNITS = {"": 1, "b": 1, **_BINARY, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, the layer that gave it, and the place to look at (`.dvlite/config.yaml:7`, or a variable's name)."""

    value: Value
    layer: str
    source: str


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """A remote as configured; `options` are without the URL. `committed`: a committed file chose where requests go, wholly or in part."""

    name: str
    url: Setting
    options: Mapping[str, Setting]
    committed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All layers as one: every value that was set, by its dotted key (`remotes.origin.url`), and what is in force of those read often."""

    settings: Mapping[str, Setting]
    project: str | None  # the random id that `init` gave this project: 32 hex digits
    autostage: bool
    remote_names: tuple[str, ...]  # sorted
    default_remotes: tuple[str, ...]  # the names in `core.remote`; without any, the only remote there is
    cache_dir: str | None
    cache_is_shared: bool
    pack_below_bytes: int
    links: tuple[str, ...]
    jobs: int
    retry_seconds: float
    trust: tuple[str, ...]  # the places that this user approved, for reading
    trust_to_push: tuple[str, ...]  # those that the user approved for pushing this project's data

    @property
    def default_remote(self) -> str | None:
        """The first of the default remotes."""
        return self.default_remotes[0] if self.default_remotes else None

    def limit_bytes(self, key: str) -> int:
        """Returns the size that a setting like `hooks.push_limit` allows."""
        value = self.get(key)
        return value if isinstance(value, int) else 0

    def get(self, key: str) -> Value | None:
        """Returns the value in force for a key: set somewhere, or the default."""
        setting = self.settings.get(key)
        return DEFAULTS.get(key) if setting is None else setting.value

    def remote(self, name: str) -> RemoteConfig | None:
        """Returns one configured remote, or None."""
        start = f"remotes.{name}."
        url = self.settings.get(start + "url")
        if url is None:
            return None
        options = {key.removeprefix(start): setting for key, setting in self.settings.items() if key.startswith(start)}
        committed = any(setting.layer == COMMITTED for setting in options.values())
        del options["url"]
        return RemoteConfig(name, url, options, committed)


def parse(data: bytes, where: str, layer: str) -> dict[str, Setting]:
    """Reads one config file into dotted keys; raises FormatError naming the line that is wrong or not allowed in this layer."""
    document = strict_yaml.load(data, where)
    settings = {}
    pending: list[tuple[tuple[str, ...], Tree]] = [((), document.value)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict) and len(path) < 4:
            pending += [((*path, key), inner) for key, inner in reversed(value.items())]
            continue
        if value is None or value == {}:
            continue
        line = document.lines.get(path, 1)
        key = ".".join(path)
        try:
            if any("." in part for part in path):
                raise UsageError(
                    f"{quote(key)} is written with a dot", hint="put the second word below the first one, indented"
                )
            settings[key] = Setting(checked_value(key, value, layer), layer, f"{where}:{line}")
        except UsageError as error:
            raise FormatError(
                f"{where}:{line}: {error.message}",
                hint=error.hint or f"correct line {line} of {where}",
                file=where,
                line=line,
                reason=error.message,
            ) from None
    return settings


def from_environment(environ: Mapping[str, str]) -> dict[str, Setting]:
    """Returns the settings that DVLITE_ variables make; raises UsageError naming a variable that cannot be used."""
    settings = {}
    for variable, key in ENVIRONMENT_KEYS.items():
        if text := environ.get(variable, ""):
            try:
                settings[key] = Setting(from_text(key, text, ENVIRONMENT), ENVIRONMENT, variable)
            except UsageError as error:
                raise UsageError(f"{variable}: {error.message}", hint=f"unset {variable}, or correct it") from None
    return settings


def merge(layers: Iterable[Mapping[str, Setting]]) -> Config:
    """Puts layers, first to last, on top of each other; `trust` adds up. A remote's URL drops the options that lower layers gave it."""
    merged: dict[str, Setting] = {}
    from_variable: tuple[str, ...] = ()  # it is set for one repository, so it approves pushing too
    for layer in layers:
        for key in layer:
            if key.startswith("remotes.") and key.endswith(".url") and key in merged:
                # Options belong to the place they were written for: a stranger's URL must not inherit the user's credentials.
                start = key.removesuffix("url")
                merged = {other: setting for other, setting in merged.items() if not other.startswith(start)}
        trust = [one["trust"].value for one in (merged, layer) if "trust" in one]
        if "trust" in layer and layer["trust"].layer == ENVIRONMENT and isinstance(layer["trust"].value, tuple):
            from_variable = layer["trust"].value
        merged |= layer
        if len(trust) == 2:
            places = tuple(place for value in trust if isinstance(value, tuple) for place in value)
            merged["trust"] = replace(merged["trust"], value=places)
    values: dict[str, Any] = {
        **DEFAULTS,
        **{key: setting.value for key, setting in merged.items()},
    }  # as `check` types them
    names = sorted(key.split(".")[1] for key in merged if key.startswith("remotes.") and key.endswith(".url"))
    chosen = values.get("core.remote")
    return Config(
        settings=merged,
        project=values.get("project"),
        autostage=values["core.autostage"],
        remote_names=tuple(names),
        default_remotes=(chosen,) if isinstance(chosen, str) else chosen or (tuple(names) if len(names) == 1 else ()),
        cache_dir=values.get("cache.dir"),
        cache_is_shared="cache.shared" in values,
        pack_below_bytes=values["cache.pack_below"],
        links=values["cache.link"],
        jobs=values["transfer.jobs"],
        retry_seconds=values["transfer.retry_seconds"],
        trust=values.get("trust", ()),
        trust_to_push=(*values.get(f"push_to.project-{values.get('project')}", ()), *from_variable),
    )


def edit(data: bytes, key: str, value: Value | None, where: str) -> bytes:
    """Returns the file with one key set, or removed if None; comments and other lines stay."""
    shown = None if value is None else written(key, value)
    tree: Tree = [*shown] if isinstance(shown, tuple) else shown
    return yaml_edit.edit(data, tuple(key.split(".")), tree, where)


def written(key: str, value: Value) -> Value:
    """Returns a value as people write it: a size in the largest unit in which it is a whole number, `100MiB`."""
    if key not in _VALUES or not _VALUES[key].is_size or not isinstance(value, int) or not value:
        return value
    unit = max((unit for unit in _BINARY if not value % _BINARY[unit]), key=_BINARY.__getitem__, default="")
    return f"{value // _BINARY[unit]}{unit[0].upper()}iB" if unit else value


def from_text(key: str, text: str, layer: str) -> Value:
    """Returns the value that words on a command line mean; raises UsageError as `check` does."""
    if key in {"trust", "pull.exclude"} or _PUSH_TO.fullmatch(key):
        return checked_value(key, [*text.replace(",", " ").split()], layer)
    is_word = key in _WORDS  # means what it would in a file
    return checked_value(key, strict_yaml.scalar(text) if is_word else text, layer)


def checked_value(key: str, value: Tree, layer: str) -> Value:
    """Returns a value in its proper type; raises UsageError if the key is unknown, or may not stand in this layer, or the value is wrong."""
    if key.startswith("remotes."):
        return _check_remote(key, value, layer)
    name = _ANY_PROJECT if _PUSH_TO.fullmatch(key) else key
    if name not in _VALUES:
        raise UsageError(f"there is no setting {quote(key)}", hint=nearest(key))
    if layer == COMMITTED and key in _NOT_COMMITTED:
        raise UsageError(
            f"{quote(key)} is not allowed in a committed file: {_NOT_COMMITTED[key]}",
            hint=f"dvlite config --user {key} VALUE",
        )
    if (name == "trust" and layer not in _CONSENT_LAYERS) or (name == _ANY_PROJECT and layer != USER):
        raise UsageError(f"{quote(key)} is only allowed in the user's own config", hint="dvlite remote trust URL")
    if key in _ONLY_COMMITTED and layer != COMMITTED:
        raise UsageError(f"{quote(key)} is only allowed in .dvlite/config.yaml", hint=_ONLY_COMMITTED[key])
    kind = _VALUES[name]
    found = kind.read(value)
    if found is None:
        raise UsageError(f"{quote(key)} must be {kind.words}", hint=kind.hint)
    limit = DEFAULTS[key] if key in _AT_MOST_DEFAULT else None
    is_weaker = found > limit if isinstance(found, int) and isinstance(limit, int) else found in ("off", 0)
    if layer == COMMITTED and key.startswith("hooks.") and is_weaker:  # a hook does less, or sends more, than without
        shown = found if isinstance(value, bool) else value
        raise UsageError(
            f"{quote(key)} may not be {shown} in a committed file: it would take a guard away from everyone who merges it",
            hint=f"keep it to yourself: dvlite config --user {key} {shown}",
        )
    return found


def duration_seconds(text: Tree) -> int | None:
    """Returns the seconds that a text like `90d`, `24h` or `0s` means; None for another one. Units: s, m, h, d, w."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) * _SECONDS[match[2]] if match else None


def size_bytes(value: Tree) -> int | None:
    """Returns the bytes that a number, or a text like `100MiB`, means; None for another one."""
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def known_keys() -> list[str]:
    """Returns the settings that have a fixed name."""
    return [key for key in _VALUES if key != _ANY_PROJECT]


def is_known(key: str) -> bool:
    """Returns whether there is such a setting; remotes have any."""
    return key in _VALUES or key.count(".") == {"push_to": 1, "remotes": 2}.get(key.partition(".")[0])


def is_dangerous(option: str) -> bool:
    """Returns whether a remote's option is a secret, points at one, or weakens the connection: it may not stand in a committed file."""
    return (_SECRET.search(option) or _UNSAFE.search(option)) is not None


def is_secret(option: str) -> bool:
    """Returns whether a remote's option must never be shown."""
    return _SECRET.search(option) is not None


def nearest(key: str) -> str:
    """Returns a hint that names the setting most like `key`."""
    known = [*_VALUES, "remotes.NAME.url", "remotes.NAME.OPTION"]
    close = closest(key, known)
    return f"did you mean '{close}'?" if close else "the settings are: " + ", ".join(known)


def check_remote_name(name: str) -> str:
    """Returns the name of a remote if it may be one; raises UsageError."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{quote(name)} cannot be the name of a remote", hint="use letters, digits, '-' and '_', a letter first"
        )
    return name


def _check_remote(key: str, value: Tree, layer: str) -> str:
    words = key.split(".")
    if len(words) != 3:
        raise UsageError(
            f"there is no setting {quote(key)}", hint="a remote is written as remotes.NAME.url and remotes.NAME.OPTION"
        )
    _, name, option = words
    check_remote_name(name)
    if _OPTION.fullmatch(option) is None:
        raise UsageError(
            f"{quote(option)} cannot be an option of a remote", hint="options look like region or endpoint_url"
        )
    if layer == COMMITTED and is_dangerous(option):
        raise UsageError(
            f"option {quote(option)} of remote {quote(name)} is not allowed in a committed file: it is a credential or chooses one",
            hint=f"keep it to yourself: dvlite config --local {key} VALUE",
        )
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str | int | float) or not text or not text.isprintable():
        raise UsageError(f"{quote(key)} must be {_LINE}")
    return text


# --- what the values may be ---


class _Kind(NamedTuple):
    """What one setting may hold: `read` returns the value, or None for a wrong one; `words` say what is right."""

    read: Callable[[Tree], Value | None]
    words: str
    hint: str | None = None
    is_size: bool = False


def _line(value: Tree) -> str | None:
    return value if isinstance(value, str) and value and value.isprintable() else None


def _remotes(value: Tree) -> str | tuple[str, ...] | None:
    """Returns names of remotes, each once; one alone is one line."""
    words = value.replace(",", " ").split() if isinstance(value, str) and value.isprintable() else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return None
    names = tuple(dict.fromkeys(check_remote_name(str(word)) for word in words))
    return names if len(names) > 1 else names[0]


def _size_up_to(largest: int, words: str) -> _Kind:
    """A size in bytes, written as a number or with a unit."""

    def read(value: Tree) -> int | None:
        size = size_bytes(value)
        return size if size is not None and size <= largest else None

    return _Kind(read, words, is_size=True)


def _one_of(*words: str) -> _Kind:
    """One of a few words; `true` and `false` mean `on` and `off`, which other notations of YAML read them as."""

    def read(value: Tree) -> str | None:
        meant = ("off", "on")[value] if isinstance(value, bool) else value
        return meant if isinstance(meant, str) and meant in words else None

    return _Kind(read, f"{', '.join(words[:-1])} or {words[-1]}")


def _links(value: Tree) -> tuple[str, ...] | None:
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    is_right = isinstance(words, list) and words and all(word in _WAYS for word in words)
    return tuple(map(str, words)) if is_right and isinstance(words, list) else None


def _stage_names(value: Tree) -> tuple[str, ...] | None:
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if isinstance(words, list) and words and all(isinstance(each, str) and _STAGE.fullmatch(each) for each in words):
        return tuple(map(str, words))
    return None


def _places(value: Tree) -> tuple[str, ...] | None:
    places = [value] if isinstance(value, str) else value
    if isinstance(places, list) and all(isinstance(place, str) and place.isprintable() for place in places):
        return tuple(map(str, places))
    return None


def _number(smallest: int, largest: int, words: str, *, whole: bool) -> _Kind:
    def read(value: Tree) -> int | float | None:
        if value is None or isinstance(value, bool | str | list | dict) or (whole and isinstance(value, float)):
            return None
        return value if smallest <= value <= largest else None

    return _Kind(read, f"{words} from {smallest} to {largest}")


_DURATION_WORDS = "a duration, for example 90d or 24h"
_BOOLEAN = _Kind(lambda value: value if isinstance(value, bool) else None, "true or false")
_LIMIT = _size_up_to(1 << 60, "a size, for example 10MiB")
_VALUES: Mapping[str, _Kind] = {
    "project": _Kind(
        lambda value: value if isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) else None,
        "32 hex digits",
        "restore the line from git, or run dvlite init in a repository without it",
    ),
    "core.autostage": _BOOLEAN,
    "core.pager": _BOOLEAN,
    "gc.keep_tags": _BOOLEAN,
    "gc.copies": _number(1, 16, "a number", whole=True),
    "gc.keep_last": _number(1, 1_000_000, "a number", whole=True),
    "gc.keep_within": _Kind(
        lambda value: value if isinstance(value, str) and duration_seconds(value) else None, _DURATION_WORDS
    ),
    "core.remote": _Kind(_remotes, "the name of a remote, or a list of them"),
    "cache.dir": _Kind(_line, _LINE),
    "cache.shared": _Kind(lambda value: "group" if value == "group" else None, "group, or absent"),
    "cache.pack_below": _size_up_to(16 << 20, "a size up to 16MiB, for example 64KiB"),  # the largest record in a pack
    "cache.link": _Kind(_links, f"some of {', '.join(_WAYS)}, the one to try first in front"),
    "pull.exclude": _Kind(_places, "a list of paths and globs, relative to the repository"),
    "transfer.jobs": _number(1, 256, "a number", whole=True),
    "transfer.retry_seconds": _number(0, 86400, "a number of seconds", whole=False),
    "trust": _Kind(_places, "a list of URLs and folders"),
    _ANY_PROJECT: _Kind(_places, "a list of URLs and folders"),
    "models.stages": _Kind(_stage_names, "a list of stages, for example dev,staging,prod"),
    "models.git_remote": _Kind(_line, "the name of a git remote"),
    "hooks.pre_commit": _one_of("note", "block", "off"),
    "hooks.pre_push": _one_of("on", "off"),
    "hooks.follow": _one_of("on", "off"),
    "hooks.large_file": _LIMIT,
    "hooks.fetch_limit": _LIMIT,
    "hooks.push_limit": _LIMIT,
}
