"""What went wrong in S3, in words for the user: which failures may pass, and what to do about the others.

Never quotes what a server says beyond its error code: a message may echo a signature, a key or a signed URL.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from dvlite.errors import RemoteError
from dvlite.store.object_store import ObjectAbsent, Transient

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_PASSING_CODES = {
    "BadDigest",  # damaged on the way there
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
_CREDENTIALS_HINT = "check the access key, or the profile, that this remote uses"
_REFUSALS = {  # code: reason, hint
    "AccessDenied": ("access denied", "these credentials may not do that here: check them, and the bucket's policy"),
    "AllAccessDisabled": ("access denied", "the bucket is disabled: ask its owner"),
    "AuthorizationHeaderMalformed": ("the region is wrong", "set the bucket's region with -o region="),
    "ExpiredToken": ("the credentials have expired", "sign in again"),
    "IllegalLocationConstraintException": ("the region is wrong", "set the bucket's region with -o region="),
    "InvalidAccessKeyId": ("the access key is not known there", _CREDENTIALS_HINT),
    "InvalidBucketName": ("this cannot be the name of a bucket", "check the url of the remote"),
    "InvalidToken": ("the session token is not valid", "sign in again"),
    "NotImplemented": ("the server cannot do what was asked", "dvlite needs conditional writes (If-None-Match) and batch delete"),
    "RequestTimeTooSkewed": ("the clock of this computer is wrong", "set the clock"),
    "SignatureDoesNotMatch": ("the secret key is wrong", _CREDENTIALS_HINT),
    "TokenRefreshRequired": ("the credentials have expired", "sign in again"),
}  # fmt: skip
_CONNECTION_ERRORS = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, asyncio.TimeoutError, OSError)
_ENDPOINT_HINT = "check the network, and the endpoint_url of this remote"


class Redirected(Exception):
    """A server sent us elsewhere, and not to another region of S3."""


def explain(error: Exception, label: str, bucket: str, name: str | None) -> RemoteError | None:
    """Returns the user's form of what a request raised, Transient if it may pass; None if it is a bug of ours."""
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchKey" and name is not None:
            return ObjectAbsent(name, label)
        if code == "NoSuchBucket":
            return RemoteError(
                f"cannot use {label}: there is no bucket '{bucket}'", hint="create it, or check the url of the remote"
            )
        return explain_refusal(code, status, label)
    if any(isinstance(cause, Redirected) for cause in _causes(error)):
        return explain_refusal("", 307, label)
    return _local_trouble(error, label) or _broken_connection(error, label)


def explain_refusal(code: str, status: int, label: str) -> RemoteError:
    """Returns the user's form of an S3 error code, Transient if it may pass."""
    shown = code if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{0,63}", code) else ""
    answer = f"{status} {shown}".rstrip()
    if code in _PASSING_CODES or status in _PASSING_STATUS:
        # botocore also makes a 500 of a 200 that is not XML: a captive portal
        reason = "the server is busy or failing" if shown else "the server is failing, or is not an S3 server"
        return Transient(f"cannot reach {label}: {reason} ({answer})", hint="try again later, or check endpoint_url")
    if status in (301, 302, 303, 307, 308):
        return RemoteError(
            f"cannot use {label}: it redirects elsewhere, which is not followed",
            hint="set the bucket's region with -o region=, or the right endpoint_url",
        )
    if code in _REFUSALS:
        reason, hint = _REFUSALS[code]
        return RemoteError(f"cannot use {label}: {reason} ({shown})", hint=hint)
    if status in (401, 403):
        return RemoteError(f"cannot use {label}: access denied ({answer})", hint=_CREDENTIALS_HINT)
    return RemoteError(
        f"cannot use {label}: the server answered {answer}",
        hint="check the url and the endpoint_url of this remote",
    )


def is_name_taken(error: BaseException | None) -> bool:
    """Returns whether a conditional put was refused because the object exists."""
    return isinstance(error, boto.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def is_past_the_end(error: BaseException | None) -> bool:
    """Returns whether a ranged get was refused because the object is shorter."""
    return isinstance(error, boto.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] == 416


def _local_trouble(error: Exception, label: str) -> RemoteError | None:
    """What no new try can help: settings of this computer, and servers that do not speak S3."""
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return RemoteError(
            f"cannot use {label}: no credentials",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or -o profile=NAME",
        )
    if isinstance(error, boto.ProfileNotFound):
        return RemoteError(
            f"cannot use {label}: its profile is not in your AWS config", hint="aws configure list-profiles"
        )
    if isinstance(error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError):
        return RemoteError(f"cannot use {label}: the credentials have expired", hint="sign in again (aws sso login)")
    if isinstance(error, ResponseParserError):
        return RemoteError(f"cannot use {label}: what answers there is not an S3 server", hint=_ENDPOINT_HINT)
    if any(isinstance(cause, FileNotFoundError) for cause in _causes(error)):
        return RemoteError(
            f"cannot use {label}: its ca_bundle does not exist", hint="check the ca_bundle of this remote"
        )
    if any(
        isinstance(cause, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError)
        for cause in _causes(error)
    ):
        return RemoteError(
            f"cannot use {label}: its certificate is not trusted",
            hint="check endpoint_url, or set -o ca_bundle=FILE --local",
        )
    if any(isinstance(cause, ssl.SSLError | boto.SSLError) for cause in _causes(error)):
        return RemoteError(
            f"cannot use {label}: no TLS there", hint="check whether endpoint_url should be http or https"
        )
    if isinstance(error, boto.BotoCoreError) and not isinstance(error, _CONNECTION_ERRORS):
        return RemoteError(
            f"cannot use {label}: {type(error).__name__}", hint="check the options of this remote and your AWS config"
        )
    return None


def _broken_connection(error: Exception, label: str) -> RemoteError | None:
    if not isinstance(error, _CONNECTION_ERRORS):
        return None
    return Transient(f"cannot reach {label}: {_reason(error)}", hint=_ENDPOINT_HINT)


def _reason(error: Exception) -> str:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror | aiohttp.ClientConnectorDNSError):
            return "the host name is not known"
        if isinstance(cause, asyncio.TimeoutError | boto.ConnectTimeoutError | boto.ReadTimeoutError):
            return "no answer in time"
        if isinstance(cause, boto.ProxyConnectionError):
            return "the proxy does not answer"
        if isinstance(cause, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | boto.ConnectionClosedError):
            return "the connection broke off"
        if isinstance(cause, OSError) and cause.errno in errno.errorcode:
            return os.strerror(cause.errno or 0).lower()
    return "the connection failed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what it came from; botocore keeps the original among its keyword arguments."""
    for _ in range(8):
        yield error
        inner = getattr(error, "kwargs", {}).get("error") or getattr(error, "os_error", None) or error.__cause__
        if not isinstance(inner, BaseException):
            return
        error = inner
