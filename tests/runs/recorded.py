"""Run records and notes that differ by number, for the tests of where they are kept and how they are found."""

import hashlib
import random

from dvlite.formats import record
from dvlite.formats.lockfile import Facts
from dvlite.formats.record import CheckRecord, Code, Input, Note, Output, Run
from dvlite.oid import Oid

PROJECT = "ab" * 16
START_NS = 1_795_356_120 * 10**9  # 2026-11-22T14:02:00Z
MINUTE_NS = 60 * 10**9


def oid(word, kind="blake3"):
    """Returns an id that is always the same for a word."""
    return Oid(f"{kind}:{hashlib.sha256(str(word).encode()).hexdigest()}")


def key(word):
    return hashlib.sha256(f"key {word}".encode()).hexdigest()


def run(number=0, **fields):
    """Returns run number N of `train`, made N minutes after the start."""
    at = START_NS + number * MINUTE_NS
    random_bytes = random.Random(number).randbytes(8)
    made = {
        "id": record.new_id(at, random_bytes),
        "invocation": record.new_id(START_NS, random_bytes),
        "key": key(number),
        "stage": "train",
        "file": "dvlite.yaml",
        "status": "ok",
        "code": Code(commit=hashlib.sha1(b"%d" % number).hexdigest()),
        "metrics": {"metrics.json:acc": round(number / 100, 4)},
        "environment": {"python": "3.11.9"},
        "inputs": (Input(path="data/tiles", oid=oid("tiles", "manifest"), size_bytes=5000, files=7),),
        "outputs": (
            Output(path="model.pt", oid=oid(f"model {number}"), size_bytes=9000, sha256=oid(f"sha {number}")[7:]),
        ),
        "start": record.time_text(at),
        "end": record.time_text(at + MINUTE_NS // 2),
        "seconds": 30.0,
        "user": "you@example.com",
        "host": "gpu-3",
        "project": PROJECT,
    }
    facts = {"cmd": "python src/train.py", "params": {"params.yaml:lr": 0.01, "params.yaml:seed": number}}
    facts |= {name: fields.pop(name) for name in ("cmd", "wdir", "params", "env", "capture") if name in fields}
    return Run(**{**made, "facts": Facts(**facts), **fields})


def namesakes():
    """Returns two runs whose names begin with the same four digits, and these digits."""
    seen = {}
    for number in range(1 << 16):
        other = seen.setdefault(name(run(number))[4:8], number)
        if other != number:
            return run(other), run(number), name(run(number))[4:8]
    raise AssertionError


def note(of, op, value, *, minute=0, **fields):
    """Returns a note of a run (a Run, or the name of one)."""
    at = START_NS + minute * MINUTE_NS
    words = f"{of} {op} {value} {minute}".encode()
    return Note(
        **{
            "id": record.new_id(at, hashlib.sha256(words).digest()),
            "run": record.name(record.dump(of)) if isinstance(of, Run) else of,
            "op": op,
            "value": value,
            "time": record.time_text(at),
            "user": "you@example.com",
            "project": PROJECT,
            **fields,
        }
    )


def check(data, **fields):
    """Returns the result of a check of some content, which passed."""
    words = f"{data} {fields}".encode()
    return CheckRecord(
        **{
            "id": record.new_id(START_NS, hashlib.sha256(words).digest()),
            "key": key(words),
            "check": "good",
            "file": "dvlite.yaml",
            "status": "passed",
            "data": (Input(path="checked", oid=data, size_bytes=9),),
            "start": record.time_text(START_NS),
            "project": PROJECT,
            **fields,
        }
    )


def name(found):
    return record.name(record.dump(found))
