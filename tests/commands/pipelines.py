"""Pipelines for the tests of repro: three small stages, and what became of them."""

import json
import os

from dvlite.formats import lockfile
from dvlite.formats.record import Run
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.runs.records import open_records

LINE = """\
stages:
  prepare:
    cmd: tr a-z A-Z < raw.txt > clean.txt; echo prepare >> "$RAN"
    deps: [raw.txt]
    outs: [clean.txt]
  train:
    cmd: bash train.sh; echo train >> "$RAN"
    deps: [train.sh, clean.txt]
    params: [lr]
    outs: [model.pt]
    metrics: [metrics.json]
  report:
    cmd: wc -c < model.pt > report.txt; echo report >> "$RAN"
    deps: [model.pt]
    outs: [report.txt]
"""
TRAIN = """\
lr=$(sed -n 's/lr: //p' params.yaml)
{ cat clean.txt; echo "$lr"; } > model.pt
echo "{\\"acc\\": 0.$lr}" > metrics.json
"""


class Pipeline:
    """A project with a pipeline; its commands write a line each time that they run to a file outside of the repository."""

    def __init__(self, project, ran):
        self.project, self._ran = project, ran
        for name in ("root", "dvlite", "json", "git", "commit", "write", "read", "has"):
            setattr(self, name, getattr(project, name))

    def line(self):
        """Writes the pipeline of three stages, uncommitted."""
        self.write("dvlite.yaml", LINE)
        self.write("train.sh", TRAIN)
        self.write("params.yaml", "lr: 1\n")
        self.write("raw.txt", "some data\n")
        return self

    def edit(self, path, old, new):
        text = self.read(path).decode()
        assert old in text
        self.write(path, text.replace(old, new))

    def repro(self, *args, code=0, cwd="."):
        """Returns what became of the stages, by address."""
        found = self.json("repro", *args, code=code, cwd=cwd)
        return {each["stage"]: each for each in found["stages"]}

    def states(self, *args, code=0, cwd="."):
        return {name: each["state"] for name, each in self.repro(*args, code=code, cwd=cwd).items()}

    def reasons(self, *args, code=1):
        """Returns (kind, name) of why each stage would run."""
        found = self.repro("-n", *args, code=code)
        return {
            name: [(why["kind"], why["name"]) for why in each["reasons"]]
            for name, each in found.items()
            if each["reasons"]
        }

    def is_up_to_date(self):
        done = self.project._invoke("--json", "repro", "-n", cwd=self.root)
        assert done.returncode in (0, 1), done.stderr
        states = {each["state"] for each in json.loads(done.stdout)["stages"]}
        assert (done.returncode == 0) == (states <= {"up to date", "frozen"})
        return done.returncode == 0

    def ran(self):
        """Returns which commands ran since the last call."""
        names = self._ran.read_text().split() if self._ran.exists() else []
        self._ran.unlink(missing_ok=True)
        return names

    def lock(self, folder="."):
        return (self.root / folder / "dvlite.lock").read_bytes()

    def locked(self, name, folder="."):
        return lockfile.parse(self.lock(folder), "dvlite.lock").stage(name)

    def refused(self, *args, code=1):
        """Returns the one line that says why repro ran nothing."""
        done = self.dvlite("repro", *args, code=code)
        assert self.ran() == []
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("hint: ", "warning: "))]
        assert [line[:7] for line in lines] == ["error: "], done.stderr
        return done.stderr

    def records(self, stage=None):
        """Returns the run records, oldest first."""
        records = open_records(open_repo(self.root, os.environ), NullProgress())
        found = [records.parsed(data) for _, data in records]
        runs = [each for each in found if isinstance(each, Run) and stage in (None, each.stage)]
        return sorted(runs, key=lambda run: run.id)
