"""What botocore is for: the AWS config and every way to credentials that it names. The one owner of botocore; loading it takes 0.2 s of CPU.

It makes no request to S3. Those to the servers that give out credentials (STS, SSO, login) go over `s3_http`, so that proxies, certificates
and time limits are those of all others; the servers of a container or machine are asked by botocore itself.
"""

from __future__ import annotations

import getpass
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.httpsession import where as certificates
from botocore.session import Session

from dvlite.show import printable, quote, word
from dvlite.store.s3_errors import CredentialsFailed, SettingWrong, is_untrusted, may_pass, printable_code, reason
from dvlite.store.s3_http import Broken, Connections, Message, Server, TooLong, Unreached
from dvlite.store.s3_sign import ENVIRONMENT, Keys

__all__ = ["AwsProfile", "certificates"]

_ANSWER_BYTES = 1 << 20
# Session variables of botocore: key of the profile, environment, default, type. It would leave out AWS_REGION, which all newer tools read.
_VARIABLES = {
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
} | {
    name: (name, f"AWS_{name.upper()}", None, None)
    for name in ("s3_us_east_1_regional_endpoint", "s3_use_accelerate_endpoint")
}
_WAYS = {  # key of a profile: what it is called in messages
    "role_arn": "role",
    "sso_session": "SSO session",
    "sso_start_url": "SSO session",
    "login_session": "login session",
    "credential_process": "credential_process",
}
_LOGIN_ERRORS: tuple[type[Exception], ...] = (
    (boto.LoginError,) if hasattr(boto, "LoginError") else ()
)  # since botocore 1.41

# Each failure is one line, ours. Without a handler Python prints what libraries log of it, tracebacks included.
logging.getLogger("botocore").addHandler(logging.NullHandler())


class AwsProfile:
    """A profile of the AWS config, the one in use if no name is given, and its credentials. Thread-safe.

    `connect` returns the connections to servers of credentials, for the CA bundle of the profile.
    """

    def __init__(self, name: str | None, connect: Callable[[str], Connections]) -> None:
        self._session = Session(session_vars=_VARIABLES, profile=name)
        self._session.set_default_client_config(Config(retries={"max_attempts": 0}))
        self._session.register("before-send", self._send)
        self._connect = connect
        self._credentials: Any = None
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        if self._credentials.method == "env":
            return ENVIRONMENT
        return f"profile {quote(self._session.profile or 'default')} of your AWS config"

    def variable(self, name: str) -> str:
        value = self._read(lambda: self._session.get_config_variable(name))
        return "" if value is None else str(value)

    def endpoint_url(self) -> str:
        if self.variable("ignore_configured_endpoint_urls") == "True":
            return ""
        session = self._session
        return (
            self._read(
                lambda: ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3").provide()
            )
            or ""
        )

    def of_s3(self) -> dict[str, str]:
        """Returns the section `s3` of the profile."""
        section = self._read(lambda: self._session.get_scoped_config().get("s3"))
        return {name: str(value) for name, value in section.items()} if isinstance(section, dict) else {}

    def keys(self) -> Keys:
        try:
            with self._lock:
                if self._credentials is None:
                    roles = self._session.get_component("credential_provider").get_provider("assume-role")
                    roles._prompter = _mfa_code  # noqa: SLF001  (botocore takes it only where the provider is made)
                    self._credentials = self._session.get_credentials()
            if self._credentials is None:
                raise _none()
            frozen = self._credentials.get_frozen_credentials()
        except (CredentialsFailed, SettingWrong):
            raise
        except (
            Exception
        ) as error:  # programs, files and servers of the user's fail here, in ways that botocore does not list
            raise explain_failure(error, *self._origin()) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    def _read(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except boto.ProfileNotFound as error:
            raise explain_failure(error) from error
        except boto.BotoCoreError as error:
            raise SettingWrong(_one_line(error)) from error

    def _origin(self) -> tuple[str, str, str]:
        """Returns which way to credentials was taken, the profile that chose it, if one did, and the one whose SSO session that needs."""
        try:
            profiles: Mapping[str, Mapping[str, str]] = self._session.full_config.get("profiles", {})
        except Exception:  # the config cannot be read: the error itself says so
            profiles = {}
        profile = self._session.profile or ("default" if "default" in profiles else "")
        way = next((words for key, words in _WAYS.items() if key in profiles.get(profile, {})), "")
        source = profile
        for _ in profiles:
            source = profiles.get(source, {}).get("source_profile", source)
        return way, profile, source

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        """Sends a request that botocore has signed."""
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        server = Server(parts.scheme, host, parts.port or {"http": 80, "https": 443}[parts.scheme])
        headers = {
            str(name).lower(): value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        headers["host"] = server.address
        headers.pop("content-length", None)
        body = request.body or b""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        message = Message(
            request.method, target, headers, body.encode() if isinstance(body, str) else body, _ANSWER_BYTES
        )
        connections = self._connect(self.variable("ca_bundle"))
        try:
            answer = connections.send(server, message)
        finally:
            connections.close()
        return AWSResponse(request.url, answer.status, dict(answer.headers.items()), _Raw(answer.body))


class _Raw:
    """The body of an answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body


def explain_failure(cause: Exception, way: str = "", profile: str = "", source: str = "") -> CredentialsFailed:
    """Returns why there are no credentials: names the way and the profile, and says what to do; what programs and servers say stays theirs.

    `way` is what the profile says to do for them (`SSO session`, `role`), `profile` its name, `source` that of the first in a chain of
    roles; all may be empty.
    """
    if isinstance(cause, boto.NoCredentialsError):
        return _none()
    if isinstance(cause, boto.ProfileNotFound):
        name = quote(str(cause.kwargs.get("profile", "")))
        return CredentialsFailed(f": your AWS config has no profile {name}", hint="aws configure list-profiles")
    is_login = isinstance(cause, _LOGIN_ERRORS)
    if is_login or isinstance(cause, boto.SSOError | boto.TokenRetrievalError):
        kind, program = ("login", "aws login") if is_login else ("SSO", "aws sso login")
        rest = f": the {kind} session of profile {quote(source)} has expired, or never began"
        return CredentialsFailed(rest, hint=program + _profile_choice(source))
    start = f" from the {way or 'AWS config'} of profile {quote(profile)}" if profile else ""
    hint = f"aws sts get-caller-identity{_profile_choice(profile)}     shows more"
    if isinstance(cause, boto.ClientError):
        status: int = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(cause.response.get("Error", {}).get("Code", ""))
        shown = f"{cause.operation_name}: {status} {printable_code(code)}".rstrip()
        if may_pass(code, status):
            rest = f"{start}: the server is busy or failing ({shown})"
            return CredentialsFailed(rest, hint=hint, may_pass=True, answered=True)
        return CredentialsFailed(f"{start}: refused ({shown})", hint=hint)
    if isinstance(cause, Unreached | Broken):
        where = printable(cause.server) or "the server"
        if is_untrusted(cause):
            rest = f"{start}: cannot use {where}: its certificate is not trusted"
            return CredentialsFailed(rest, hint="name your CA's file: AWS_CA_BUNDLE")
        return CredentialsFailed(f"{start}: cannot reach {where}: {reason(cause)}", hint=hint, may_pass=True)
    return CredentialsFailed(f"{start}: {_reason_of_credentials(cause)}", hint=hint)


def _none() -> CredentialsFailed:
    return CredentialsFailed("", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or -o profile=NAME")


def _profile_choice(profile: str) -> str:
    return "" if profile in ("", "default") else f" --profile {word(profile)}"


def _reason_of_credentials(cause: Exception) -> str:
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
        return f"{quote(str(cause.filename))}: {(cause.strerror or '').lower()}" if cause.filename else reason(cause)
    if isinstance(cause, RuntimeError):  # botocore: "refreshed, but still expired"
        return "those that it gave have expired"
    if isinstance(cause, JSONDecodeError):
        return "what it printed is no JSON"
    if isinstance(cause, TooLong):
        return "the server answered too much"
    return f"it cannot be used ({type(cause).__name__})"


def _one_line(error: BaseException) -> str:
    """Returns what botocore says of a setting of the user, as the end of a message."""
    text = "".join(filter(str.isprintable, " ".join(str(error).split())))[:200].rstrip(".")
    return text[:1].lower() + text[1:]


def _mfa_code(prompt: str) -> str:
    """Asks for a code on the terminal; raises GetPassWarning where there is none, in place of reading it from standard input."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        return getpass.getpass(prompt)
