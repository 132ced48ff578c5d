"""A client of S3, made of a remote's options, the AWS environment and the AWS config: credentials, region, certificates, time limits.

s3fs (fsspec, aiobotocore) finds credentials, signs, and keeps the connections on its own thread; its file-system side is not used, for it
answers from a listing cache, uploads in parts and retries on its own. Loading this module takes 0.25 s: `store.remote` does so late.
Knows no bucket and no object; says why there is no client by `CredentialsFailed` and SettingWrong.
"""

from __future__ import annotations

import getpass
import logging
import os
import re
import socket
import threading
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import s3fs
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from fsspec.asyn import get_loop, sync

from dvlite.show import quote
from dvlite.store.s3_errors import CredentialsFailed, Redirected, SettingWrong

T = TypeVar("T")

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 20  # between two arrivals of bytes, counted once the request is sent
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Session variables of botocore: key of the profile, environment, default, type. It would leave out AWS_REGION, which all newer tools read.
_VARIABLES = {
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
    "requests_ca_bundle": (None, "REQUESTS_CA_BUNDLE", None, None),
}
_WAYS = {  # key of a profile: what it is called in messages
    "role_arn": "role",
    "sso_session": "SSO session",
    "sso_start_url": "SSO session",
    "login_session": "login session",
    "credential_process": "credential_process",
}
_KEYS = ("access_key_id", "secret_access_key", "session_token")

# Each failure is one line, ours. Without a handler Python prints what libraries log of it, tracebacks included.
for _library in ("aiobotocore", "aiohttp", "asyncio", "botocore", "fsspec", "s3fs"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


class S3Client:
    """A client that is made at the first request, and again after it was closed. Thread-safe."""

    def __init__(self, options: Mapping[str, str], *, connections: int) -> None:
        self._options = dict(options)
        self._connections = connections
        self._lock = threading.Lock()
        self._files: Any = None  # s3fs has no types
        self._client: Any = None

    @property
    def endpoint_url(self) -> str:
        """Where requests go, as far as that is known; the environment or the AWS config may have named it."""
        return "" if self._client is None else str(self._client.meta.endpoint_url)

    def run(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Returns what an operation on aiobotocore's client returned; its credentials are valid then.

        Raises CredentialsFailed and SettingWrong before any request to S3, and else what the operation raises.
        """

        async def connect_and_run() -> T:
            files = self._file_system()
            await _require_credentials(files.session, self._options)
            self._client = await files.set_session()
            return await operation(self._client)

        result: T = sync(get_loop(), connect_and_run)
        return result

    def close(self) -> None:
        with self._lock:
            files, client = self._files, self._client
            self._files = self._client = None
        if client is not None and files is not None:
            sync(get_loop(), client.close)  # ends requests that still run (Ctrl-C)

    def _file_system(self) -> Any:
        with self._lock:
            if self._files is None:
                self._files = _file_system(self._options, self._connections)
            return self._files


class _OneHostSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """HTTP that stays where it was sent, for aiohttp would follow a redirect to any host; it trusts what this machine trusts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # In this place, for the configs of older releases refuse it.
        options["connector_args"] = {**(options.get("connector_args") or {}), "socket_factory": _socket}
        super().__init__(*arguments, **options)

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        return _WithoutRedirects(await super()._get_session(proxy_url))

    def _get_ssl_context(self) -> Any:
        context = super()._get_ssl_context()
        if (
            self._verify is True
        ):  # no CA bundle was named: beside botocore's own, SSL_CERT_FILE, SSL_CERT_DIR and the system's
            context.load_default_certs()
        return context


class _WithoutRedirects:
    """Leaves to botocore the redirects that name a bucket's region, and refuses others (it would ask again without end)."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, *arguments: Any, **options: Any) -> Any:
        response = await self._session.request(*arguments, allow_redirects=False, **options)
        if response.status in _REDIRECTS and "x-amz-bucket-region" not in response.headers:
            response.close()
            raise Redirected
        return response


async def _require_credentials(session: Any, options: Mapping[str, str]) -> None:
    """Has credentials fetched or renewed if they are due, so that a failure of that is no failure of a request.

    botocore does the same while it signs, and raises it as if S3 had failed.
    """
    if options.get("anonymous") == "true":
        return
    if "access_key_id" in options:
        _require_clean([options.get(name) for name in _KEYS], "the options of this remote")
        return
    try:
        roles = session.get_component("credential_provider").get_provider("assume-role")
        roles._prompter = _mfa_code  # noqa: SLF001  (botocore takes it only where the provider is made)
        credentials = await session.get_credentials()
        if credentials is None:
            raise CredentialsFailed
        frozen = await credentials.get_frozen_credentials()
    except CredentialsFailed:
        raise
    except (
        Exception
    ) as error:  # programs, files and servers of the user's fail here, in ways that botocore does not list
        raise CredentialsFailed(*_origin(session)) from error
    _require_clean([frozen.access_key, frozen.secret_key, frozen.token], _place(credentials.method, session.profile))


def _mfa_code(prompt: str) -> str:
    """Asks for a code on the terminal; raises GetPassWarning where there is none, in place of reading it from standard input."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        return getpass.getpass(prompt)


def _require_clean(values: list[str | None], place: str) -> None:
    """Raises SettingWrong for a key with a blank or a line break: a secret of a CI that was pasted with its line end."""
    for name, value in zip(_KEYS, values, strict=True):
        if value and re.fullmatch(r"[!-~]+", value) is None:
            raise SettingWrong(
                f"the {name.replace('_', ' ')} has a blank, a line break or another odd character in it",
                hint=f"correct it in {place}",
            )


def _place(method: str | None, profile: str | None) -> str:
    if method == "env":
        return "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
    return f"profile {quote(profile or 'default')} of your AWS config"


def _origin(session: Any) -> tuple[str, str, str]:
    """Returns which way to credentials was taken, the profile that chose it, if one did, and the one whose SSO session that needs."""
    try:
        profiles: Mapping[str, Mapping[str, str]] = session.full_config.get("profiles", {})
    except Exception:  # the config cannot be read: the error itself says so
        profiles = {}
    profile = session.profile or ("default" if "default" in profiles else "")
    way = next((words for key, words in _WAYS.items() if key in profiles.get(profile, {})), "")
    source = profile
    for _ in profiles:
        source = profiles.get(source, {}).get("source_profile", source)
    return way, profile, source


def _file_system(options: Mapping[str, str], connections: int) -> Any:
    endpoint = options.get("endpoint_url", "")
    is_aws = not endpoint or "amazonaws.com" in endpoint
    limits = {
        "http_session_cls": _OneHostSession,
        "retries": {"max_attempts": 0},
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _ANSWER_SECONDS,
    }
    session = AioSession(session_vars=_VARIABLES, profile=options.get("profile"))
    session.set_default_client_config(AioConfig(**limits))  # for the requests to STS and SSO
    config = limits | {
        "max_pool_connections": connections,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "s3": {
            "addressing_style": options.get("addressing_style", "auto" if is_aws else "path"),
            "payload_signing_enabled": False,  # the signed checksum header stands for it
        },
    }
    region = options.get("region")
    if region is None and not is_aws:  # other servers do not care, but signatures need one
        region = _variable(session, "region") or "us-east-1"
    return s3fs.S3FileSystem(
        anon=options.get("anonymous") == "true",
        key=options.get("access_key_id"),
        secret=options.get("secret_access_key"),
        token=options.get("session_token"),
        endpoint_url=endpoint or None,
        client_kwargs={"verify": _verify(session, options)} | ({"region_name": region} if region else {}),
        config_kwargs=config,
        session=session,
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _verify(session: Any, options: Mapping[str, str]) -> bool | str:
    """Returns the CA bundle to verify the server with; True for those that botocore and this machine have."""
    if options.get("verify") == "false" or options.get("endpoint_url", "").startswith("http://"):
        return False  # there is nothing to verify without TLS, and loading the certificates takes 20 ms
    bundle = options.get("ca_bundle") or _variable(session, "ca_bundle") or _variable(session, "requests_ca_bundle")
    if bundle is not None and not os.path.exists(bundle):
        raise SettingWrong(
            f"the CA bundle {quote(bundle)} does not exist",
            hint="correct the option ca_bundle of this remote, AWS_CA_BUNDLE, ca_bundle of your AWS profile, or REQUESTS_CA_BUNDLE",
        )
    return bundle or True


def _variable(session: Any, name: str) -> str | None:
    value: str | None = session.get_config_variable(name)
    return value


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Makes a socket that notices a dead peer while it sends, too: no time limit of aiohttp counts then."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _ANSWER_SECONDS * 1000)
    return opened
