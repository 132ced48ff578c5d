"""What went wrong in S3 or on the way to its credentials, in one line for the user: which failures may pass, and what to do about the others.

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
from dataclasses import dataclass
from json import JSONDecodeError
from urllib.parse import urlsplit

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from dvlite.errors import RemoteError
from dvlite.show import printable, quote, word
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
_REGION_HINT = "set the bucket's region: AWS_REGION, region of your AWS profile, or -o region="
_FULL_HINT = "free space there (dvlite gc --remote), or have its quota raised"
_SIGN_IN_HINT = "sign in again: new AWS_ variables, or aws sso login"
_REFUSALS = {  # code: reason, hint
    "AccountProblem": ("access denied", "the account has a problem: ask its owner"),
    "AllAccessDisabled": ("access denied", "the bucket is disabled: ask its owner"),
    "AuthorizationHeaderMalformed": ("the region is wrong", _REGION_HINT),
    "ExpiredToken": ("the credentials have expired", _SIGN_IN_HINT),
    "IllegalLocationConstraintException": ("the region is wrong", _REGION_HINT),
    "InsufficientStorage": ("the store is full", _FULL_HINT),
    "InvalidAccessKeyId": ("the access key is not known there", _CREDENTIALS_HINT),
    "InvalidBucketName": ("this cannot be the name of a bucket", "check the url of the remote"),
    "InvalidObjectState": ("the object is archived", "restore it (aws s3api restore-object), and keep the prefix of this remote out of lifecycle rules that archive"),
    "InvalidStorageClass": ("the server has no such storage class", "correct the option storage_class of this remote"),
    "InvalidToken": ("the session token is not valid", _SIGN_IN_HINT),
    "MethodNotAllowed": ("the server cannot do what was asked", "see what it lacks: dvlite remote test"),
    "NotImplemented": ("the server cannot do what was asked", "see what it lacks: dvlite remote test"),
    "QuotaExceeded": ("the quota is used up", _FULL_HINT),
    "RequestTimeTooSkewed": ("the clock of this computer is wrong", "set the clock"),
    "SignatureDoesNotMatch": ("the secret key is wrong", _CREDENTIALS_HINT),
    "TokenRefreshRequired": ("the credentials have expired", _SIGN_IN_HINT),
    "XMinioAdminBucketQuotaExceeded": ("the quota is used up", _FULL_HINT),
    "XMinioStorageFull": ("the store is full", _FULL_HINT),
}  # fmt: skip
_RIGHTS = {
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject, and s3:ListBucket (without it, what does not exist is denied too)",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
}
_CONNECTION_ERRORS = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, asyncio.TimeoutError, OSError)
_LOGIN_ERRORS: tuple[type[Exception], ...] = (
    (boto.LoginError,) if hasattr(boto, "LoginError") else ()
)  # since botocore 1.41
_ENDPOINT_HINT = "check the network, and the endpoint_url of this remote"


class Redirected(Exception):
    """A server sent us elsewhere, and not to another region of S3."""


class SettingWrong(Exception):
    """An option, a variable or the AWS config cannot be used; no request was made."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CredentialsFailed(Exception):
    """There are no valid credentials; what went wrong is the cause, and there is none if no place has any.

    `way` is what the profile says to do for them (`SSO session`, `role`), `profile` its name, `source` that of the first in a chain of
    roles; all may be empty.
    """

    def __init__(self, way: str = "", profile: str = "", source: str = "") -> None:
        super().__init__(way)
        self.way = way
        self.profile = profile
        self.source = source


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of which store: the name of the S3 operation, and of the object, or the prefix of a listing."""

    label: str
    bucket: str
    operation: str
    name: str

    @property
    def words(self) -> str:
        return f"{self.operation} {quote(self.name)}" if self.name else self.operation


def explain(error: Exception, asked: Asked) -> RemoteError | None:
    """Returns the user's form of what a request raised, Transient if it may pass; None if it is a bug of ours."""
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, CredentialsFailed):
        return _explain_credentials(error, asked.label)
    if isinstance(error, SettingWrong):
        return RemoteError(f"cannot use {asked.label}: {error.message}", hint=error.hint)
    if isinstance(error, boto.ClientError):
        code, status = _answer(error)
        if code == "NoSuchKey" and asked.operation == "GetObject":
            return ObjectAbsent(asked.name, asked.label)
        if code == "NoSuchBucket":
            return RemoteError(
                f"cannot use {asked.label}: there is no bucket '{asked.bucket}'",
                hint="create it, or check the url of the remote",
            )
        return explain_refusal(code, status, asked)
    if any(isinstance(cause, Redirected) for cause in _causes(error)):
        return explain_refusal("", 307, asked)
    return _local_trouble(error, asked.label) or _broken_connection(error, asked)


def explain_refusal(code: str, status: int, asked: Asked) -> RemoteError:
    """Returns the user's form of an S3 error code, Transient if it may pass."""
    shown = _printable_code(code)
    answer = f"{asked.words}: {status} {shown}".rstrip()
    if _may_pass(code, status):
        # botocore also makes a 500 of a 200 that is not XML: a captive portal
        reason = "the server is busy or failing" if shown else "the server is failing, or is not an S3 server"
        hint = "try again later, or check endpoint_url"
        return Transient(f"cannot reach {asked.label}: {reason} ({answer})", hint=hint, answered=bool(shown))
    if status in (301, 302, 303, 307, 308):
        return RemoteError(
            f"cannot use {asked.label}: it redirects elsewhere, which is not followed ({answer})",
            hint="set the bucket's region with -o region=, or the right endpoint_url",
        )
    if code in _REFUSALS:
        reason, hint = _REFUSALS[code]
    elif code.startswith("KMS"):
        reason, hint = "the KMS key cannot be used", "check sse_kms_key_id of this remote, and your rights to that key"
    elif code == "AccessDenied" or status == 401 or (status == 403 and not shown):
        reason = "access denied"
        hint = f"these credentials need {_RIGHTS.get(asked.operation, 'more rights')} there: check them, and the bucket's policy"
    elif status == 507:
        reason, hint = "the store is full", _FULL_HINT
    elif status == 403:
        reason, hint = "refused", "check these credentials, and the bucket's policy"
    else:
        reason, hint = "the request was refused", "check the url, the options and the endpoint_url of this remote"
    return RemoteError(f"cannot use {asked.label}: {reason} ({answer})", hint=hint)


def is_name_taken(error: BaseException | None) -> bool:
    """Returns whether a conditional put was refused because the object exists."""
    return isinstance(error, boto.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def is_past_the_end(error: BaseException | None) -> bool:
    """Returns whether a ranged get was refused because the object is shorter."""
    return isinstance(error, boto.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] == 416


def is_not_offered(error: BaseException | None, *, batch: bool = False) -> bool:
    """Returns whether a server may have refused a header that it does not know, or (for a `batch`) the operation as such."""
    if not isinstance(error, boto.ClientError):
        return False
    code, status = _answer(error)
    if batch and (status == 403 or code == "AccessDenied"):
        return True
    return status in (400, 404, 405, 411, 501) and (
        code not in _REFUSALS or code in ("NotImplemented", "MethodNotAllowed")
    )


def is_absent(error: BaseException | None) -> bool:
    """Returns whether an object was not there."""
    return isinstance(error, boto.ClientError) and _answer(error)[0] == "NoSuchKey"


def _answer(error: boto.ClientError) -> tuple[str, int]:
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(error.response.get("Error", {}).get("Code", "")), status


def _printable_code(code: str) -> str:
    return code if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{0,63}", code) else ""


def _may_pass(code: str, status: int) -> bool:
    return code in _PASSING_CODES or status in _PASSING_STATUS


def _explain_credentials(error: CredentialsFailed, label: str) -> RemoteError:
    """Names the way and the profile, and says what to do; what programs and servers say stays theirs."""
    cause = error.__cause__
    start = f"cannot use {label}: no credentials"
    if cause is None or isinstance(cause, boto.NoCredentialsError):
        return RemoteError(start, hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or -o profile=NAME")
    if isinstance(cause, boto.ProfileNotFound):
        name = quote(str(cause.kwargs.get("profile", "")))
        return RemoteError(f"{start}: your AWS config has no profile {name}", hint="aws configure list-profiles")
    is_login = isinstance(cause, _LOGIN_ERRORS)
    if is_login or isinstance(cause, boto.SSOError | boto.TokenRetrievalError):
        kind, program = ("login", "aws login") if is_login else ("SSO", "aws sso login")
        message = f"{start}: the {kind} session of profile {quote(error.source)} has expired, or never began"
        return RemoteError(message, hint=program + _profile_choice(error.source))
    if error.profile:
        start += f" from the {error.way or 'AWS config'} of profile {quote(error.profile)}"
    choice = _profile_choice(error.profile)
    hint = f"aws sts get-caller-identity{choice}     shows more"
    if isinstance(cause, boto.ClientError):
        code, status = _answer(cause)
        shown = f"{cause.operation_name}: {status} {_printable_code(code)}".rstrip()
        if _may_pass(code, status):
            return Transient(f"{start}: the server is busy or failing ({shown})", hint=hint, answered=True)
        return RemoteError(f"{start}: refused ({shown})", hint=hint)
    if isinstance(cause, boto.HTTPClientError | boto.ConnectionError):
        host = urlsplit(str(cause.kwargs.get("endpoint_url", ""))).netloc
        where = printable(host) or "the server"
        if (trouble := _trust_trouble(cause)) is not None:
            return RemoteError(f"{start}: cannot use {where}: {trouble}", hint="name your CA's file: AWS_CA_BUNDLE")
        return Transient(f"{start}: cannot reach {where}: {_reason(cause)}", hint=hint)
    return RemoteError(f"{start}: {_credentials_reason(cause)}", hint=hint)


def _profile_choice(profile: str) -> str:
    return "" if profile in ("", "default") else f" --profile {word(profile)}"


def _credentials_reason(cause: BaseException) -> str:
    if isinstance(cause, boto.CredentialRetrievalError):  # with what the program printed, which may be a secret
        provider = str(cause.kwargs.get("provider"))
        return {
            "custom-process": "its program failed",
            "container-role": "the container's server of credentials failed",
        }.get(provider, f"{printable(provider)} failed")
    if isinstance(cause, Warning | boto.RefreshWithMFAUnsupportedError):  # the warning is that of getpass
        return "it asks for an MFA code, and there is no terminal to ask on"
    if isinstance(cause, boto.BotoCoreError):  # what botocore says of the user's own config
        return _one_line(cause)
    if isinstance(cause, OSError):
        return f"{quote(str(cause.filename))}: {(cause.strerror or '').lower()}" if cause.filename else _reason(cause)
    if isinstance(cause, RuntimeError):  # botocore: "refreshed, but still expired"
        return "those that it gave have expired"
    if isinstance(cause, JSONDecodeError):
        return "what it printed is no JSON"
    return f"it cannot be used ({type(cause).__name__})"


def _local_trouble(error: Exception, label: str) -> RemoteError | None:
    """What no new try can help: settings of this computer, and servers that do not speak S3."""
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        failed = CredentialsFailed()
        failed.__cause__ = error
        return _explain_credentials(failed, label)
    if isinstance(error, ResponseParserError):
        return RemoteError(f"cannot use {label}: what answers there is not an S3 server", hint=_ENDPOINT_HINT)
    if (trouble := _trust_trouble(error)) is not None:
        return RemoteError(
            f"cannot use {label}: {trouble}",
            hint="check endpoint_url, or name your CA's file: AWS_CA_BUNDLE, or -o ca_bundle=FILE --local",
        )
    if any(isinstance(cause, ssl.SSLError | boto.SSLError) for cause in _causes(error)):
        return RemoteError(
            f"cannot use {label}: no TLS there", hint="check whether endpoint_url should be http or https"
        )
    is_setting = isinstance(error, boto.BotoCoreError) and not isinstance(error, _CONNECTION_ERRORS)
    if is_setting or (isinstance(error, ValueError) and str(error).startswith("Invalid endpoint")):
        return RemoteError(
            f"cannot use {label}: {_one_line(error)}",
            hint="check the options of this remote, AWS_ variables, and your AWS config",
        )
    return None


def _one_line(error: BaseException) -> str:
    """Returns what botocore says of a setting of the user, as the end of a message."""
    text = "".join(filter(str.isprintable, " ".join(str(error).split())))[:200].rstrip(".")
    return text[:1].lower() + text[1:]


def _trust_trouble(error: BaseException) -> str | None:
    causes = (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError)
    return "its certificate is not trusted" if any(isinstance(cause, causes) for cause in _causes(error)) else None


def _broken_connection(error: Exception, asked: Asked) -> RemoteError | None:
    if not isinstance(error, _CONNECTION_ERRORS):
        return None
    is_sent = isinstance(error, boto.ConnectionClosedError | boto.ReadTimeoutError | aiohttp.ClientPayloadError)
    during = f" ({asked.words})" if is_sent else ""
    return Transient(f"cannot reach {asked.label}: {_reason(error)}{during}", hint=_ENDPOINT_HINT)


def _reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, Redirected):
            return "it redirects elsewhere"
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
