"""Directories for tests: one with everything that fidelity is about, and what there is to compare about a directory."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

SCRIPTS = [
    "naïve.txt",
    "日本語.csv",
    "Ελληνικά",
    "русский",
    "العربية",
    "עברית",
    "हिन्दी",
    "ไทย",
    "한국어",
    "🙂🎉",
    "e\u0301 and \u00e9",
]
AWKWARD = [
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b" leading and trailing ",
    b"-rf",
    b"--help",
    b"*",
    b"[a]?",
    b"quote'\"`$(id)",
    b"back\\slash",
    b"bell\x07\x1b]0;title\x07",
    b"\xff\xfe not UTF-8 \x80",
    b"~",
    b"...",
    b"#",
    b"CON",
    b"a:b",
    b"trailing.",
    b"x" * 255,
    "\u202egnp.exe".encode(),
]


def noise(size: int, seed: int) -> bytes:
    """Returns bytes that do not compress and are the same each time."""
    return random.Random(seed).randbytes(size)


def put(path: Path | bytes, data: bytes = b"", *, executable: bool = False) -> None:
    """Writes a file, making its folder."""
    path = os.fsencode(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    if executable:
        os.chmod(path, 0o755)


def make_everything(root: Path, *, sparse_bytes: int = 0) -> None:
    """Fills a folder with all that a directory may hold; a sparse file of `sparse_bytes` too, if that is not 0."""
    base = os.fsencode(root)
    for number, name in enumerate(SCRIPTS):
        put(root / "scripts" / name / name, noise(50, number))
    for number, raw in enumerate(AWKWARD):
        put(base + b"/awkward/" + raw, noise(60, 100 + number))
    put(root / "empty file")
    for name in ("empty folder", "deep/empty/folder", "deep/next to files/empty"):
        (root / name).mkdir(parents=True)
    put(root / "deep" / "next to files" / "file", b"x")
    put(root / "/".join(f"level {i}" for i in range(40)) / "bottom", b"deep down")
    put(root / "bin" / "tool", b"#!/bin/sh\necho hello\n", executable=True)
    put(root / "bin" / "large tool", noise(200_000, 3), executable=True)
    put(root / "bin" / "not a tool", b"#!/bin/sh\n")
    for number in range(5):
        put(root / "copies" / f"small {number}", b"the same small content")
        put(root / "copies" / f"large {number}", noise(300_000, 1))
    put(root / "copies" / "executable copy", b"the same small content", executable=True)
    for size in (65_535, 65_536, 65_537, 131_072, 1_048_576, 1_048_577):
        put(root / "sizes" / str(size), noise(size, size))
    put(root / "zeros", bytes(500_000))
    put(root / "text.csv", b"".join(b"%d,%d,text\n" % (i, i * i) for i in range(20_000)))
    links = {
        "links/to a file": "../text.csv",
        "links/to a folder": "../bin",
        "links/beside": "to a file",
        "links/dangling": "nothing here",
        "links/to itself": "to itself",
        "links/odd\nname": "../awkward",
        "top": "text.csv",
    }
    (root / "links").mkdir()
    for name, target in links.items():
        os.symlink(target, root / name)
    if sparse_bytes:
        with open(root / "sparse.bin", "wb") as file:
            file.write(b"start")
            file.seek(sparse_bytes // 2)
            file.write(b"middle")
            file.truncate(sparse_bytes)


def facts(root: Path) -> dict[bytes, tuple]:
    """Returns what must be equal about two directories: kind, executable bit, bytes or target, by path; large files by their digest."""
    from blake3 import blake3

    found: dict[bytes, tuple] = {}
    base = os.fsencode(root)
    for folder, folders, names in os.walk(base):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            key = os.path.relpath(path, base)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("folder",)
            elif status.st_size > 1 << 26:
                found[key] = ("file", bool(status.st_mode & 0o100), status.st_size, blake3().update_mmap(path).digest())
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", bool(status.st_mode & 0o100), file.read())
    return found
