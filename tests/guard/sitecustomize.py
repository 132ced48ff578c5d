"""Refuses every network address that is not this machine; loaded by tests/conftest.py, and by each Python that a test starts.

An audit hook sees what C code and asyncio do too, and costs no import. Python finds this file by its name on PYTHONPATH.
"""

import ipaddress
import sys


class NetworkForbidden(RuntimeError):
    """A test tried to leave this machine. Not an OSError, so that no retry can swallow it."""


def is_here(host: object) -> bool:
    """Says whether a host or address is this machine."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text is None or text in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(text).split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse_network(event: str, args: tuple) -> None:
    """The audit hook."""
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        if isinstance(address, tuple) and not is_here(address[0]):
            raise NetworkForbidden(f"a test tried to connect to {address[0]}:{address[1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not is_here(args[0]):
        if str(args[0]).rstrip(".").endswith(".invalid"):  # RFC 6761: no resolver knows it, so tests may ask for it
            import socket

            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        raise NetworkForbidden(f"a test tried to look up {args[0]}")


sys.addaudithook(refuse_network)
