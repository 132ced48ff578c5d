"""Which clone this is: a random id that its roots on remotes carry (docs/reference/formats/cache.md).

The id is bound to the machine, the path and the inode of the folder that it lies in, so that a repository copied with all of its files is
another clone: two clones with one id would drop each other's roots. One that moved is another clone too, which costs a root per push.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from dvlite import files
from dvlite.errors import DvliteError
from dvlite.oid import digest_bytes

FILE = "clone-id"
_ID_LETTERS, _LETTERS = 32, 98  # of the id; of the file: id, space, 64 digits of the place, newline
_MACHINE = Path("/etc/machine-id")


def clone_id(common_dir: Path) -> str:
    """Returns the id of the clone with this git directory, 32 hex digits; writes one if there is none, or one of another place.

    Where nothing can be written the id holds for this process alone.
    """
    folder = common_dir / "dvlite"
    known = _known(folder)
    if known is not None:
        return known
    new = os.urandom(_ID_LETTERS // 2).hex()
    try:
        folder.mkdir(exist_ok=True)
        with files.lock(folder / f"{FILE}.lock"):
            known = _known(folder)  # another process was first
            if known is None:
                files.write_atomic(folder / FILE, f"{new} {_place(folder)}\n".encode())
    except (OSError, DvliteError):
        return new
    return known or new


def is_known(common_dir: Path) -> bool:
    """Returns whether the id of a clone can be read and is of this place, or there is none yet."""
    folder = common_dir / "dvlite"
    return not os.path.lexists(folder / FILE) or _known(folder) is not None


def _known(folder: Path) -> str | None:
    with contextlib.suppress(OSError, DvliteError, ValueError):
        text = (files.read_regular(folder / FILE, FILE, _LETTERS + 1) or b"").decode("ascii")
        if len(text) == _LETTERS and text[_ID_LETTERS:] == f" {_place(folder)}\n":
            return bytes.fromhex(text[:_ID_LETTERS]).hex()
    return None


def _place(folder: Path) -> str:
    machine = b""
    with contextlib.suppress(OSError):
        machine = _MACHINE.read_bytes()
    facts = (
        machine,
        os.fsencode(platform.node()),
        os.fsencode(os.path.realpath(folder)),
        b"%d" % os.stat(folder).st_ino,
    )
    return digest_bytes(b"\0".join(facts)).hex()
