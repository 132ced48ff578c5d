"""The files of DVC 2 and 3 that name data: `X.dvc`, `dvc.lock`, listings of directories (`.dir`) and the config. Bytes to frozen values.

Written by strangers: whatever is not as DVC writes it is refused, with file and line. Knows no disk, and makes no request.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dvlite.errors import FormatError
from dvlite.files import format_error
from dvlite.formats import strict_yaml
from dvlite.formats.strict_yaml import Tree
from dvlite.oid import Buffer
from dvlite.paths import check_paths, refuse_files_used_as_folders
from dvlite.show import quote

SUFFIX, LISTING_SUFFIX = ".dvc", ".dir"
LOCK_NAME, PIPELINE_NAME, IGNORE_NAME = "dvc.lock", "dvc.yaml", ".dvcignore"
FILE_LIMIT_BYTES, LOCK_LIMIT_BYTES, LISTING_LIMIT_BYTES = 1 << 20, 16 << 20, 256 << 20
_MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
_SECTION = re.compile(r"\[\s*(.+?)\s*\]")
_REMOTE = re.compile(r"""['"]?remote\s+"(.+)"['"]?""")
_ELSEWHERE = ("cloud", "files", "version_id", "etag", "checksum")  # a version that its bucket keeps, under its own name
_BESIDE_META = ("desc", "type", "labels")  # an import keeps them in the pointer's meta
_USUAL = "restore it from git"


@dataclass(frozen=True, slots=True)
class DvcOut:
    """A version as DVC names it; `path` is relative to the file's folder and may begin with `../`. `md5` '': it was never stored.

    `old`: as DVC 2 stored it, in another folder, and the md5 of a text is that of its lines with LF. `is_elsewhere`: its bucket keeps it.
    """

    path: str
    md5: str = ""
    size_bytes: int = 0
    files: int = 1
    executable: bool = False
    old: bool = False
    cache: bool = True
    push: bool = True
    is_elsewhere: bool = False
    remote: str = ""  # the name of the one that has it, '' for the default one
    meta: Mapping[str, Tree] = field(default_factory=dict)  # with `desc`, `type` and `labels`

    @property
    def is_directory(self) -> bool:
        return self.md5.endswith(LISTING_SUFFIX)


@dataclass(frozen=True, slots=True)
class DvcSource:
    """Where an import is from: a path of a git `repository`, or a `url`."""

    repository: str = ""
    url: str = ""
    path: str = ""
    revision: str = ""
    commit: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class DvcFile:
    """An `X.dvc`: what it tracks, and where that was imported from."""

    outs: tuple[DvcOut, ...]
    source: DvcSource | None = None
    has_command: bool = False


@dataclass(frozen=True, slots=True)
class DvcLockedStage:
    """What a stage ran with, and its outputs. `params` is file -> dotted key -> value."""

    name: str
    cmd: str
    deps: tuple[DvcOut, ...] = ()
    outs: tuple[DvcOut, ...] = ()
    params: Mapping[str, Mapping[str, Tree]] = field(default_factory=dict)


def parse_file(data: bytes, where: str) -> DvcFile:
    """Reads an `X.dvc`; `where` is its path, for errors. Raises FormatError."""
    tree = strict_yaml.load(data, where, foreign=True).value
    wdir = _text(tree.get("wdir", "."), "wdir", where)
    outs = tuple(_out(item, wdir, where) for item in _mappings(tree.get("outs"), "outs", where))
    deps = list(_mappings(tree.get("deps"), "deps", where))
    source = _source(deps[0], where) if len(deps) == 1 and "cmd" not in tree else None
    return DvcFile(outs, source, has_command="cmd" in tree)


def parse_lock(data: bytes, where: str) -> dict[str, DvcLockedStage]:
    """Reads a `dvc.lock` of the schema 2.0, or the older one without a schema; returns its stages by name. Raises FormatError."""
    tree = strict_yaml.load(data, where, foreign=True, limit_bytes=LOCK_LIMIT_BYTES).value
    schema = tree.get("schema")
    if schema is not None and str(schema) != "2.0":
        raise _wrong(where, f"its schema {quote(str(schema)[:40])} is not known")
    stages = tree.get("stages", {}) if schema is not None else tree
    return {name: _locked_stage(name, stage, where) for name, stage in _mapping(stages or {}, "stages", where).items()}


def _locked_stage(name: str, value: Tree, where: str) -> DvcLockedStage:
    stage = _mapping(value, name, where)
    params = {
        file: _mapping(keys or {}, file, where)
        for file, keys in _mapping(stage.get("params") or {}, "params", where).items()
    }
    deps, outs = (
        tuple(_out(item, ".", where) for item in _mappings(stage.get(key), key, where)) for key in ("deps", "outs")
    )
    return DvcLockedStage(name, script(stage.get("cmd")), deps, outs, params)


def python_values(data: bytes) -> dict[str, Tree]:
    """Returns the parameters that DVC reads in a Python file: what names, also of classes and of `self`, are set to in so many words; nothing runs."""
    try:
        return _values_set(ast.parse(data).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}


def _values_set(statements: Iterable[ast.stmt], *, of_self: bool = False) -> dict[str, Tree]:
    values: dict[str, Tree] = {}
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            values[statement.name] = _values_set(statement.body)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            values |= _values_set(statement.body, of_self=True)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[-1]
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if name and isinstance(target, ast.Attribute) == of_self:
                with contextlib.suppress(ValueError, TypeError):
                    values[name] = _as_yaml(ast.literal_eval(statement.value))
    return values


def _as_yaml(value: Any) -> Tree:
    if isinstance(value, list | tuple | set):
        return [_as_yaml(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_yaml(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float) or value is None else repr(value)


def dump_file(out: DvcOut) -> bytes:
    """Returns the bytes of an `X.dvc` with one output, its keys in DVC's order."""
    meta = {key: value for key, value in out.meta.items() if key not in _BESIDE_META}
    beside = {key: out.meta[key] for key in _BESIDE_META if key in out.meta} | ({"meta": meta} if meta else {})
    first, *lines = strict_yaml.block_lines({**_version(out), "path": out.path, **beside}, "")
    return "".join(["outs:\n", f"- {first}", *(f"  {line}" for line in lines)]).encode()


def dump_lock(stages: Sequence[DvcLockedStage]) -> bytes:
    """Returns the bytes of a `dvc.lock` of the schema 2.0."""
    rows: dict[str, Tree] = {stage.name: _stage_tree(stage) for stage in stages}
    return strict_yaml.dump({"schema": "2.0", "stages": rows})


def dump_listing(rows: Iterable[tuple[str, str]]) -> bytes:
    """Returns the bytes of the listing of a directory, from path and md5 of each file: as DVC writes them, for their md5 names them."""
    return json.dumps([{"md5": md5, "relpath": path} for path, md5 in sorted(rows)]).encode()


def md5_name(data: Buffer) -> str:
    """Returns what DVC calls a file."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def listing_name(data: bytes) -> str:
    """Returns what DVC calls a directory with this listing."""
    return md5_name(data) + LISTING_SUFFIX


def _stage_tree(stage: DvcLockedStage) -> Tree:
    versions: dict[str, Tree] = {
        name: [{"path": out.path, **_version(out)} for out in sorted(outs, key=lambda out: out.path)]
        for name, outs in (("deps", stage.deps), ("outs", stage.outs))
    }
    params: Tree = {file: dict(values) for file, values in stage.params.items()}
    tree: dict[str, Tree] = {"cmd": stage.cmd, "deps": versions["deps"], "params": params, "outs": versions["outs"]}
    return {key: value for key, value in tree.items() if value}


def _version(out: DvcOut) -> dict[str, Tree]:
    number: dict[str, Tree] = {"nfiles": out.files} if out.is_directory else {}
    executable: dict[str, Tree] = {"isexec": True} if out.executable else {}
    return {"md5": out.md5, "size": out.size_bytes, **number, **executable, "hash": "md5"}


def script(cmd: Tree) -> str:
    """Returns a command, a list of them one on each line."""
    lines = cmd if isinstance(cmd, list) else [cmd or ""]
    return "\n".join(str(line) for line in lines).rstrip("\n")


def _out(item: Mapping[str, Tree], wdir: str, where: str) -> DvcOut:
    path = _text(item.get("path"), "path", where)
    md5 = _text(item.get("md5") or "", "md5", where)
    if md5 and _MD5.fullmatch(md5) is None:
        raise _wrong(where, f"the md5 of {quote(path)} is malformed")
    if "\0" in path:
        raise _wrong(where, f"{quote(path[:80])} is not a path")
    meta = dict(_mapping(item.get("meta") or {}, "meta", where))
    meta |= {key: item[key] for key in _BESIDE_META if item.get(key)}
    is_place = "://" in path or path.startswith(("/", "~"))
    return DvcOut(
        path if is_place else posixpath.normpath(posixpath.join(wdir, path)),
        md5,
        _number(item.get("size"), 0),
        _number(item.get("nfiles"), 1),
        executable=item.get("isexec") is True,
        old="hash" not in item,
        cache=item.get("cache") is not False,
        push=item.get("push") is not False,
        is_elsewhere=not md5 and any(key in item for key in _ELSEWHERE),
        remote=_text(item.get("remote") or "", "remote", where),
        meta=meta,
    )


def _source(dep: Mapping[str, Tree], where: str) -> DvcSource:
    path = _text(dep.get("path") or "", "path", where)
    repo = _mapping(dep.get("repo") or {}, "repo", where)
    if not repo:
        return DvcSource(url=path, etag=_text(dep.get("etag") or "", "etag", where))
    url, revision, commit = (_text(repo.get(key) or "", key, where) for key in ("url", "rev", "rev_lock"))
    return DvcSource(repository=url, path=path, revision=revision, commit=commit)


def parse_listing(data: bytes, where: str) -> list[tuple[str, str]]:
    """Reads the listing of a directory; returns path and md5 of each file, sorted by path. Raises FormatError, also for a path that leaves it."""
    try:
        rows = json.loads(data)
        if not isinstance(rows, list):
            raise TypeError
        found = sorted((_require_text(row["relpath"]), _require_text(row["md5"])) for row in rows)
        names = [os.fsencode(path) for path, _ in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(f"cannot read {where}: it is not a listing of DVC") from None
    if any(_MD5.fullmatch(md5) is None or md5.endswith(LISTING_SUFFIX) for _, md5 in found):
        raise FormatError(f"cannot read {where}: an md5 in it is malformed")
    if len({*names}) < len(names):
        raise FormatError(f"cannot read {where}: a path is in it twice")
    check_paths(sorted(names))
    refuse_files_used_as_folders(sorted(names))
    return found


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


@dataclass(frozen=True, slots=True)
class DvcConfig:
    """What is needed of the config: where the cache is, and the remotes with their options, by name; `remote` is the default one."""

    cache: str = ""
    remote: str = ""
    remotes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def searched(self, named: Iterable[str]) -> list[str]:
        """Returns the names of the remotes that data is looked for on: the default one, or the only one, then those that outputs name."""
        default = self.remote or (next(iter(self.remotes)) if len(self.remotes) == 1 else "")
        return [name for name in dict.fromkeys((default, *named)) if name in self.remotes]


def limit_of(name: str) -> int:
    """Returns how many bytes one of DVC's files may have, by its name."""
    return LOCK_LIMIT_BYTES if posixpath.basename(name) == LOCK_NAME else FILE_LIMIT_BYTES


def parse_config(data: bytes, where: str) -> DvcConfig:
    """Reads one config file. Raises FormatError for one that is none. Values may be secrets: no message has any."""
    cache = remote = ""
    remotes: dict[str, dict[str, str]] = {}
    for section, key, value in _settings(data, where):
        match = _REMOTE.fullmatch(section)
        if match is not None:
            remotes.setdefault(match[1], {})[key] = value
        elif (section, key) == ("core", "remote"):
            remote = value
        elif (section, key) == ("cache", "dir"):
            cache = value
    return DvcConfig(cache, remote, remotes)


def _settings(data: bytes, where: str) -> Iterator[tuple[str, str, str]]:
    section = ""
    for number, raw in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        match = _SECTION.fullmatch(line)
        if match is not None:
            section = match[1]
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise format_error(where, number, "expected 'key = value'", hint=None, usual=_USUAL)
        value = value.strip()
        yield section, key.strip().lower(), value[1:-1] if value[:1] == value[-1:] in ("'", '"') else value


def _mappings(value: Tree, name: str, where: str) -> Iterator[Mapping[str, Tree]]:
    if value is not None and not isinstance(value, list):
        raise _wrong(where, f"'{name}' must be a list")
    for item in value or ():
        yield _mapping(item, name, where)


def _mapping(value: Tree, name: str, where: str) -> dict[str, Tree]:
    if not isinstance(value, dict):
        raise _wrong(where, f"{quote(name[:60])} must be a mapping")
    return value


def _text(value: Tree, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, f"'{name}' must be text")
    return value


def _number(value: Tree, default: int) -> int:
    return value if type(value) is int and value >= 0 else default


def _wrong(where: str, reason: str) -> FormatError:
    return format_error(where, 1, reason, hint=None, usual=_USUAL)
