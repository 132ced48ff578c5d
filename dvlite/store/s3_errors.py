"""What went wrong in S3 or on the way to its credentials, in one line for the user: which failures may pass, and what to do about the others.

Never quotes what a server says beyond its error code: a message may echo a signature, a key or a signed URL.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass
from http.client import IncompleteRead

from dvlite.errors import RemoteError
from dvlite.show import quote
from dvlite.store.object_store import ObjectAbsent, Transient
from dvlite.store.s3_http import Broken, TooLong, Unreached

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
_NOT_S3 = "what answers there is not an S3 server"
_NOT_S3_HINT = "check endpoint_url, and whether this network wants you to sign in first"
_ENDPOINT_HINT = "check the network, and the endpoint_url of this remote"


_SETTINGS_HINT = "check the options of this remote, AWS_ variables, and your AWS config"


class Refused(Exception):
    """S3, or what answers in its place, refused a request: its status, and the error code if it sent one."""

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


class NotS3(Exception):
    """What answered does not speak S3."""


class SettingWrong(Exception):
    """An option, a variable or the AWS config cannot be used; no request was made."""

    def __init__(self, message: str, *, hint: str = _SETTINGS_HINT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CredentialsFailed(Exception):
    """There are no valid credentials: `rest` is the end of the message, empty if no place has any."""

    def __init__(self, rest: str, *, hint: str, may_pass: bool = False, answered: bool = False) -> None:
        super().__init__(rest)
        self.rest = rest
        self.hint = hint
        self.may_pass = may_pass
        self.answered = answered


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
        message = f"cannot use {asked.label}: no credentials{error.rest}"
        if error.may_pass:
            return Transient(message, hint=error.hint, answered=error.answered)
        return RemoteError(message, hint=error.hint)
    if isinstance(error, SettingWrong):
        return RemoteError(f"cannot use {asked.label}: {error.message}", hint=error.hint)
    if isinstance(error, NotS3 | TooLong):
        return RemoteError(f"cannot use {asked.label}: {_NOT_S3}", hint=_NOT_S3_HINT)
    if isinstance(error, Refused):
        if error.code == "NoSuchKey" and asked.operation == "GetObject":
            return ObjectAbsent(asked.name, asked.label)
        if error.code == "NoSuchBucket":
            return RemoteError(
                f"cannot use {asked.label}: there is no bucket '{asked.bucket}'",
                hint="create it, or check the url of the remote",
            )
        return explain_refusal(error.code, error.status, asked)
    return _explain_connection(error, asked) if isinstance(error, Unreached | Broken) else None


def explain_refusal(code: str, status: int, asked: Asked) -> RemoteError:
    """Returns the user's form of an S3 error code, Transient if it may pass."""
    shown = printable_code(code)
    answer = f"{asked.words}: {status} {shown}".rstrip()
    if may_pass(code, status):
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
    return isinstance(error, Refused) and error.status == 412


def is_past_the_end(error: BaseException | None) -> bool:
    """Returns whether a ranged get was refused because the object is shorter."""
    return isinstance(error, Refused) and error.status == 416


def is_not_offered(error: BaseException | None, *, batch: bool = False) -> bool:
    """Returns whether a server may have refused a header that it does not know, or (for a `batch`) the operation as such."""
    if not isinstance(error, Refused):
        return False
    if batch and (error.status == 403 or error.code == "AccessDenied"):
        return True
    return error.status in (400, 404, 405, 411, 501) and (
        error.code not in _REFUSALS or error.code in ("NotImplemented", "MethodNotAllowed")
    )


def is_absent(error: BaseException | None) -> bool:
    """Returns whether an object was not there."""
    return isinstance(error, Refused) and error.code == "NoSuchKey"


def is_untrusted(error: Unreached | Broken) -> bool:
    """Returns whether a server's certificate was refused."""
    return isinstance(error.__cause__, ssl.SSLCertVerificationError)


def printable_code(code: str) -> str:
    """Returns an error code that a server sent, nothing if it is not one."""
    return code if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{0,63}", code) else ""


def may_pass(code: str, status: int) -> bool:
    """Returns whether a new try may help."""
    return code in _PASSING_CODES or status in _PASSING_STATUS


def reason(error: BaseException) -> str:
    """Returns why a connection failed."""
    if isinstance(error, Unreached) and error.proxied:
        return f"the proxy refuses ({error.refused})" if error.refused else "the proxy does not answer"
    cause = error.__cause__ if isinstance(error, Unreached | Broken) else error
    if isinstance(cause, socket.gaierror):
        return "the host name is not known"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.errno in errno.errorcode and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno or 0).lower()
    if isinstance(cause, OSError | IncompleteRead):
        return "the connection broke off" if isinstance(error, Broken) else "the connection failed"
    return "the connection failed"


def _explain_connection(error: Unreached | Broken, asked: Asked) -> RemoteError:
    if is_untrusted(error):
        return RemoteError(
            f"cannot use {asked.label}: its certificate is not trusted",
            hint="check endpoint_url, or name your CA's file: AWS_CA_BUNDLE, or -o ca_bundle=FILE --local",
        )
    cause = error.__cause__
    is_end = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if isinstance(error, Unreached) and isinstance(cause, ssl.SSLError) and not is_end:
        return RemoteError(
            f"cannot use {asked.label}: no TLS there", hint="check whether endpoint_url should be http or https"
        )
    during = f" ({asked.words})" if isinstance(error, Broken) else ""
    return Transient(f"cannot reach {asked.label}: {reason(error)}{during}", hint=_ENDPOINT_HINT)
