"""What went wrong in S3: what may pass is tried again, all else has one line and a hint, and nothing that a server says is quoted."""

import errno
import http.client
import socket
import ssl

import pytest
from botocore import exceptions as boto

from dvlite.errors import RemoteError
from dvlite.store.object_store import ObjectAbsent, Transient
from dvlite.store.s3_aws import explain_failure
from dvlite.store.s3_errors import (
    Asked,
    NotS3,
    Refused,
    SettingWrong,
    explain,
    explain_refusal,
    is_name_taken,
    is_past_the_end,
)
from dvlite.store.s3_http import Broken, TooLong, Unreached

LABEL = "s3://bucket"
PUT, LIST = Asked(LABEL, "bucket", "PutObject", "packs/a"), Asked(LABEL, "bucket", "ListObjectsV2", "packs/")


def caused(error, by):
    error.__cause__ = by
    return error


def unreached(cause, **how):
    return caused(Unreached("host.example", **how), cause)


def broken(cause):
    return caused(Broken("host.example"), cause)


def failed(cause):
    """Returns the failure of a profile to give credentials."""
    return explain_failure(cause, "SSO session", "p", "p")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (429, ""),
        (408, "RequestTimeout"),
        (400, "BadDigest"),
        (409, "OperationAborted"),
    ],
)
def test_what_may_pass(status, code):
    assert isinstance(explain(Refused(status, code), PUT), Transient)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "access denied"),
        (403, "", "access denied"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (403, "RequestTimeTooSkewed", "the clock of this computer is wrong"),
        (400, "ExpiredToken", "the credentials have expired"),
        (404, "NoSuchBucket", "there is no bucket 'bucket'"),
        (501, "NotImplemented", "cannot do what was asked"),
        (307, "TemporaryRedirect", "redirects elsewhere"),
        (418, "Teapot", "the request was refused (PutObject 'packs/a': 418 Teapot)"),
        (403, "InvalidObjectState", "the object is archived"),
        (403, "QuotaExceeded", "the quota is used up"),
        (507, "XMinioStorageFull", "the store is full"),
        (507, "", "the store is full"),
        (403, "Odd", "refused (PutObject 'packs/a': 403 Odd)"),
        (400, "KMS.DisabledException", "the KMS key cannot be used"),
    ],
)
def test_what_does_not_pass_has_a_reason_and_a_hint(status, code, words):
    error = explain(Refused(status, code), PUT)
    assert not isinstance(error, Transient)
    assert words in error.message
    assert error.hint
    assert "hunter2" not in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("operation", "right"),
    [("ListObjectsV2", "s3:ListBucket"), ("GetObject", "s3:GetObject"), ("PutObject", "s3:PutObject"),
     ("DeleteObject", "s3:DeleteObject"), ("DeleteObjects", "s3:DeleteObject")],
)  # fmt: skip
def test_what_is_denied_names_the_operation_the_object_and_the_right(operation, right):
    denied = explain(Refused(403, "AccessDenied"), Asked(LABEL, "bucket", operation, "packs/a"))
    assert denied.message == f"cannot use {LABEL}: access denied ({operation} 'packs/a': 403 AccessDenied)"
    assert right in denied.hint


def test_only_an_answer_with_an_error_code_is_one_of_s3():
    """A gateway in front of nothing says 503 too; a wrong endpoint should fail soon."""
    assert explain(Refused(503, "SlowDown"), PUT).answered
    assert not explain(Refused(503, "503"), PUT).answered
    assert not explain(unreached(OSError(errno.ECONNREFUSED, "x")), PUT).answered


def test_an_object_is_absent_only_where_one_was_asked_for():
    get = Asked(LABEL, "bucket", "GetObject", "packs/a")
    assert isinstance(explain(Refused(404, "NoSuchKey"), get), ObjectAbsent)
    assert not isinstance(explain(Refused(404, "NoSuchKey"), LIST), ObjectAbsent)


@pytest.mark.parametrize("code", ["<script>", "a\nb", "x" * 100, "\x1b[31m"])
def test_a_code_that_is_none_is_not_shown(code):
    error = explain_refusal(code, 418, PUT)
    assert error.message == f"cannot use {LABEL}: the request was refused (PutObject 'packs/a': 418)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (unreached(OSError(errno.ECONNREFUSED, "x")), "connection refused"),
        (unreached(socket.gaierror()), "the host name is not known"),
        (unreached(TimeoutError()), "no answer in time"),
        (unreached(OSError(errno.ENETUNREACH, "x")), "network is unreachable"),
        (unreached(OSError(errno.ECONNREFUSED, "x"), proxied=True), "the proxy does not answer"),
        (unreached(None, proxied=True, refused=407), "the proxy refuses (407)"),
        (unreached(ssl.SSLEOFError()), "the connection failed"),
        (broken(TimeoutError()), "no answer in time (ListObjectsV2 'packs/')"),
        (broken(http.client.IncompleteRead(b"")), "the connection broke off (ListObjectsV2 'packs/')"),
        (broken(ssl.SSLError(1, "bad record")), "the connection broke off (ListObjectsV2 'packs/')"),
        (broken(http.client.BadStatusLine("hunter2")), "the connection failed (ListObjectsV2 'packs/')"),
    ],
)
def test_a_connection_that_fails_may_come_back(error, words):
    known = explain(error, LIST)
    assert isinstance(known, Transient)
    assert known.message.endswith(words)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (failed(boto.NoCredentialsError()), "no credentials"),
        (failed(boto.ProfileNotFound(profile="x")), "your AWS config has no profile 'x'"),
        (
            failed(boto.TokenRetrievalError(provider="x", error_msg="hunter2")),
            "the SSO session of profile 'p' has expired",
        ),
        (failed(boto.CredentialRetrievalError(provider="custom-process", error_msg="hunter2")), "its program failed"),
        (failed(RuntimeError("still expired")), "those that it gave have expired"),
        (
            failed(unreached(ssl.SSLCertVerificationError("x"))),
            "cannot use host.example: its certificate is not trusted",
        ),
        (unreached(ssl.SSLCertVerificationError("x")), "its certificate is not trusted"),
        (unreached(ssl.SSLError(1, "x")), "no TLS there"),
        (Refused(307), "redirects elsewhere"),
        (NotS3(), "what answers there is not an S3 server"),
        (TooLong(), "what answers there is not an S3 server"),
        (SettingWrong("the option is wrong"), "the option is wrong"),
    ],
)
def test_settings_that_are_wrong_are_not_tried_again(error, words):
    known = explain(error, LIST)
    assert words in known.message
    assert known.hint
    assert not isinstance(known, Transient)
    assert "hunter2" not in known.message


def test_ours_stays_and_a_bug_is_none():
    ours = RemoteError("x")
    assert explain(ours, LIST) is ours
    assert explain(ValueError("a bug"), LIST) is None


def test_conditions_that_did_not_hold_are_recognised():
    assert is_name_taken(Refused(412, "PreconditionFailed"))
    assert is_past_the_end(Refused(416, "InvalidRange"))
    for error in (None, ValueError(), Refused(403)):
        assert not is_name_taken(error)
        assert not is_past_the_end(error)
