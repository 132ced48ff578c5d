"""A pipeline whose runs leave all that the page of runs shows: parameters, series, pictures, tables, logs, edits, tags, notes and a check."""

import shutil

TRAIN = """\
import json, random, struct, sys, zlib
want = json.load(open("params.json"))
lr, depth = want["lr"], want["depth"]
random.seed(depth)
rows = open("data.csv").read().split()
loss = 2.0
with open("series.jsonl", "w") as log:
    for step in range(want["steps"]):
        loss = loss * (1 - lr / 10) + random.gauss(0, 0.02)
        line = {"step": step, "time": 1795356120 + step * 0.5, "loss": abs(loss), "val": {"acc": 1 - abs(loss) / 2.2}}
        log.write(json.dumps(line) + "\\n")
        if step % 10 == 0:
            print(f"step {step}: loss {abs(loss):.4f}")
json.dump({"acc": round(1 - abs(loss) / 2.2, 4), "loss": round(abs(loss), 4)}, open("metrics.json", "w"))
size = 96
def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
lines = b""
for y in range(size):
    lines += b"\\0" + bytes(v for x in range(size) for v in (int(255 * lr) * 2 % 256, x * 2, (y * depth) % 256))
open("plot.png", "wb").write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
open("confusion.csv", "w").write("true,cat,dog\\ncat,%d,%d\\ndog,%d,%d\\n" % (40 + depth, 10 - depth, depth, 50 - depth))
open("model.bin", "w").write(f"{lr} {depth} {len(rows)}")
"""
PIPELINE = """\
stages:
  prepare:
    cmd: sort raw.csv > data.csv
    deps: [raw.csv]
    outs: [data.csv]
  train:
    cmd: python3 train.py
    deps: [train.py, data.csv]
    params: [{params.json: [lr, depth, steps]}]
    outs: [model.bin, plot.png, confusion.csv]
    metrics: [{path: metrics.json, better: {acc: higher, loss: lower}}, series.jsonl]
checks:
  many: {path: data.csv, cmd: 'echo only 3 rows; exit 1'}
"""


def with_runs(project, values=((0.1, 2), (0.3, 2), (0.3, 5)), steps=60):
    """Runs the pipeline once for each pair of a rate and a depth, the last with edits; tags and annotates the best."""
    python = shutil.which("python3")
    project.write("train.py", TRAIN)
    project.write("raw.csv", "3\n1\n2\n")
    project.write("dvlite.yaml", PIPELINE.replace("python3", python))
    project.write("params.json", f'{{"lr": 0.05, "depth": 3, "steps": {steps}}}')
    project.commit("A pipeline")
    for lr, depth in values[:-1]:
        project.dvlite("repro", "-q", "-S", f"lr={lr}", "-S", f"depth={depth}")
    project.commit("Two models")
    project.write("train.py", TRAIN + "# one more <b>line</b>\n")
    lr, depth = values[-1]
    project.dvlite("repro", "-q", "-S", f"lr={lr}", "-S", f"depth={depth}")
    project.dvlite("check", code=1)
    project.dvlite("runs", "tag", "last:train", "best")
    project.dvlite("runs", "note", "last:train", "the <i>deep</i> one")
    return project
