"""Times queries on many run records: `python benchmarks/runs.py --runs 100000`.

Generates synthetic records (3 inputs, 2 outputs, 20 parameters, 10 metrics each) in batches, builds the index in one process (time and
memory), then runs each query in a fresh process: times include imports, opening and the answer, not the start of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from dvlite.formats import record  # noqa: E402  # found once the project is on the path
from dvlite.formats.lockfile import Facts  # noqa: E402
from dvlite.formats.record import Code, Input, Note, Output, Run  # noqa: E402
from dvlite.oid import Oid  # noqa: E402
from dvlite.runs.records import Records  # noqa: E402
from dvlite.store import batch  # noqa: E402

PROJECT_ID = "ab" * 16
START_NS = 1_760_000_000 * 10**9
STAGES = ("prepare", "train", "evaluate")
MODELS = ("resnet18", "resnet50", "vit")
METRIC_NAMES = ("acc", "loss", "f1", *(f"recall.c{i}" for i in range(7)))
PARAMS = 20


def oid(*words: object) -> Oid:
    """Returns the id of content that does not exist; the same words, the same id."""
    return Oid("blake3:" + hashlib.sha256(repr(words).encode()).hexdigest())


def project_of(repo: Path) -> str:
    """Returns the id of a repository's project."""
    return re.search(r"^project: (\w+)", (repo / ".dvlite" / "config.yaml").read_text(), re.MULTILINE)[1]


def run_record(number: int, project: str = PROJECT_ID) -> Run:
    """Returns one run: experiments of three stages, each on one of 50 versions of the data, with parameters drawn at random.

    An evaluation has no learning rate and no model of its own: those of its training count.
    """
    experiment, stage = divmod(number, 3)
    draw = random.Random(number)
    version = experiment // 2000
    at = START_NS + number * 60 * 10**9
    data = Oid("manifest:" + hashlib.sha256(b"data %d" % version).hexdigest())
    made = oid(STAGES[stage], experiment)
    before = data if stage == 0 else oid(STAGES[stage - 1], experiment)
    chosen = {"params.yaml:lr": draw.choice((0.1, 0.03, 0.01, 0.003)), "params.yaml:model": draw.choice(MODELS)}
    params = {"params.yaml:seed": number, **(chosen if stage < 2 else {})}
    params |= {f"params.yaml:net.p{i}": round(draw.random(), 6) for i in range(PARAMS - len(params))}
    return Run(
        id=record.new_id(at, draw.randbytes(8)),
        invocation=record.new_id(START_NS + experiment * 10**9, random.Random(experiment).randbytes(8)),
        key=hashlib.sha256(b"key %d" % number).hexdigest(),
        stage=STAGES[stage],
        file="dvlite.yaml",
        status="failed" if number % 20 == 0 else "ok",
        facts=Facts(
            cmd=f"python src/{STAGES[stage]}.py",
            params=params,
            capture={"torch": "2.9.0"},
        ),
        code=Code(
            repo="git@example.com:acme/birds", commit=hashlib.sha256(b"%d" % (experiment // 10)).hexdigest()[:40]
        ),
        environment={"python": "3.11.9", "platform": "Linux-6.8-x86_64"},
        inputs=(
            Input(path="data/images", oid=data, size_bytes=50 << 30, files=385_412),
            Input(path=f"src/{STAGES[stage]}.py", oid=oid("code", experiment // 100), size_bytes=4_000),
            Input(path=f"out/{stage}", oid=before, size_bytes=97 << 20),
        ),
        outputs=(
            Output(
                path=f"out/{stage + 1}", oid=made, size_bytes=97 << 20, sha256=hashlib.sha256(made.encode()).hexdigest()
            ),
            Output(path="metrics.json", oid=oid("metrics", number), size_bytes=90, role="metric", cached=False),
        ),
        metrics={f"metrics.json:{name}": round(draw.random(), 6) for name in METRIC_NAMES},
        start=record.time_text(at),
        end=record.time_text(at + 42 * 10**9),
        seconds=42.0,
        user="you@example.com",
        host="gpu-3",
        project=project,
        dvlite="0.1.0",
    )


def lines(runs: int, project: str) -> Iterator[bytes]:
    """Yields the runs; every hundredth has a tag."""
    for number in range(runs):
        data = record.dump(run_record(number, project))
        yield data
        if number % 100 == 0:
            at = START_NS + number * 60 * 10**9 + 10**9
            note_id = record.new_id(at, random.Random(number).randbytes(8))
            yield record.dump(
                Note(
                    id=note_id,
                    run=record.name(data),
                    op="tag",
                    value="good" if number % 1000 else "best",
                    time=record.time_text(at),
                    project=project,
                )
            )


def generate(folder: Path, runs: int, *, project: str = PROJECT_ID) -> int:
    """Writes the records as batches of 2,000, shuffled as the hashes of real ones are; returns the bytes stored."""
    records = Records(folder)
    draw = random.Random(0)
    written, waiting = 0, []
    for line in [*lines(runs, project), b""]:
        if line:
            waiting.append(line)
        if len(waiting) >= 2000 or not line:
            draw.shuffle(waiting)
            for made in batch.encode(waiting, iter(lambda: draw.randbytes(16), b"")):
                records.adopt(made.name, made.data)
                written += len(made.data)
            waiting = []
    return written


QUESTIONS = {
    "run cache: runs of a key": "index.ok_runs({key!r})",
    "a run by its name": "index.named({name!r})",
    "a run's record": "index.run({oid!r})",
    "makers of a model": "RunQueries(index).makers([{model!r}])",
    "users of a model": "RunQueries(index).users([{model!r}])",
    "content by 8 hex digits": "index.objects({digits!r})",
    "content by sha256": "index.by_sha256({sha256!r})",
    "newest 50": "index.find(Filters(limit=50))",
    "newest 50 failed of train": "index.find(Filters(stage='train', statuses=('failed',), limit=50))",
    "newest 50 with lr=0.01": "index.find(Filters(conditions=[condition('param', 'lr=0.01')], limit=50))",
    "newest 50 with acc>0.99": "index.find(Filters(conditions=[condition('metric', 'acc>0.99')], limit=50))",
    "newest 50 with acc>2 (none)": "index.find(Filters(conditions=[condition('metric', 'acc>2')], limit=50))",
    "newest 50, 3 conditions": "index.find(Filters(stage='train', conditions=[condition('param', 'lr=0.1'), condition('param', 'model=vit'),"
    " condition('metric', 'acc>0.9')], limit=50))",
    "one seed": "index.find(Filters(conditions=[condition('param', 'seed={seed}')], limit=50))",
    "newest 50 tagged best": "index.find(Filters(tags=('best',), limit=50))",
    "newest 50 not tagged good": "index.find(Filters(tags=('!good',), limit=50))",
    "newest 50 of a commit": "index.find(Filters(commit={commit!r}, limit=50))",
    "newest 50 of one day": "index.find(Filters(since_ms={day}, until_ms={day} + 86_400_000, limit=50))",
    "a table of 50: values": "[index.values([row.oid for row in index.find(Filters(limit=50))], ns) for ns in ('param', 'metric')]",
    "not on a remote": "index.not_in(records.batches(), {project!r})",
}
ASK = """
import sys, time
began = time.perf_counter()
from pathlib import Path
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from dvlite.runs.filters import Filters, parse_condition as condition
from dvlite.runs.queries import RunQueries
records = Records(Path(sys.argv[1]))
with open_index(records) as index:
    opened = time.perf_counter()
    answer = eval(sys.argv[2])
    ended = time.perf_counter()
import json, re
memory = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())  # ru_maxrss counts the parent before exec too
count = len(answer) if isinstance(answer, (list, dict)) else int(answer is not None)
print(json.dumps([(opened - began) * 1e3, (ended - began) * 1e3, count, int(memory[1]) / 1024]))
"""


def ask(folder: Path, question: str) -> tuple[float, float, int, float]:
    """Returns milliseconds to the open index, to the answer, how many answers, and MiB of memory; in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), question],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    return tuple(json.loads(done.stdout))


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the records in this folder, and reuse existing ones")
    return parser.parse_args(argv)


def main() -> None:
    """Prints the table."""
    chosen = read_options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "runs"
        if not folder.exists():
            began = time.perf_counter()
            size = generate(folder, chosen.runs)
            print(
                f"{chosen.runs:,} runs generated, {size / 2**20:.1f} MiB in batches, {time.perf_counter() - began:.0f} s"
            )
        measure(folder, chosen.runs, chosen.rounds)


def measure(folder: Path, runs: int, rounds: int) -> None:
    """Builds the index, then asks everything."""
    (folder / "index.sqlite").unlink(missing_ok=True)
    _, built, _, memory = ask(folder, "None")
    print(
        f"index built in {built / 1e3:.1f} s, {memory:.0f} MiB of memory, {(folder / 'index.sqlite').stat().st_size / 2**20:.0f} MiB on disk\n"
    )
    chosen = run_record(runs // 2 // 60 * 60 + 1)  # a train run in the middle that ended well
    known = record.name(record.dump(chosen))
    words = {
        "key": chosen.key,
        "oid": known,
        "name": f"train-{known[4:10]}",
        "model": chosen.outputs[0].oid,
        "digits": chosen.outputs[0].oid[7:15],
        "sha256": chosen.outputs[0].sha256,
        "seed": runs // 2,
        "commit": (chosen.code.commit or "")[:10],
        "day": START_NS // 10**6 + runs // 2 * 60_000,
        "project": PROJECT_ID,
    }
    print(f"| query | results | open, ms | query, ms (median of {rounds}) |\n|---|---|---|---|")
    for title, question in QUESTIONS.items():
        asked = [ask(folder, question.format(**words)) for _ in range(rounds)]
        opened, answered = (median(row[i] for row in asked) for i in (0, 1))
        print(f"| {title} | {asked[0][2]} | {opened:.0f} | {answered:.0f} |")


if __name__ == "__main__":
    main()
