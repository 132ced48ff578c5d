"""The log of a Delta table: which files a version consists of, and what each commit did. Pure: bytes come through a function, data is not read.

Specification: https://github.com/delta-io/delta/blob/master/PROTOCOL.md. Written by other programs, so fields that are not used may hold anything.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote

from dvlite.errors import FormatError
from dvlite.formats import parquet
from dvlite.formats.strict_json import why_not_json
from dvlite.formats.table_formats import DELTA_LOG

FOLDER = DELTA_LOG
HINT = b"_last_checkpoint"
LIMIT_BYTES = 1 << 28  # of one file of a log: a commit that names a million files
_PHYSICAL_NAME = "delta.columnMapping.physicalName"  # in the metadata of a column
_FILE = re.compile(
    rb"(?P<version>[0-9]{20})\.(?:(?P<commit>json)|crc"
    rb"|checkpoint(?:\.(?P<part>[0-9]{10})\.(?P<parts>[0-9]{10})|\.[0-9a-f-]{36})?\.(?P<form>parquet|json)"
    rb"|(?P<last>[0-9]{20})\.compacted\.json)"
)
_DATA = re.compile(rb"(?:.*/)?(?:[^/]*\.parquet|deletion_vector_[^/]*\.bin)(?:#[0-9]+)?")
_STAGING = re.compile(rb".*(?:\.tmp|#[0-9]+)")  # what writers give its name when it is whole
_ROWS = re.compile(
    r'"numRecords"\s*:\s*([0-9]{1,18})\b'
)  # of what a file's statistics, JSON in JSON, only this is of use
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_COPIED = ("num_copied_rows", "numCopiedRows", "num_target_rows_copied", "numTargetRowsCopied")
_Z85 = {
    letter: i
    for i, letter in enumerate("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
}
_CHECKPOINT = ("add", "remove", "metaData", "sidecar")
_ACTIONS = frozenset((*_CHECKPOINT, "cdc", "commitInfo"))
_FIELDS = frozenset(
    (
        *("path", "size", "dataChange", "deletionVector", "schemaString"),
        *("timestamp", "inCommitTimestamp", "operation", "operationParameters", "operationMetrics"),
    )
)
_DEEPEST = 8  # of a column's type, as it is written out
_LONGEST_PATH, _LONGEST_NAME = 4096, 200
_LAST_MS = 253402300800000  # year 10000
Action = Mapping[str, Any]
ReadLog = Callable[[bytes], bytes]  # (name in the log's folder) -> its bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """A column of a Delta table that a commit added, removed, renamed or gave another type."""

    change: Literal["added", "removed", "renamed", "retyped"]
    column: str
    old_column: str | None = None
    type: str
    old_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaCommit:
    """One commit of a Delta table. A row that was rewritten unchanged is neither added nor removed; an updated one is both; null: not known."""

    version: int
    time: str | None = None
    operation: str = ""
    rows_added: int | None = None
    rows_removed: int | None = None
    files_added: int = 0
    files_removed: int = 0
    columns: tuple[SchemaChange, ...] = ()
    undone: bool = False  # the old side has it, and the new one does not

    @property
    def is_whole(self) -> bool:
        """Returns whether nothing is unknown."""
        return self.rows_added is not None and self.rows_removed is not None


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a version; `name` is None where its path leads out of the table's folder. `rows` without those a deletion vector hides."""

    path: str  # as the log has it
    name: bytes | None
    size_bytes: int | None
    rows: int | None
    vector: bytes | None = None  # the file that its deletion vector lies in


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of a log, by version: commits, and complete checkpoints."""

    commits: Mapping[int, bytes]
    checkpoints: Mapping[int, Sequence[bytes]]

    @property
    def version(self) -> int:
        return max((*self.commits, *self.checkpoints))

    def __bool__(self) -> bool:
        return bool(self.commits or self.checkpoints)


def log_files(names: Iterable[bytes]) -> LogFiles:
    """Sorts the names in a log's folder; what is neither a commit nor part of a complete checkpoint is left out."""
    commits: dict[int, bytes] = {}
    parts: dict[tuple[int, int], list[bytes]] = {}
    for name in sorted(names):
        match = _FILE.fullmatch(name)
        if match is None:
            continue
        if match["commit"]:
            commits[int(match["version"])] = name
        elif match["form"]:
            parts.setdefault((int(match["version"]), int(match["parts"] or 1)), []).append(name)
    whole = {
        version: found if number > 1 else found[-1:]
        for (version, number), found in sorted(parts.items())
        if len(found) >= number
    }
    return LogFiles(commits, whole)


def commit_number(path: bytes) -> tuple[bytes, int] | None:
    """Returns the table's folder and the version of a path that is a commit of a Delta table."""
    above, _, name = path.rpartition(b"/")
    folder, _, log = above.rpartition(b"/")
    match = _FILE.fullmatch(name) if log == FOLDER else None
    return (folder, int(match["version"])) if match is not None and match["commit"] else None


def inside(folder: bytes, name: bytes) -> bytes:
    """Returns the path of a name in a folder; the folder may be that of the tracked path itself, which is empty."""
    return folder + b"/" + name if folder else name


def log_version(name: bytes) -> int | None:
    """Returns the last version that a file of a log is about; None for a file that is about none, such as the hint of the last checkpoint."""
    match = _FILE.fullmatch(name)
    return None if match is None else int(match["last"] or match["version"])


def is_data(path: bytes) -> bool:
    """Returns whether a path in a table's folder is one of its data files or deletion vectors, going by its name."""
    return _DATA.fullmatch(path) is not None


def is_of_table(path: bytes) -> bool:
    """Returns whether a path is that of a data file or of a file of a log."""
    return is_data(path) or b"/" + FOLDER + b"/" in b"/" + path


def is_staged(name: bytes) -> bool:
    """Returns whether a name is that of a file which a writer has not finished."""
    return _STAGING.fullmatch(name) is not None


def mixed_at(one: Mapping[int, object], other: Mapping[int, object]) -> int | None:
    """Returns the first version in which two logs differ, if they are the same again later: commits of two histories in one log."""
    common = sorted(one.keys() & other.keys())
    first = next((number for number in common if one[number] != other[number]), None)
    is_mixed = first is not None and any(number > first and one[number] == other[number] for number in common)
    return first if is_mixed else None


class Table:
    """A table as its log builds it up, commit by commit. Not `known`: the log before is not read, so what a commit removes may be unknown."""

    def __init__(self, *, known: bool = True) -> None:
        self.live: dict[tuple[str, str], DataFile] = {}
        self.named: set[bytes] = set()  # every file that the log names, live or not
        self._schema: str | None = "" if known else None

    def commit(self, version: int, actions: Sequence[Action]) -> DeltaCommit:
        """Takes a commit in, and returns what it did. Raises FormatError for one that breaks the specification."""
        removed = [self._remove(body) for body in _bodies(actions, "remove")]
        added = [(body, self._add(body)) for body in _bodies(actions, "add")]
        self.named.update(filter(None, (_name(_text(body, "path")) for body in _bodies(actions, "cdc"))))
        information = next(iter(_bodies(actions, "commitInfo")), {})
        rows_added = [file.rows for body, file in added if body.get("dataChange", True)]
        rows_removed = [file.rows for body, file in removed if body.get("dataChange", True)]
        kept = _copied(information) + _rewritten(added, removed)
        kept = min(kept, sum(filter(None, rows_added)), sum(filter(None, rows_removed)))
        return DeltaCommit(
            version=version,
            time=_time(information.get("inCommitTimestamp", information.get("timestamp"))),
            operation=_operation(information),
            rows_added=_sum(rows_added, kept),
            rows_removed=_sum(rows_removed, kept),
            files_added=len(added),
            files_removed=len(removed),
            columns=self._new_schema(actions),
        )

    def start(self, actions: Iterable[Action]) -> None:
        """Takes in a part of a checkpoint."""
        for action in actions:
            for body in _bodies([action], "add"):
                self._add(body)
            for body in _bodies([action], "remove"):
                self.named.update(_names(_file(body)))
            for body in _bodies([action], "metaData"):
                self._schema = _schema_text(body)

    @property
    def is_known(self) -> bool:
        return self._schema is not None

    @property
    def is_mapped(self) -> bool:
        """Whether columns have other names in the data files than in the table."""
        return _PHYSICAL_NAME in (self._schema or "")

    def _add(self, body: Action) -> DataFile:
        file = self.live[_key(body)] = _file(body)
        self.named.update(_names(file))
        return file

    def _remove(self, body: Action) -> tuple[Action, DataFile]:
        file, known = _file(body), self.live.pop(_key(body), None)
        self.named.update(_names(file))
        return body, known if known is not None and file.rows is None else file

    def _new_schema(self, actions: Sequence[Action]) -> tuple[SchemaChange, ...]:
        changes: tuple[SchemaChange, ...] = ()
        for body in _bodies(actions, "metaData"):
            text = _schema_text(body)
            if self._schema:
                changes = schema_changes(self._schema, text)
            self._schema = text if self.is_known else None
        return changes


def parse_actions(data: bytes, where: str) -> list[Action]:
    """Reads a commit: an object a line, each with one action. Raises FormatError for one that is cut short or is something else."""
    actions: list[Action] = []
    try:
        for line in io.BytesIO(data):
            if line.strip():
                actions.append(_slim_action(json.loads(line)))
    except AttributeError:
        raise FormatError(f"{where} is no commit of a Delta table: it is no list of objects") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is no commit of a Delta table: {why_not_json(error)}") from None
    if not actions:
        raise FormatError(f"{where} is no commit of a Delta table: it is empty")
    return actions


def _slim_action(action: Mapping[str, Any]) -> Action:
    """Returns what is used of an action: a commit may name a million files, with the statistics of each."""
    return {kind: _slim(body) for kind, body in action.items() if kind in _ACTIONS and body is not None}


def _slim(body: object) -> object:
    if not isinstance(body, dict):
        return body
    slim = {key: value for key, value in body.items() if key in _FIELDS}
    stats, parsed = body.get("stats"), body.get("stats_parsed")
    found = _ROWS.search(stats) if isinstance(stats, str) else None
    slim["rows"] = (
        int(found[1]) if found is not None else parsed.get("numRecords") if isinstance(parsed, dict) else None
    )
    return slim


def needed(files: LogFiles, at: int | None = None) -> tuple[int | None, range]:
    """Returns from what a version (the newest) can be read: the checkpoint to begin with, if commits before are gone, and the commits after it.

    Raises FormatError for a version that the log does not have, and for a log with a gap.
    """
    version = files.version if at is None else at
    first = min(files.commits, default=version + 1)
    if version > files.version:
        raise FormatError(f"there is no version {version}: the newest is {files.version}")
    start = version
    while start >= 0 and start in files.commits:
        start -= 1
    if start < 0:
        return None, range(version + 1)
    below = min((number for number in files.checkpoints if start <= number <= version), default=None)
    if below is not None:
        return below, range(below + 1, version + 1)
    if start >= first:
        raise FormatError(f"version {start} is missing in its log")
    raise FormatError(f"version {version} cannot be read: its log begins at version {min((first, *files.checkpoints))}")


def read_table(files: LogFiles, read: ReadLog, at: int | None = None) -> tuple[Table, list[DeltaCommit]]:
    """Returns a version (the newest) as its log builds it up, and what each commit up to it did; a checkpoint is read only where commits are gone.

    Raises FormatError, and UsageError for a checkpoint without pyarrow.
    """
    below, commits = needed(files, at)
    table, done = Table(), []
    if below is not None:
        for name in files.checkpoints[below]:
            _take_checkpoint(table, name, read)
        earlier = Table(known=False)
        for number in sorted(number for number in files.commits if number <= below):
            name = files.commits[number]
            done.append(earlier.commit(number, parse_actions(read(name), name.decode())))
        table.named |= earlier.named
    for number in commits:
        name = files.commits[number]
        done.append(table.commit(number, parse_actions(read(name), name.decode())))
    return table, done


def _take_checkpoint(table: Table, name: bytes, read: ReadLog) -> None:
    actions: Iterable[Action] = _checkpoint_actions(name, read)
    for action in actions:
        table.start([action])
        for body in _bodies([action], "sidecar"):
            inner = _name(_text(body, "path"))
            if inner is None or b"/" in inner:
                raise FormatError(f"the checkpoint {name.decode()} names a file outside of its log")
            table.start(_checkpoint_actions(b"_sidecars/" + inner, read))


def _checkpoint_actions(name: bytes, read: ReadLog) -> Iterator[Action]:
    data = read(name)
    if name.endswith(b".json"):
        yield from parse_actions(data, name.decode())
        return
    yield from map(_slim_action, parquet.rows(io.BytesIO(data), _CHECKPOINT))


def hinted_version(data: bytes) -> int | None:
    """Returns the checkpoint that a hint of the last one names; None for a hint that says nothing."""
    try:
        version = json.loads(data)["version"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return version if isinstance(version, int) else None


# --- actions ---


def _bodies(actions: Iterable[Action], kind: str) -> Iterator[Action]:
    for action in actions:
        body = action.get(kind)
        if isinstance(body, Mapping):
            yield body
        elif body is not None:
            raise FormatError(f"an action {kind!r} is no object")


def _text(body: Action, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise FormatError(f"an action has no {key!r}")
    return value


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _key(body: Action) -> tuple[str, str]:
    """Returns what a file is known by: its path, and its deletion vector."""
    vector = body.get("deletionVector")
    if not isinstance(vector, Mapping):
        return _text(body, "path"), ""
    return _text(body, "path"), f"{vector.get('storageType')}{vector.get('pathOrInlineDv')}@{vector.get('offset')}"


def _file(body: Action) -> DataFile:
    vector = body.get("deletionVector")
    rows = _number(body.get("rows"))
    path = _text(body, "path")
    name = _name(path)
    if not isinstance(vector, Mapping):
        return DataFile(path, name, _number(body.get("size")), rows)
    hidden = _number(vector.get("cardinality"))
    rows = None if rows is None or hidden is None else max(0, rows - hidden)
    file = _vector_file(vector)
    return DataFile(path, None if file is None else name, _number(body.get("size")), rows, file or None)


def _names(file: DataFile) -> Iterator[bytes]:
    yield from (name for name in (file.name, file.vector) if name is not None)


def _name(path: str) -> bytes | None:
    """Returns the file that a path of the log stands for, from the table's folder on; None if that is outside, or nowhere."""
    if len(path) > _LONGEST_PATH or _SCHEME.match(path) or "\0" in (name := unquote(path, errors="surrogateescape")):
        return None
    if not name or any(part in ("", ".", "..") for part in name.split("/")):
        return None
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _vector_file(vector: Action) -> bytes | None:
    """Returns the file that a deletion vector lies in; nothing for one in the log itself, None for one that lies elsewhere."""
    kind, text = vector.get("storageType"), vector.get("pathOrInlineDv")
    if kind == "i":
        return b""
    if kind != "u" or not isinstance(text, str) or len(text) < 20:
        return None
    prefix, digits = text[:-20], text[-20:]
    try:
        raw = b"".join(_five(digits[at : at + 5]) for at in range(0, 20, 5))
    except (KeyError, OverflowError):
        return None
    name = re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", raw.hex())  # a UUID as text
    return _name((prefix + "/" if prefix else "") + f"deletion_vector_{name}.bin")


def _five(digits: str) -> bytes:
    """Returns the four bytes of five digits of Z85 (https://rfc.zeromq.org/spec/32/)."""
    number = 0
    for digit in digits:
        number = number * 85 + _Z85[digit]
    return number.to_bytes(4, "big")


# --- what a commit did ---


def _operation(information: Action) -> str:
    """Returns what a commit calls itself: `MERGE`, `WRITE (Append)`."""
    parameters = information.get("operationParameters")
    mode = parameters.get("mode") if isinstance(parameters, Mapping) else None
    name = str(information.get("operation") or "commit")[:40]
    return f"{name} ({mode[:20]})" if isinstance(mode, str) and mode else name


def _time(value: object) -> str | None:
    """Returns a time in milliseconds as ISO 8601 in UTC."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LAST_MS:
        return None
    return datetime.fromtimestamp(value // 1000, UTC).isoformat().replace("+00:00", "Z")


def _sum(rows: Sequence[int | None], kept: int) -> int | None:
    known = [number for number in rows if number is not None]
    return sum(known) - kept if len(known) == len(rows) else None


def _copied(information: Action) -> int:
    """Returns how many rows a commit only carried from a file that it removed to one that it added."""
    metrics = information.get("operationMetrics")
    if not isinstance(metrics, Mapping):
        return 0
    return next((number for key in _COPIED if (number := _number(metrics.get(key))) is not None), 0)


def _rewritten(added: Sequence[tuple[Action, DataFile]], removed: Sequence[tuple[Action, DataFile]]) -> int:
    """Returns how many rows stayed where they are, in files that got another deletion vector."""
    before = {file.name: file.rows for body, file in removed if file.rows is not None and body.get("dataChange", True)}
    return sum(
        min(file.rows, before[file.name])
        for body, file in added
        if file.rows is not None and file.name in before and body.get("dataChange", True)
    )


# --- columns ---


@dataclass(frozen=True, slots=True)
class _SchemaColumn:
    name: str
    type: str
    number: object = None  # of a table with column mapping: stays when the column is renamed


def schema_changes(old: str, new: str) -> tuple[SchemaChange, ...]:
    """Returns how the columns of two schemas, as `metaData` holds them, differ; nested ones are part of the type of theirs."""
    before, after = _columns(old), _columns(new)
    names = {column.number: column.name for column in before.values() if column.number is not None}
    origins = {column.name: names.get(column.number, column.name) for column in after.values()}
    changes = []
    for column in after.values():
        origin = before.get(origins[column.name])
        if origin is None:
            changes.append(SchemaChange(change="added", column=column.name, type=column.type))
        elif (origin.name, origin.type) != (column.name, column.type):
            changes.append(
                SchemaChange(
                    change="retyped" if origin.name == column.name else "renamed",
                    column=column.name,
                    old_column=None if origin.name == column.name else origin.name,
                    type=column.type,
                    old_type=None if origin.type == column.type else origin.type,
                )
            )
    kept = set(origins.values())
    changes += [
        SchemaChange(change="removed", column=column.name, type=column.type)
        for column in before.values()
        if column.name not in kept
    ]
    return tuple(changes)


def _columns(schema: str) -> dict[str, _SchemaColumn]:
    try:
        fields = json.loads(schema)["fields"]
        return {column.name: column for column in map(_column, fields)}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise FormatError("its schema cannot be read") from None


def _column(body: Any) -> _SchemaColumn:
    number = (body.get("metadata") or {}).get("delta.columnMapping.id")
    return _SchemaColumn(
        str(body["name"]), _type_text(body["type"], 0)[:_LONGEST_NAME], number if isinstance(number, int) else None
    )


def _type_text(kind: Any, depth: int) -> str:
    """Returns a type as SQL writes it: `long`, `array<string>`, `struct<x: double>`."""
    if isinstance(kind, str):
        return kind
    if depth == _DEEPEST:
        return "..."
    if kind["type"] == "struct":
        inner = ", ".join(f"{column['name']}: {_type_text(column['type'], depth + 1)}" for column in kind["fields"])
        return f"struct<{inner}>"
    keys = ("elementType",) if kind["type"] == "array" else ("keyType", "valueType")
    return f"{kind['type']}<{', '.join(_type_text(kind[key], depth + 1) for key in keys)}>"


def _schema_text(body: Action) -> str:
    return _text(body, "schemaString")
