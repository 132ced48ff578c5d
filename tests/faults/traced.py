"""Shows that no file-system call of a command escapes the library that counts them: strace sees the same number of each kind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.faults.calls import EVERY_CALL, ROOT, Fault, library_in, order_of
from tests.faults.worlds import World

KINDS = {
    "open": "open openat openat2 creat",
    "read": "read readv",
    "pread": "pread64 preadv preadv2",
    "write": "write",
    "writev": "writev",
    "pwrite": "pwrite64",
    "pwritev": "pwritev pwritev2",
    "mmap": "mmap",
    "copy_file_range": "copy_file_range",
    "sendfile": "sendfile splice vmsplice tee",
    "ficlone": "ioctl",
    "ftruncate": "ftruncate",
    "truncate": "truncate",
    "fallocate": "fallocate",
    "fsync": "fsync",
    "fdatasync": "fdatasync sync_file_range syncfs sync msync",
    "rename": "rename renameat renameat2",
    "link": "link linkat",
    "symlink": "symlink symlinkat",
    "unlink": "unlink",
    "mkdir": "mkdir mkdirat",
    "rmdir": "rmdir",
    "chmod": "chmod fchmod fchmodat fchmodat2",
    "utimens": "utimensat utimes futimesat utime",
    "chown": "chown fchown lchown fchownat",
    "xattr": "setxattr fsetxattr lsetxattr removexattr fremovexattr",
    "mknod": "mknod mknodat",
    "io_uring": "io_uring_setup io_uring_enter",
    "flock": "flock",
    "fcntl": "fcntl",
}
"""How the library names calls, and the system calls of Linux that do it; `unlinkat` is either of two. Looking at names is not compared."""
_OF_CALL = {call: kind for kind, calls in KINDS.items() for call in calls.split()}
_LOCKS = ("F_SETLEASE", "F_SETLK", "F_OFD_SETLK")
_ON_DESCRIPTOR = re.compile(r"\w+\(\d+<([^>]*)>")
_DESCRIPTOR_OF_MAP = re.compile(r", \d+<([^>]*)>, (0x)?[0-9a-f]+\)")
_CHILD = re.compile(r"(?:clone3?|v?fork)\(.*= (\d+)$")


def trace(world: World, folder: Path, where: str, *args: str) -> tuple[Counter[str], Counter[str]]:
    """Runs a command under strace; returns how often each kind of call was counted, and how often it was made.

    Raises RuntimeError with the reason where strace is not there or may not trace.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise RuntimeError("strace is not installed")
    log, traces = folder / "calls", folder / "traces"
    traces.mkdir()
    order = order_of(world.base / where, args, Fault(classes=EVERY_CALL), world.base, log)
    names = ",".join(f"?{name}" for name in (*_OF_CALL, "unlinkat", "execve", "clone", "clone3", "fork", "vfork"))
    command = [strace, "-ff", "-y", "-qq", "-s", "0", "-e", f"trace={names}", "-o", str(traces / "of")]
    command += ["-E", f"LD_PRELOAD={library_in(folder)}", sys.executable, "-m", "tests.faults.calls"]
    command.append(json.dumps(order | {"output": str(folder / "output")}))
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **world.env()}, capture_output=True, text=True)
    if not log.exists():
        raise RuntimeError(f"strace cannot trace here: {done.stderr.strip()[-200:]}")
    counted = Counter(line.split("\t")[1] for line in log.read_text(errors="backslashreplace").splitlines())
    counted["open"] += counted.pop("opendir", 0)
    root = os.path.realpath(world.base) + "/"
    return Counter({kind: counted[kind] for kind in KINDS if counted[kind]}), made(traces, root)


def made(traces: Path, root: str) -> Counter[str]:
    """Returns how often each kind of call was made below a folder, by the first process and what it forked, up to their `execve`."""
    waiting = [min(traces.iterdir(), key=lambda path: int(path.suffix[1:]))]
    found: Counter[str] = Counter()
    first = True
    while waiting:
        for line in waiting.pop().read_text(errors="backslashreplace").splitlines():
            if line.startswith("execve(") and not first:
                break
            first = False
            child = _CHILD.match(line)
            if child:
                waiting.append(traces / f"of.{child[1]}")
            kind = kind_of(line, root)
            if kind is not None:
                found[kind] += 1
    return found


def kind_of(line: str, root: str) -> str | None:
    """Returns the kind of one traced call, if it is below the folder and of a kind that is compared."""
    name = line.partition("(")[0]
    kind = ("rmdir" if "AT_REMOVEDIR" in line else "unlink") if name == "unlinkat" else _OF_CALL.get(name)
    if kind is None or (kind == "fcntl" and not any(lock in line for lock in _LOCKS)):
        return None
    if kind == "ficlone" and "FICLONE" not in line:
        return None
    if kind == "mmap":
        place = _DESCRIPTOR_OF_MAP.search(line)
        return kind if place is not None and f"{place[1]}/".startswith(root) else None
    descriptor = _ON_DESCRIPTOR.match(line)
    if descriptor is not None and not re.search(r'at2?\(\d+<[^>]*>, "/', line):
        return kind if f"{descriptor[1]}/".startswith(root) else None
    return kind if f'"{root}' in line or (f"AT_FDCWD<{root}" in line and '"/' not in line) else None
