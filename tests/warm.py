"""A `dvlite` program that starts in milliseconds: a process that has loaded everything forks for each command.

The child has the files, the folder, the environment and the arguments of its caller, and is a process of its own: only the imports
(a quarter of a second of CPU) are shared. Signals for the caller do not reach it: tests of signals start `python -m dvlite`.

Run as `python -m tests.warm SOCKET`; serves until its standard input ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENT = """\
#!{python} -IS
import _socket, os, sys
words = [os.getcwdb(), b"%d" % len(sys.argv[1:]), *map(os.fsencode, sys.argv[1:])]
order = b"".join(word + b"\\0" for word in [*words, *(b"=".join(item) for item in os.environb.items())])
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({socket!r})
files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
server.sendmsg([len(order).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
server.send(order)
code = server.recv(1)
os._exit(code[0] if code else 137)
"""  # what warm.c does, where nothing compiles it


def load() -> None:
    """Loads what commands load, once for all of them."""
    import dvlite

    for module in pkgutil.walk_packages(dvlite.__path__, "dvlite."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for package in ("yaml", "pyfastcdc", "zstandard", "rich.console"):
        importlib.import_module(package)
    gc.collect()
    gc.freeze()  # what is not looked at is not copied for a child


def serve(path: str) -> None:
    """Forks a child for each client, until standard input ends."""
    load()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        print("ready", flush=True)
        while server in select.select([server, 0], [], [])[0]:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                answer(client)
            client.close()
            reap(os.WNOHANG)
    reap()


def reap(options: int = 0) -> None:
    """Takes note of the children that ended: their CPU time counts as that of the tests."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def answer(client: socket.socket) -> None:
    """Is the child: runs the client's command with the client's files and sends its exit code."""
    length, files, _, _ = socket.recv_fds(client, 8, 3)
    order = bytearray()
    while len(order) < int.from_bytes(length, "big"):
        order += client.recv(1 << 20)
    cwd, count, *words = bytes(order).split(b"\0")[:-1]
    arguments, environ = words[: int(count)], words[int(count) :]
    for fd, file in enumerate(files):
        os.dup2(file, fd)
        os.close(file)
    os.chdir(cwd)
    os.environb.clear()
    os.environb.update(each.split(b"=", 1) for each in environ)
    sys.argv = ["dvlite", *map(os.fsdecode, arguments)]
    from dvlite.cli.main import main

    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    client.sendall(bytes([code]))
    os._exit(0)


@contextlib.contextmanager
def running(folder: Path, module: str = "tests.warm") -> Iterator[Path]:
    """Starts the server and yields the program whose commands it runs, alone in its folder. `module` is what serves."""
    (folder / "bin").mkdir()
    program, address = folder / "bin" / "dvlite", str(folder / "socket")
    compiler = shutil.which("cc") or shutil.which("gcc")
    compile_it = [compiler, "-O1", f'-DSOCKET="{address}"', "-o", program, ROOT / "tests" / "warm.c"]
    if compiler is None or subprocess.run(compile_it, stderr=subprocess.DEVNULL).returncode:
        program.write_text(CLIENT.format(python=sys.executable, socket=address))
        program.chmod(0o755)
    command = [sys.executable, "-m", module, address]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"ready\n"
        try:
            yield program
        finally:
            server.stdin.close()  # so it ends


if __name__ == "__main__":
    serve(sys.argv[1])
