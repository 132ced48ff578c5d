"""Metadata of a data set as Croissant 1.0 (JSON-LD): files with their SHA-256, sets of files, and the columns of tables. Pure.

Source: docs.mlcommons.org/croissant/docs/croissant-spec.html. Places are relative to the file that holds the metadata.
"""

from __future__ import annotations

import datetime as dt
import mimetypes
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import quote, unquote

MOST_FILES = 1000
"""Files that are listed one by one; of more, each ending is a set."""
_SAME = "citeAs column conformsTo equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField transform"  # the words of `cr`
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _SAME.split()},
    "conformsTo": "dct:conformsTo",
}
_FORMATS = {".parquet": "application/x-parquet", ".jsonl": "application/jsonlines", ".tsv": "text/tab-separated-values"}
_TYPES = {  # of columns, by how DuckDB's types begin
    "BOOLEAN": "sc:Boolean",
    "DATE": "sc:Date",
    "TIMESTAMP": "sc:DateTime",
    "TIME": "sc:Time",
    "DOUBLE": "sc:Float",
    "FLOAT": "sc:Float",
    "DECIMAL": "sc:Float",
    "VARCHAR": "sc:Text",
    "UUID": "sc:Text",
    "ENUM": "sc:Text",
    **dict.fromkeys(("BIGINT", "HUGEINT", "INTEGER", "SMALLINT", "TINYINT"), "sc:Integer"),
    **dict.fromkeys(("UBIGINT", "UHUGEINT", "UINTEGER", "USMALLINT", "UTINYINT"), "sc:Integer"),
}
_VERSION = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?")


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """A file of the data: its path in the repository, its SHA-256 (empty where files are not listed), and, of a table, its columns by name and type."""

    path: str
    size_bytes: int
    sha256: str = ""
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """What is described: a path at a version."""

    path: str
    oid: str
    revision: str = ""
    time: float = 0.0  # of the commit
    url: str = ""
    license: str = ""
    description: str = ""
    files: Sequence[DescribedFile] = field(default_factory=tuple)


def metadata(data: DataSet, folder: str) -> dict[str, Any]:
    """Returns the metadata, for a file in this folder of the repository."""
    place = partial(posixpath.relpath, start=folder or ".")
    listed = len(data.files) <= MOST_FILES
    distribution = [_file(one, place(one.path)) for one in data.files] if listed else []
    sets: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    ids = _Ids({one["@id"] for one in distribution})
    for ending, files in _groups(data).items():
        pattern = place(f"{data.path}/*{ending}")
        tables = [one for one in files if one.columns]
        is_one_table = len(tables) == len(files) and len({one.columns for one in tables}) == 1 and len(files) > 1
        if is_one_table or not listed:
            sets.append(_set(pattern, files[0], ids.new(f"files{ending}")))
        if is_one_table or (tables and not listed):
            records.append(_records(tables[0], ids.new(ending.lstrip(".")), "fileSet", sets[-1]["@id"]))
        else:
            names = {one.path: _below(one.path, data.path) for one in tables}
            records += [_records(one, ids.new(names[one.path]), "fileObject", _id(place(one.path))) for one in tables]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": posixpath.basename(data.path) or data.path,
        "description": data.description or f"{data.path}, versioned by dvlite",
        **({"license": data.license} if data.license else {}),
        **({"url": data.url} if data.url else {}),
        "identifier": data.oid,
        "version": _version(data),
        "datePublished": dt.datetime.fromtimestamp(data.time, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "distribution": [*distribution, *sets],
        **({"recordSet": records} if records else {}),
    }


class _Ids:
    """Gives out names that nothing else in the metadata has."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def new(self, name: str) -> str:
        """Returns a name as an id, with a number where it is taken."""
        plain = _id(name) or "_"
        ids = (f"{plain}-{number}" if number else plain for number in count())
        found = next(one for one in ids if one not in self._taken)
        self._taken.add(found)
        return found


def _groups(data: DataSet) -> dict[str, list[DescribedFile]]:
    """Returns the files by their endings."""
    by_ending: dict[str, list[DescribedFile]] = {}
    for one in data.files:
        by_ending.setdefault(posixpath.splitext(one.path)[1], []).append(one)
    return by_ending


def _below(path: str, folder: str) -> str:
    """Returns what a table is called: its path in the data, without its ending."""
    name = posixpath.basename(path) if path == folder else posixpath.relpath(path, folder)
    return posixpath.splitext(name)[0]


def _file(one: DescribedFile, place: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _id(place),
        "name": place,
        "contentUrl": place,
        "contentSize": f"{one.size_bytes} B",
        "encodingFormat": _format(one.path),
        "sha256": one.sha256,
    }


def _set(pattern: str, one: DescribedFile, own: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": own,
        "name": unquote(own),
        "encodingFormat": _format(one.path),
        "includes": pattern,
    }


def _records(one: DescribedFile, own: str, kind: str, source: str) -> dict[str, Any]:
    """Returns the columns of a table, or of tables that are alike; columns whose types Croissant has no word for are left out."""
    fields, ids = [], _Ids(set())
    for column, type_ in one.columns:
        known = data_type(type_)
        if known is not None:
            item: dict[str, Any] = {
                "@type": "cr:Field",
                "@id": f"{own}/{ids.new(column)}",
                "name": column,
                "dataType": known,
                "source": {kind: {"@id": source}, "extract": {"column": column}},
            }
            fields.append({**item, "repeated": True} if type_.endswith("]") else item)
    return {"@type": "cr:RecordSet", "@id": own, "name": unquote(own), "field": fields}


def data_type(type_: str) -> str | None:
    """Returns what Croissant calls a type of DuckDB, of a list that of its items; None for what it has no word for."""
    word = re.match(r"[A-Z]+", type_)
    is_plain = "[" not in type_.removesuffix("[]")
    return _TYPES.get(word[0]) if word is not None and is_plain else None


def left_out(files: Iterable[DescribedFile]) -> Mapping[str, str]:
    """Returns the columns that have no type in Croissant, by `path: name`."""
    return {f"{one.path}: {name}": type_ for one in files for name, type_ in one.columns if data_type(type_) is None}


def _id(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="/.-_")


def _format(path: str) -> str:
    known = _FORMATS.get(posixpath.splitext(path)[1].lower())
    return known or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _version(data: DataSet) -> str:
    """Returns a version of three numbers: of a tag like v1.2, else one that names the content."""
    tag = _VERSION.fullmatch(data.revision)
    if tag is not None:
        return ".".join(part or "0" for part in tag.groups())
    return f"0.0.0+{data.oid.rpartition(':')[2][:12]}"
