"""The XML of S3: a page of a listing, what a batch delete refuses, and error codes. What a server sends is not trusted.

A document with a DTD is refused, so there are no entities; the caller limits its length. Knows no connection and no names of dvlite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError, SubElement, XMLParser, tostring

PAGE_BYTES = 1 << 22  # 1,000 keys of 1,024 bytes, each escaped, have 3.4 MB

_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class NotXml(Exception):
    """A server answered something else than XML."""


class OtherXml(Exception):
    """A server answered XML that is not what S3 answers."""


@dataclass(frozen=True, slots=True)
class Key:
    """An object of a listing; `modified` is in unix seconds."""

    key: str
    size_bytes: int
    modified: float
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing, and the token that the next page is asked for by; empty on the last page."""

    keys: Sequence[Key]
    token: str
    is_last: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error document says: its code, the region that it names, and the key if it is one of a batch."""

    code: str
    region: str = ""
    key: str = ""


def read_page(body: bytes) -> Page:
    """Reads a page of ListObjectsV2. Raises NotXml and OtherXml."""
    root = _parsed(body)
    space = root.tag[: root.tag.rfind("}") + 1]
    is_escaped = root.findtext(f"{space}EncodingType") == "url"
    is_truncated = (root.findtext(f"{space}IsTruncated") or "").strip().lower()
    if root.tag != f"{space}ListBucketResult" or is_truncated not in ("true", "false"):
        raise OtherXml
    keys = []
    for item in root.iterfind(f"{space}Contents"):
        key = item.findtext(f"{space}Key") or ""
        try:
            size_bytes = int(item.findtext(f"{space}Size") or "")
            modified = datetime.fromisoformat((item.findtext(f"{space}LastModified") or "").strip()).timestamp()
        except (ValueError, OverflowError):
            raise OtherXml from None
        etag = item.findtext(f"{space}ETag") or ""
        keys.append(Key(unquote_plus(key) if is_escaped else key, size_bytes, modified, etag))
    return Page(keys, root.findtext(f"{space}NextContinuationToken") or "", is_last=is_truncated == "false")


def delete_text(keys: Sequence[str]) -> bytes:
    """Returns the body of DeleteObjects."""
    root = Element("Delete", xmlns=_SPACE)
    for key in keys:
        SubElement(SubElement(root, "Object"), "Key").text = key
    SubElement(root, "Quiet").text = "true"
    text: bytes = tostring(root)
    return text


def read_refusals(body: bytes) -> list[Fault]:
    """Reads which objects DeleteObjects could not delete. Raises NotXml and OtherXml."""
    root = _parsed(body)
    space = root.tag[: root.tag.rfind("}") + 1]
    if root.tag != f"{space}DeleteResult":
        raise OtherXml
    return [_fault(item, space) for item in root.iterfind(f"{space}Error")]


def read_fault(body: bytes) -> Fault | None:
    """Reads an error document; None if it is something else, for gateways answer in their own words."""
    try:
        root = _parsed(body)
    except NotXml:
        return None
    space = root.tag[: root.tag.rfind("}") + 1]
    return _fault(root, space) if root.tag == f"{space}Error" else None


def _fault(item: Element, space: str) -> Fault:
    code, region, key = ((item.findtext(f"{space}{name}") or "").strip() for name in ("Code", "Region", "Key"))
    return Fault(code, region, key)


def _parsed(body: bytes) -> Element:
    if b"<!DOCTYPE" in body or b"\0" in body:  # UTF-16 is known by its mark, whatever else is asked for
        raise NotXml
    # Whatever the document declares: else the line above would not see a DTD.
    parser = XMLParser(encoding="utf-8")  # noqa: S314  (without a DTD there are no entities)
    try:
        parser.feed(body)
        root: Element = parser.close()
    except (ParseError, ValueError) as error:
        raise NotXml from error
    return root
