"""Runs that never ran, and a lookup over them in memory."""

import hashlib

from dvlite.formats.lockfile import Facts
from dvlite.formats.record import Code, Input, Output, Run
from dvlite.lineage.walk import run_io
from dvlite.oid import Oid

PROJECT = "0" * 32


def oid(text, kind="blake3"):
    """Returns an id that is always the same for a word."""
    return Oid(f"{kind}:{hashlib.sha256(text.encode()).hexdigest()}")


def folder(text):
    return oid(text, "manifest")


def content(made, item):
    """Reads `path`, `path@version`, with `/` at the end for a directory: the bytes are those of the whole word."""
    path, _, _ = item.partition("@")
    is_folder = path.endswith("/")
    return made(
        path=path.rstrip("/"),
        oid=folder(item) if is_folder else oid(item),
        size_bytes=1000,
        files=3 if is_folder else 1,
    )


def run(stage, inputs="", outputs="", *, number=0, **fields):
    """Returns a run; `number` orders runs in time."""
    digits = f"{number:012x}"
    facts = {name: fields.pop(name) for name in ("cmd", "params", "env", "capture") if name in fields}
    return Run(
        id=f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000",
        invocation="00000000-0000-7000-8000-000000000000",
        key=hashlib.sha256(f"{stage} {inputs}".encode()).hexdigest(),
        stage=stage,
        file="dvlite.yaml",
        facts=Facts(**{"cmd": f"make {stage}", **facts}),
        inputs=tuple(content(Input, item) for item in inputs.split()),
        outputs=tuple(content(Output, item) for item in outputs.split()),
        start=f"2026-11-22T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z",
        end=f"2026-11-22T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.500Z",
        project=PROJECT,
        **{"status": "ok", "code": Code(), **fields},
    )


class Memory:
    """A lookup over runs given by name."""

    def __init__(self, **runs):
        self.records = {oid(name, "run"): record for name, record in runs.items()}
        self.made, self.used = {}, {}
        for name, record in self.records.items():
            for item in record.outputs:
                self.made.setdefault(item.oid, []).append((name, item.path))
            for item in record.inputs:
                self.used.setdefault(item.oid, []).append((name, item.path))

    def makers(self, oids):
        return {found: self.made[found] for found in oids if found in self.made}

    def users(self, oids):
        return {found: self.used[found] for found in oids if found in self.used}

    def runs(self, names, *, inputs):
        runs = {name: run_io(self.records[name]) for name in names if name in self.records}
        return runs if inputs else {name: run._replace(inputs=()) for name, run in runs.items()}

    def rank(self, name):
        return 0

    def narrowed(self, name, whole, *, inputs=(), outputs=()):
        return whole, ()

    def holders(self, artefact, *, every):
        return ()

    def parts(self, artefact, *, outputs):
        return ()
