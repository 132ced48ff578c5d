"""The entry of the model registry in the message of an annotated tag: `birds@v7`, `birds#prod#3` (docs/reference/formats/model-tag.md).

An entry is JSON, the last part of the message. It names what it follows, so that a tag which is lost or was replaced later is noticed; its
digest is that of its content, whichever commit the tag is at. Knows no git.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.errors import FormatError, UsageError
from dvlite.formats import strict_json
from dvlite.formats.pointer import MAX_SIZE, Pointer
from dvlite.oid import FILE, MANIFEST, RUN, Oid, digest_bytes, format_oid, parse_oid
from dvlite.paths import check_paths
from dvlite.show import quote, word

PREFIX = "model:"  # of a version where people name it
VERSION = 1
LIMIT_BYTES = 64 * 1024  # of a tag that is read
HIGHEST = 2**31 - 1
HIGHEST_ORDER = 2**53
_NAME = r"[a-z][a-z0-9_-]{0,62}"
_NUMBER = r"[1-9][0-9]{0,9}"
_NAMES = re.compile(_NAME)
_TAG = re.compile(rf"({_NAME})(?:@v({_NUMBER})|#({_NAME})#({_NUMBER}))")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION_WORD = re.compile(rf"v?({_NUMBER})")
_STARTS = (b"\n\n{\n", b"\n\n{\r\n")
_SIGNATURE = b"\n-----BEGIN "
MOST_FOLLOWED = 64
_MOST_LETTERS = 2000  # of what was compared, and of names of checks


@dataclass(frozen=True, slots=True, order=True)
class TagName:
    """What the name of a tag says: version `number` of a model, or (`stage`) the model's `number`-th promotion to a stage."""

    model: str
    stage: str
    number: int

    def __str__(self) -> str:
        return f"{self.model}#{self.stage}#{self.number}" if self.stage else f"{self.model}@v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """What a tag says. Of a version: `path`, `pointer`, `run` (its run, if one is known). Of a promotion: `version`, and the digest of its entry.

    `order` is higher than that of all entries of the model which were known when this one was written: a clock that no machine's clock
    moves. `after` are the newest of these, of versions and of each stage, by tag with digest. `when` and `checks` are what was required.
    """

    name: TagName
    order: int
    after: Mapping[str, str]
    path: str = ""
    pointer: Pointer | None = None
    run: Oid | None = None
    version: int = 0
    version_digest: str = ""
    when: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Returns 64 hex digits of the content."""
        return digest_bytes(strict_json.dump(_body(self))).hex()


def parse_name(tag: str) -> TagName | None:
    """Returns what the name of a tag says, None for one that is not of the registry."""
    match = _TAG.fullmatch(tag)
    if match is None or int(match[2] or match[4]) > HIGHEST:
        return None
    return TagName(match[1], match[3] or "", int(match[2] or match[4]))


def parse_reference(text: str) -> tuple[str, int | None, str]:
    """Splits `birds@7`, `birds@prod`, `birds`, with or without `model:`; returns name, version and stage. Raises UsageError."""
    name, at, which = text.removeprefix(PREFIX).partition("@")
    check_name(name, "model")
    match = _VERSION_WORD.fullmatch(which)
    if match is not None and int(match[1]) <= HIGHEST:
        return name, int(match[1]), ""
    if at and (not which or which[:1].isdigit()):
        raise UsageError(
            f"{quote(text[:80])} has no version or stage behind '@'",
            hint=f"a version is a number from 1: model:{name}@1, model:{name}@prod",
        )
    if at:
        check_name(which, "stage")
    return name, None, which


def check_name(name: str, what: str) -> None:
    """Raises UsageError for a name that no model or stage may have."""
    if _NAMES.fullmatch(name) is None:
        shown = quote(name if len(name) <= 63 else f"{name[:40]}...")
        hint = "a small letter, then small letters, digits, '-' and '_': at most 63 in all"
        raise UsageError(f"{shown} cannot be the name of a {what}", hint=hint)
    if what == "stage" and (name == "latest" or _VERSION_WORD.fullmatch(name)):
        raise UsageError(
            f"{quote(name)} cannot be the name of a stage: it is read as a version", hint="for example prod"
        )


def has_entry(tag: bytes) -> bool:
    """Returns whether a tag object claims to hold an entry."""
    return b'"dvlite_model"' in tag


def dump(entry: ModelEntry, message: str) -> str:
    """Returns the message of a tag: its title, what the user wrote, and the entry."""
    if entry.pointer is not None:
        title = (
            f"{entry.name.model} {entry.name.number}: {entry.path if entry.path.isprintable() else quote(entry.path)}"
        )
    else:
        title = f"{entry.name.model} {entry.version}: {entry.name.stage}"
    paragraphs = [title, *([message.strip()] if message.strip() else [])]
    return "\n\n".join([*paragraphs, json.dumps(_body(entry), indent=2, ensure_ascii=True)]) + "\n"


def parse(tag: bytes, name: TagName) -> tuple[ModelEntry, str]:
    """Reads a tag object; returns its entry, and what the user wrote. Raises FormatError for one that has no entry of this name."""
    where = f"the tag {name}"
    message = tag.partition(b"\n\n")[2].partition(_SIGNATURE)[0]
    start = max(message.rfind(mark) for mark in _STARTS)
    if start < 0 or len(tag) > LIMIT_BYTES:
        raise FormatError(f"{where} has no entry of the registry", hint=f"git show {word(str(name))}")
    body = strict_json.parse(message[start + 2 :], where, limit_bytes=LIMIT_BYTES)
    strict_json.require_version(body.get("dvlite_model"), VERSION, f"cannot read {where}")
    try:
        entry = _entry(body, name)
    except (ValueError, FormatError) as error:
        raise FormatError(f"cannot read {where}: {error}", hint=f"git show {word(str(name))}") from None
    said = message[:start].decode("utf-8", "replace").partition("\n\n")[2].strip()
    return entry, said


def _body(entry: ModelEntry) -> dict[str, Any]:
    name, pointer = entry.name, entry.pointer
    body: dict[str, Any] = {"dvlite_model": VERSION, "model": name.model}
    if pointer is not None:
        body |= {"version": name.number, "path": entry.path, "oid": pointer.oid, "size": pointer.size_bytes}
        body |= {"files": pointer.files} if pointer.kind == "directory" else {}
        body |= {"executable": True} if pointer.executable else {}
        body |= {"run": entry.run} if entry.run is not None else {}
    else:
        body |= {"stage": name.stage, "number": name.number, "version": entry.version, "entry": entry.version_digest}
        body |= {"when": list(entry.when)} if entry.when else {}
        body |= {"checks": list(entry.checks)} if entry.checks else {}
    return body | {"order": entry.order, "after": dict(sorted(entry.after.items()))}


def _entry(body: Mapping[str, Any], name: TagName) -> ModelEntry:
    said = body.get("model"), body.get("stage", ""), body.get("number" if name.stage else "version")
    if said != (name.model, name.stage, name.number) or type(said[2]) is not int:
        raise ValueError("its entry is one of another tag")
    after = body.get("after")
    if not isinstance(after, dict) or len(after) > MOST_FOLLOWED:
        raise ValueError("'after' is not a list of tags")
    for tag, digest in after.items():
        followed = parse_name(tag)
        if followed is None or followed.model != name.model or not _is(digest, _DIGEST.fullmatch):
            raise ValueError("'after' names something that is no entry of this model")
    order = _number(body, "order", 1, HIGHEST_ORDER)
    if name.stage:
        version, digest = _number(body, "version", 1, HIGHEST), body.get("entry")
        if not _is(digest, _DIGEST.fullmatch):
            raise ValueError("'entry' is not a digest")
        when, checks = _texts(body, "when"), _texts(body, "checks")
        return ModelEntry(
            name=name, order=order, after=after, version=version, version_digest=str(digest), when=when, checks=checks
        )
    path, oid, run = body.get("path"), body.get("oid"), body.get("run")
    if not isinstance(path, str) or not path:
        raise ValueError("'path' is not a path")
    check_paths([os.fsencode(path)])
    kind, digest = _parsed(oid)
    if kind not in (FILE, MANIFEST) or (run is not None and _parsed(run)[0] != RUN):
        raise ValueError("'oid' or 'run' is not an id")
    is_folder = kind == MANIFEST
    files = _number(body, "files", 0, MAX_SIZE) if is_folder else 1
    is_executable = body.get("executable", False)
    if type(is_executable) is not bool or (is_folder and is_executable):
        raise ValueError("'executable' is not true or false")
    pointer = Pointer(
        "directory" if is_folder else "file", digest, _number(body, "size", 0, MAX_SIZE), files, is_executable
    )
    return ModelEntry(
        name=name, order=order, after=after, path=path, pointer=pointer, run=None if run is None else Oid(run)
    )


def _parsed(oid: object) -> tuple[str, Any]:
    kind, digest = parse_oid(oid if isinstance(oid, str) else "")
    if format_oid(kind, digest) != oid:
        raise ValueError("'oid' or 'run' is not an id")
    return kind, digest


def _is(value: object, test: Callable[[str], object]) -> bool:
    return isinstance(value, str) and bool(test(value))


def _number(body: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = body.get(key)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"'{key}' is not a number from {least} to {most}")
    return value


def _texts(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) and len(each) <= _MOST_LETTERS for each in value):
        raise ValueError(f"'{key}' is not a list of texts")
    return tuple(value)
