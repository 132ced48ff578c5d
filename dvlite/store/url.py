"""Where a remote is: our own strict parser of remote URLs, and the options that each kind of place takes.

Text from a committed config arrives here, so nothing is guessed, nothing is resolved and no request is made. fsspec's parser is never
shown a URL: it unpacks chains (`simplecache::file:///etc/passwd`), and some of its schemes call a host while being parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dvlite.errors import UsageError
from dvlite.show import closest, quote, word

FOLDER, S3 = "file", "s3"
EXPERIMENTAL = ("gs", "az", "abfs", "sftp", "ssh")

# May stand only where git cannot see them: a local config, the user's own, the environment.
SECRET_OPTIONS = frozenset({
    "access_key_id", "secret_access_key", "session_token", "account_key", "sas_token", "connection_string", "password",
})  # fmt: skip
# Legal in a committed config, but without effect until the user has approved: they name whom to send to, who sends, who pays, or who can read.
CONSENT_OPTIONS = frozenset({
    "endpoint_url", "profile", "ca_bundle", "verify", "token", "username", "key_filename", "requester_pays", "sse_kms_key_id",
})  # fmt: skip

OPTIONS = {
    FOLDER: (),
    S3: (
        "endpoint_url", "region", "profile", "addressing_style", "ca_bundle", "verify",
        "access_key_id", "secret_access_key", "session_token", "anonymous", "requester_pays",
        "sse", "sse_kms_key_id", "storage_class", "acl", "checksum",
    ),
    "gs": ("project", "token"),
    "az": ("account_name", "account_key", "sas_token", "connection_string"),
    "sftp": ("username", "password", "key_filename"),
}  # fmt: skip
OPTIONS |= {"abfs": OPTIONS["az"], "ssh": OPTIONS["sftp"]}

_VALUES = {
    "verify": ("true", "false"),
    "addressing_style": ("auto", "path", "virtual"),
    "anonymous": ("true", "false"),
    "requester_pays": ("true", "false"),
    "sse": ("AES256", "aws:kms", "aws:kms:dsse"),
    "acl": ("private", "bucket-owner-read", "bucket-owner-full-control"),  # none that lets the world read
    "checksum": ("crc32", "md5"),
}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?")
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")  # of an endpoint: no dot-segments, nothing escaped
_STORAGE_CLASS = re.compile(r"[A-Z][A-Z0-9_-]{0,63}")
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Exactly S3's own: other names under amazonaws.com belong to Amazon's customers (ec2-203-0-113-7.compute-1.amazonaws.com).
_AWS_HOST = re.compile(r"s3(?:-fips)?(?:\.dualstack)?(?:\.[a-z]{2}(?:-[a-z]+)+-[0-9])?\.amazonaws\.com(?:\.cn)?")
_HINT = "a place is a folder (/data/store, ../store) or s3://bucket/prefix"


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed remote URL; `text` is its one spelling, `bucket` the host for sftp and ssh, `folder` absolute."""

    scheme: str
    text: str
    bucket: str = ""
    prefix: str = ""
    folder: Path | None = None
    experimental: bool = False


def is_place(remote: str) -> bool:
    """Returns whether a text is the place of a remote rather than its name."""
    return any(mark in remote for mark in "/:.~")


def parse_url(text: str, base: Path) -> Location:
    """Returns the location that a URL or folder path names; a relative path starts at `base`.

    Raises UsageError naming the rule that was broken. Never touches the network or the disk.
    """
    if not text:
        raise UsageError("the url of the remote is empty", hint=_HINT)
    if not text.isprintable() or text != text.strip():
        raise _refused(text, "it has spaces around it or control characters in it")
    match = _URL.fullmatch(text)
    is_path = text.startswith(("/", "./", "../"))
    if "::" in text and not is_path:
        raise _refused(text, "chained urls (::) are not allowed")
    if match is None or is_path:
        return _folder(text, base)
    scheme, rest = match.groups()
    if scheme == FOLDER:
        return _file_url(text, rest)
    if scheme != S3 and scheme not in EXPERIMENTAL:
        raise _wrong_scheme(text, scheme)
    return _bucket(text, scheme, rest)


def check_options(scheme: str, options: Mapping[str, str]) -> None:
    """Raises UsageError for options that this scheme does not take, or that do not go together, or a value that one cannot have."""
    for name, value in options.items():
        check_option(scheme, name, value)
    if ("access_key_id" in options) != ("secret_access_key" in options):
        raise UsageError("access_key_id and secret_access_key go together", hint="set both, or neither")
    if "sse_kms_key_id" in options and not options.get("sse", "").startswith("aws:kms"):
        raise UsageError("sse_kms_key_id goes with sse=aws:kms", hint="add -o sse=aws:kms, or leave out sse_kms_key_id")
    if options.get("anonymous") == "true" and ({"access_key_id", "profile", "requester_pays"} & options.keys()):
        raise UsageError("anonymous goes with no access key, profile or requester_pays", hint="leave out one of them")


def check_option(scheme: str, name: str, value: str) -> None:
    """Raises UsageError for an option that this scheme does not take, or a value that it cannot have."""
    if name not in OPTIONS[scheme]:
        close = closest(name, OPTIONS[scheme], cutoff=0.6)
        known = f"did you mean '{close}'?" if close else f"its options: {', '.join(OPTIONS[scheme]) or 'none'}"
        raise UsageError(f"{quote(name)} is not an option of a {scheme} remote", hint=known)
    if not value or not value.isprintable():
        raise UsageError(f"the value of {quote(name)} is empty or has control characters in it")
    if name in _VALUES and value not in _VALUES[name]:
        raise UsageError(f"{quote(value)} is not a value of {name}", hint=f"one of: {', '.join(_VALUES[name])}")
    if name == "endpoint_url":
        _endpoint(value)
    if name == "region" and _REGION.fullmatch(value) is None:  # it becomes part of a host name
        raise UsageError(f"{quote(value)} is not a region", hint="a region is written like eu-west-1")
    if name == "storage_class" and _STORAGE_CLASS.fullmatch(value) is None:
        raise UsageError(
            f"{quote(value)} is not a storage class", hint="one is written like STANDARD_IA or INTELLIGENT_TIERING"
        )
    if name == "storage_class" and value in _ARCHIVES:
        raise UsageError(f"objects in {value} cannot be read until they are restored", hint="use GLACIER_IR")


def host_of(location: Location, options: Mapping[str, str]) -> str | None:
    """Returns the host that a remote talks to, as `https://minio.example.com`, or None if it is the provider's own (or a folder).

    What it returns is what the user is asked to trust. Raises UsageError if `endpoint_url` is not a plain http(s) address.
    """
    if location.scheme in ("sftp", "ssh"):
        return f"{location.scheme}://{location.bucket}"
    if "endpoint_url" not in options:
        return None
    scheme, host, _ = _endpoint(options["endpoint_url"])
    return None if scheme == "https" and _AWS_HOST.fullmatch(host) else f"{scheme}://{host}"


def address_of(location: Location, options: Mapping[str, str]) -> str | None:
    """Returns `host_of` and the path of the endpoint: a gateway may serve several stores at one host."""
    host = host_of(location, options)
    return host if host is None or "endpoint_url" not in options else host + _endpoint(options["endpoint_url"])[2]


def _folder(text: str, base: Path) -> Location:
    if text.startswith("~"):
        raise _refused(text, "a path that starts with ~ depends on who reads it", hint="write the whole path")
    if text.startswith(("-", "\\")):
        raise _refused(text, f"a path cannot start with {text[0]}", hint=f"write {word(f'./{text}')} if it is a folder")
    if ":" in text.split("/", 1)[0]:
        if "@" in text.split(":", 1)[0]:
            raise _refused(
                text,
                "that is the address of a git server",
                hint="data goes to a bucket (s3://BUCKET/PREFIX) or a folder",
            )
        raise _refused(
            text,
            "it is neither a folder nor a url of a known kind",
            hint=f"write {word(f'./{text}')} if it is a folder",
        )
    folder = Path(os.path.abspath(base / text))
    return Location(FOLDER, str(folder), folder=folder)


def _file_url(text: str, rest: str) -> Location:
    if not rest.startswith("/") or rest.startswith("//"):
        raise _refused(
            text, "a file url is file:// and an absolute path, without a host", hint="write file:///data/store"
        )
    if any(character in rest for character in "%?#"):
        raise _refused(text, "%, ? and # are not allowed in a file url", hint="write the path without file://")
    folder = Path(os.path.abspath(rest))
    return Location(FOLDER, str(folder), folder=folder)


def _bucket(text: str, scheme: str, rest: str) -> Location:
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket:
        raise _refused(
            text,
            "user names and passwords do not belong in a url",
            hint="see `dvlite remote add --help` for -o and --local",
        )
    is_host = scheme in ("sftp", "ssh")
    if (_HOST if is_host else _BUCKET).fullmatch(bucket) is None or ".." in bucket:
        raise _refused(text, f"{quote(bucket)} is not the name of a {'host' if is_host else 'bucket'}")
    if any(character in prefix for character in "\\?#%*"):
        raise _refused(text, "\\ ? # % and * are not allowed in a url")
    parts = [part for part in prefix.removesuffix("/").split("/") if prefix]
    if any(part in ("", ".", "..") for part in parts):
        raise _refused(text, "empty, . and .. parts are not allowed in a url")
    prefix = "/".join(parts)
    return Location(
        scheme,
        f"{scheme}://{bucket}/{prefix}".rstrip("/"),
        bucket=bucket,
        prefix=prefix,
        experimental=scheme != S3,
    )


def _endpoint(url: str) -> tuple[str, str, str]:
    """Returns scheme, host[:port] and path of an endpoint; raises UsageError for anything beyond a plain address."""
    hint = "write it like https://minio.example.com, http://127.0.0.1:9000 or https://example.com/s3"
    if not url.isprintable() or " " in url or "\\" in url:
        raise UsageError("endpoint_url has spaces, backslashes or control characters in it", hint=hint)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError("endpoint_url is not a url", hint=hint) from None
    if "@" in parts.netloc:  # not quoted in the message: it may hold a password
        raise UsageError("endpoint_url has a user name or password in it", hint=hint)
    plain = _PATH.fullmatch(parts.path) and not parts.query and not parts.fragment
    is_ipv6 = re.fullmatch(r"[0-9a-f:]{2,39}", host) is not None and ":" in host
    if not url.startswith(("http://", "https://")) or not plain or not (is_ipv6 or _HOST.fullmatch(host)):
        raise UsageError(f"endpoint_url {quote(url[:200])} is not a plain http or https address", hint=hint)
    host = f"[{host}]" if is_ipv6 else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, host if port in (None, default) else f"{host}:{port}", parts.path.rstrip("/")


def _wrong_scheme(text: str, scheme: str) -> UsageError:
    if scheme in ("http", "https"):
        return _refused(
            text,
            "http and https are not kinds of remote",
            hint="for a private S3 server: s3://bucket/prefix -o endpoint_url=...",
        )
    if scheme.lower() in (FOLDER, S3, *EXPERIMENTAL):
        return _refused(text, f"the scheme is written {scheme.lower()}://")
    return _refused(text, f"{quote(scheme)} is not a kind of remote")


def _refused(text: str, rule: str, *, hint: str = _HINT) -> UsageError:
    shown = re.sub(r"://[^/]*@", "://***@", text)  # a password must not reach a log
    return UsageError(f"cannot use {quote(shown[:200])}: {rule}", hint=hint)
