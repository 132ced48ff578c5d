"""Configuration files: strict YAML <-> settings, and which layer may say what (docs/reference/config.md).

Layers, later ones win: system, user, committed (`.dvlite/config.yaml`), local (`.dvlite/config.local.yaml`), environment. Every setting
remembers its layer, because a committed file comes from strangers: it may never hold secrets, folders of this machine or consent.
Reads no file and no environment; does not know what a remote's options mean beyond which of them are dangerous.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dvlite.errors import FormatError, UsageError
from dvlite.formats import setting_values, strict_yaml, yaml_edit
from dvlite.formats.setting_values import Check
from dvlite.formats.strict_yaml import Tree
from dvlite.show import quote

Value = setting_values.Value

SYSTEM, USER, COMMITTED, LOCAL, ENVIRONMENT = "system", "user", "committed", "local", "environment"
DEFAULTS: Mapping[str, Value] = {
    "core.autostage": True,
    "cache.pack_below": 65536,
    "cache.link": ("reflink", "copy"),
    "transfer.retry_seconds": 30,
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
    "trust": "consent is each user's own",
}
_ONLY_COMMITTED = ("project",)
_AT_MOST_DEFAULT = ("hooks.fetch_limit", "hooks.push_limit")  # in a committed file; so much may be sent unasked
_CONSENT_LAYERS = (SYSTEM, USER, ENVIRONMENT)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Secrets, where secrets are, and what weakens the connection: never from a file that others wrote. By shape, so that it holds for
# options that a store will only take later.
_SECRET = re.compile(r"secret|token|passw|credential|access_key|account_key|connection_string|(^|_)(key|sas)($|_)")
_UNSAFE = re.compile(r"verify|ssl|ca_bundle|cert|proxy|header|_file$|_filename$|_path$|command|process|role|anon$")
_LARGEST_RECORD = 16 << 20  # in a pack
_LARGEST_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, the layer that gave it, and the place to look at (`.dvlite/config.yaml:7`, or a variable's name)."""

    value: Value
    layer: str
    source: str


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """A remote as configured; `options` are without the URL."""

    name: str
    url: Setting
    options: Mapping[str, Setting]

    @property
    def committed(self) -> bool:
        """Says whether a committed file chose where requests go, wholly or in part."""
        return any(setting.layer == COMMITTED for setting in (self.url, *self.options.values()))


@dataclass(frozen=True, slots=True)
class Config:
    """All layers as one; keys are dotted (`remotes.origin.url`)."""

    settings: Mapping[str, Setting]

    @property
    def project(self) -> str | None:
        """The random id that `init` gave this project: 32 hex digits."""
        return self._text("project")

    @property
    def autostage(self) -> bool:
        return bool(self.get("core.autostage"))

    @property
    def default_remote(self) -> str | None:
        """The name in `core.remote`; without one, the only remote there is."""
        names = self.remote_names()
        return self._text("core.remote") or (names[0] if len(names) == 1 else None)

    @property
    def cache_dir(self) -> str | None:
        return self._text("cache.dir")

    @property
    def cache_is_shared(self) -> bool:
        return self.get("cache.shared") == "group"

    @property
    def pack_below_bytes(self) -> int:
        value = self.get("cache.pack_below")
        return value if isinstance(value, int) else 65536

    @property
    def links(self) -> tuple[str, ...]:
        value = self.get("cache.link")
        return value if isinstance(value, tuple) else ("reflink", "copy")

    @property
    def jobs(self) -> int | None:
        value = self.get("transfer.jobs")
        return value if isinstance(value, int) else None

    @property
    def retry_seconds(self) -> float:
        value = self.get("transfer.retry_seconds")
        return float(value) if isinstance(value, int | float) else 30.0

    @property
    def trust(self) -> tuple[str, ...]:
        """The places that this user approved."""
        value = self.get("trust")
        return value if isinstance(value, tuple) else ()

    def limit_bytes(self, key: str) -> int:
        """Returns the size that a setting like `hooks.push_limit` allows."""
        value = self.get(key)
        return value if isinstance(value, int) else 0

    def get(self, key: str) -> Value | None:
        """Returns the value in force for a key: set somewhere, or the default."""
        setting = self.settings.get(key)
        return DEFAULTS.get(key) if setting is None else setting.value

    def remote_names(self) -> list[str]:
        """Returns the configured remotes, sorted."""
        return sorted(
            {key.split(".")[1] for key in self.settings if key.startswith("remotes.") and key.endswith(".url")}
        )

    def remote(self, name: str) -> RemoteConfig | None:
        """Returns one configured remote, or None."""
        start = f"remotes.{name}."
        url = self.settings.get(start + "url")
        if url is None:
            return None
        options = {key.removeprefix(start): setting for key, setting in self.settings.items() if key.startswith(start)}
        del options["url"]
        return RemoteConfig(name, url, options)

    def _text(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None


def parse(data: bytes, where: str, layer: str) -> dict[str, Setting]:
    """Reads one config file into dotted keys; raises FormatError naming the line that is wrong or not allowed in this layer."""
    document = strict_yaml.load(data, where)
    settings = {}
    for path, value in _leaves(document.value, ()):
        line = document.lines.get(path, 1)
        key = ".".join(path)
        try:
            if any("." in part for part in path):
                raise UsageError(
                    f"{quote(key)} is written with a dot", hint="put the second word below the first one, indented"
                )
            settings[key] = Setting(check(key, value, layer), layer, f"{where}:{line}")
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
    for layer in layers:
        for key in layer:
            if key.startswith("remotes.") and key.endswith(".url") and key in merged:
                # Options belong to the place they were written for: a stranger's URL must not inherit the user's credentials.
                start = key.removesuffix("url")
                merged = {other: setting for other, setting in merged.items() if not other.startswith(start)}
        for key, setting in layer.items():
            before = merged.get(key)
            if (
                key == "trust"
                and before is not None
                and isinstance(before.value, tuple)
                and isinstance(setting.value, tuple)
            ):
                merged[key] = Setting((*before.value, *setting.value), setting.layer, setting.source)
            else:
                merged[key] = setting
    return Config(merged)


def edit(data: bytes, key: str, value: Value | None, where: str) -> bytes:
    """Returns the file with one key set, or removed if None; comments and other lines stay."""
    tree: Tree = [*value] if isinstance(value, tuple) else value
    return yaml_edit.edit(data, tuple(key.split(".")), tree, where)


def from_text(key: str, text: str, layer: str) -> Value:
    """Returns the value that words on a command line mean; raises UsageError as `check` does."""
    if key == "trust":
        return check(key, [*text.replace(",", " ").split()], layer)
    meaning = strict_yaml.scalar(text)
    return check(
        key,
        meaning if _VALUES.get(key) in (setting_values.boolean, setting_values.jobs, setting_values.seconds) else text,
        layer,
    )


def check(key: str, value: Tree, layer: str) -> Value:
    """Returns a value in its proper type; raises UsageError if the key is unknown, or may not stand in this layer, or the value is wrong."""
    if key.startswith("remotes."):
        return _check_remote(key, value, layer)
    if key not in _VALUES:
        raise UsageError(f"there is no setting {quote(key)}", hint=nearest(key))
    if layer == COMMITTED and key in _NOT_COMMITTED:
        raise UsageError(
            f"{quote(key)} is not allowed in a committed file: {_NOT_COMMITTED[key]}",
            hint=f"dvlite config --user {key} VALUE",
        )
    if key == "trust" and layer not in _CONSENT_LAYERS:
        raise UsageError("'trust' is only allowed in the user's own config", hint="dvlite remote trust URL")
    if key in _ONLY_COMMITTED and layer != COMMITTED:
        raise UsageError(f"{quote(key)} is only allowed in .dvlite/config.yaml", hint="it is made by dvlite init")
    found = _VALUES[key](key, value)
    if layer == COMMITTED and _weakens(key, found):
        shown = found if isinstance(value, bool) else value
        raise UsageError(
            f"{quote(key)} may not be {shown} in a committed file: it would take a guard away from everyone who merges it",
            hint=f"keep it to yourself: dvlite config --user {key} {shown}",
        )
    return found


def _weakens(key: str, value: Value) -> bool:
    """Says whether a setting lets a hook do less, or send more, than it would without."""
    if key in _AT_MOST_DEFAULT:
        return isinstance(value, int) and value > int(str(DEFAULTS[key]))
    return key.startswith("hooks.") and value in ("off", 0)


def is_known(key: str) -> bool:
    """Says whether there is such a setting; remotes have any."""
    return key in _VALUES or (key.startswith("remotes.") and key.count(".") == 2)


def is_dangerous(option: str) -> bool:
    """Says whether a remote's option is a secret, points at one, or weakens the connection: it may not stand in a committed file."""
    return is_secret(option) or _UNSAFE.search(option) is not None


def is_secret(option: str) -> bool:
    """Says whether a remote's option must never be shown."""
    return _SECRET.search(option) is not None


def nearest(key: str) -> str:
    """Returns a hint that names the setting most like `key`."""
    known = [*_VALUES, "remotes.NAME.url", "remotes.NAME.OPTION"]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "the settings are: " + ", ".join(known)


def check_remote_name(name: str) -> str:
    """Returns the name of a remote if it may be one; raises UsageError."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{quote(name)} cannot be the name of a remote", hint="use letters, digits, '-' and '_', a letter first"
        )
    return name


def _leaves(tree: Mapping[str, Tree], path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Tree]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value and len(path) < 3:
            yield from _leaves(value, (*path, key))
        elif value is not None and value != {}:
            yield (*path, key), value


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
    return setting_values.scalar_text(key, value)


def _remote_name(key: str, value: Tree) -> str:
    return check_remote_name(setting_values.text(key, value))


_limit = setting_values.size_up_to(_LARGEST_LIMIT, "a size, for example 10MiB")
_VALUES: Mapping[str, Check] = {
    "project": setting_values.project,
    "core.autostage": setting_values.boolean,
    "core.remote": _remote_name,
    "cache.dir": setting_values.text,
    "cache.shared": setting_values.shared,
    "cache.pack_below": setting_values.size_up_to(_LARGEST_RECORD, "a size up to 16MiB, for example 64KiB"),
    "cache.link": setting_values.links,
    "transfer.jobs": setting_values.jobs,
    "transfer.retry_seconds": setting_values.seconds,
    "trust": setting_values.places,
    "hooks.pre_commit": setting_values.one_of("note", "block", "off"),
    "hooks.pre_push": setting_values.one_of("on", "off"),
    "hooks.follow": setting_values.one_of("on", "off"),
    "hooks.large_file": _limit,
    "hooks.fetch_limit": _limit,
    "hooks.push_limit": _limit,
}
