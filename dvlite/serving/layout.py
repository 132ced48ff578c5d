"""What the layouts of servers have in common: where a version stands, which file makes a server see it, what that says.

A server follows one file, the front: it is replaced last, at one stroke. The folder of a version has a copy of it, for the way back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dvlite.errors import UsageError
from dvlite.formats import served
from dvlite.formats.served import ServedModel
from dvlite.show import quote

SHORT = 12  # digits of a digest in a name
WITHDRAWN = "withdrawn"
_LONGEST_NUMBER = 18
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"([1-9][0-9]{0,17})")
_WITH_DIGEST = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{12})")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a user gave for a server. `seen_at`: where the server sees the place."""

    seen_at: str = ""
    config: bytes | None = None  # of Triton, to start from
    config_name: str = ""
    model_format: str = ""  # of KServe
    handler: str = ""  # of TorchServe: the name of a file in the archive, or of one of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLayout:
    """Where things are below the place. `{name}` is the model's."""

    to: str
    base: str = "{name}"  # the folder of its versions
    sidecar: str = served.NAME  # in the folder of a version
    front: str  # the file that the server follows
    copy: str = ""  # of the front, in the folder of a version; none: the front is a name of the version
    last: str = ""  # of a version, the file that the server waits for in a bucket
    with_digest: bool = False  # the name of a version's folder has it
    names: re.Pattern[str] = _NAME
    longest_name: int = _LONGEST_NAME
    name_rule: str = "letters, digits, . _ and -, and begins with a letter or digit"
    write: Callable[[ServedModel, ServerSettings], bytes] = field(default=lambda model, _: b"%d\n" % model.version)
    current: Callable[[bytes, str], int | None]
    """Returns the version that a front names, by its first bytes; None for one that dvlite did not write. Raises FormatError for what is none."""
    front_bytes: int = 1 << 20  # of the front, that are read
    takes_highest: bool = False  # a server without the front serves the highest number

    def folder(self, name: str, number: int, digest: str) -> str:
        """Returns the folder of a version."""
        short = f"-{digest.partition(':')[2][:SHORT]}" if self.with_digest else ""
        return f"{self.base_of(name)}/{number}{short}"

    def base_of(self, name: str) -> str:
        return self.base.format(name=name)

    def front_of(self, name: str) -> str:
        return self.front.format(name=name)

    def copy_of(self, name: str) -> str:
        return self.copy.format(name=name)

    def number_of(self, folder_name: str) -> int | None:
        """Returns the version whose folder has this name."""
        match = (_WITH_DIGEST if self.with_digest else _VERSION).fullmatch(folder_name)
        return None if match is None else int(match[1])

    def require_name(self, name: str) -> None:
        """Raises UsageError for a name that the server, or a bucket, does not take."""
        if len(name) > self.longest_name:
            raise UsageError(
                f"the name of the model has {len(name)} characters, and {self.to} takes {self.longest_name}",
                hint="choose a shorter one: --name NAME",
            )
        if self.names.fullmatch(name) is None or ".." in name:
            raise UsageError(
                f"{quote(name)} cannot be the name of a model for {self.to}: one has {self.name_rule}",
                hint="choose another: --name NAME",
            )


def only_version(texts: Sequence[str]) -> int | None:
    """Returns the version of a policy that serves just one."""
    text = texts[0] if len(texts) == 1 else ""
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_NUMBER else None
