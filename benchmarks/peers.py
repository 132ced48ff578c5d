"""dvlite and its peers, each driven as its users drive it: what is run for every step, and what has to stand before.

A tool has a method for each step that it can do; a step it has no method for stays empty in the table. What a method runs by
`site.run` is not measured; the one command that it returns by `site.measure` is. Knows nothing of rounds, goals and tables.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import process, table
from benchmarks.process import Sample


@dataclass(slots=True)
class Site:
    """One tool's folder in one round, and its place in the bucket."""

    folder: Path
    source: Path  # the data; copied into the tool's work tree under its own name
    bucket: str
    prefix: str
    endpoint_url: str
    env: Mapping[str, str]
    programs: Mapping[str, Path]
    each: bool = False  # every file is tracked for itself, not their folder
    watched: bool = False
    most_seconds: float = 1e9

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def target(self) -> str:
        return self.source.name

    @property
    def targets(self) -> list[str]:
        """The paths to track."""
        if not self.each:
            return [self.target]
        return sorted(str(path.relative_to(self.repo)) for path in (self.repo / self.target).rglob("*.bin"))

    def run(self, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Runs what is not measured."""
        process.do(argv, cwd=cwd or self.repo, env={**self.env, **(env or {})})

    def measure(self, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Sample:
        """Runs what is measured."""
        return process.run(
            argv,
            cwd=cwd or self.repo,
            env={**self.env, **(env or {})},
            watched=self.watched,
            most_seconds=self.most_seconds,
        )

    def measure_there(self, *argv: str | Path) -> Sample:
        """Runs what is measured, in the clone."""
        return self.measure(*argv, cwd=self.clone)

    def put(self, source: Path) -> None:
        """Copies a version of the data into the work tree."""
        subprocess.run(["cp", "-rT", "--", source, self.repo / self.target], check=True)

    def set_aside(self) -> None:
        """Takes the data out of the work tree; removing many files would slow whoever creates some next."""
        if self.each:  # the pointers stay
            for name in self.targets:
                os.remove(self.repo / name)
        else:
            os.rename(self.repo / self.target, self.folder / "aside")

    def start_git(self) -> None:
        self.repo.mkdir(parents=True)
        self.run("git", "init", "--quiet")

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "-m", "Change")

    def clone_git(self) -> None:
        """Clones the repository, in place of an earlier clone."""
        shutil.rmtree(self.clone, ignore_errors=True)
        self.run("git", "clone", "--quiet", self.repo, self.clone)


class Tool(Protocol):
    """What every tool can do: be got ready with the data in place, and measure some of `add`, `status`, `push`, ... (see groups.py)."""

    @property
    def name(self) -> str: ...

    def start(self, site: Site) -> None: ...


@dataclass(frozen=True, slots=True)
class Dvlite:
    name: str = table.DVLITE
    pipeline_file = "dvlite.yaml"
    all_at_once = ("-j", "8")

    def start(self, site: Site) -> None:
        site.start_git()
        dvlite = site.programs[self.name]
        site.run(dvlite, "init")
        url = f"s3://{site.bucket}/{site.prefix}"
        site.run(dvlite, "remote", "add", url, "-o", f"endpoint_url={site.endpoint_url}", "-o", "region=us-east-1")
        site.commit()
        site.put(site.source)

    def add(self, site: Site) -> Sample:
        taken = site.measure(site.programs[self.name], "add", *site.targets)
        site.commit()
        return taken

    def status(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "status")

    def push(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "push")

    def push_again(self, site: Site) -> Sample:
        return self.push(site)

    def checkout(self, site: Site) -> Sample:
        site.set_aside()
        return site.measure(site.programs[self.name], "checkout", site.target)

    def pull(self, site: Site) -> Sample:
        site.clone_git()
        return site.measure(site.programs[self.name], "pull", cwd=site.clone)

    def replace(self, site: Site, source: Path) -> None:
        site.put(source)
        self.add(site)

    def pull_again(self, site: Site) -> Sample:
        site.run("git", "pull", "--quiet", cwd=site.clone)
        return site.measure(site.programs[self.name], "pull", cwd=site.clone)

    def join(self, site: Site, first: Site) -> None:
        """Is a colleague, with a clone and a branch."""
        process.do(["git", "clone", "--quiet", first.repo, site.repo], cwd=site.folder, env=site.env)
        site.run("git", "checkout", "--quiet", "-b", site.folder.name)
        site.run(site.programs[self.name], "pull")

    def repro(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "repro")

    def help(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "--help")


@dataclass(frozen=True, slots=True)
class Dvc:
    name: str = table.DVC
    pipeline_file = "dvc.yaml"
    all_at_once = ()  # it runs one stage after the other

    def start(self, site: Site) -> None:
        site.start_git()
        dvc = site.programs[self.name]
        site.run(dvc, "init", "--quiet")
        site.run(dvc, "config", "core.analytics", "false")
        site.run(dvc, "remote", "add", "--default", "origin", f"s3://{site.bucket}/{site.prefix}")
        site.run(dvc, "remote", "modify", "origin", "endpointurl", site.endpoint_url)
        site.commit()
        site.put(site.source)

    def add(self, site: Site) -> Sample:
        taken = site.measure(site.programs[self.name], "add", *site.targets)
        site.commit()
        return taken

    def status(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "status")

    def push(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "push")

    def push_again(self, site: Site) -> Sample:
        return self.push(site)

    def checkout(self, site: Site) -> Sample:
        site.set_aside()
        return site.measure(site.programs[self.name], "checkout")

    def pull(self, site: Site) -> Sample:
        site.clone_git()
        return site.measure(site.programs[self.name], "pull", cwd=site.clone)

    def replace(self, site: Site, source: Path) -> None:
        site.put(source)
        self.add(site)

    def pull_again(self, site: Site) -> Sample:
        site.run("git", "pull", "--quiet", cwd=site.clone)
        return site.measure(site.programs[self.name], "pull", cwd=site.clone)

    def join(self, site: Site, first: Site) -> None:
        """Is a colleague, with a clone and a branch."""
        process.do(["git", "clone", "--quiet", first.repo, site.repo], cwd=site.folder, env=site.env)
        site.run("git", "checkout", "--quiet", "-b", site.folder.name)
        site.run(site.programs[self.name], "pull")

    def repro(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "repro")

    def help(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "--help")


@dataclass(frozen=True, slots=True)
class S5cmd:
    """Copies objects one to one: the yardstick of the transfer itself, without versions."""

    name: str = table.S5CMD

    def start(self, site: Site) -> None:
        site.repo.mkdir(parents=True)
        site.put(site.source)

    def push(self, site: Site) -> Sample:
        source = f"{site.target}/" if site.source.is_dir() else site.target
        return self._copy(site, source, f"s3://{site.bucket}/{site.prefix}/")

    def pull(self, site: Site) -> Sample:
        site.clone.mkdir()
        return self._copy(site, f"s3://{site.bucket}/{site.prefix}/*", f"{site.clone}/")

    def _copy(self, site: Site, source: str, target: str) -> Sample:
        s5cmd = site.programs[self.name]
        return site.measure(s5cmd, "--log", "error", "--endpoint-url", site.endpoint_url, "cp", source, target)

    def replace(self, site: Site, source: Path) -> None:
        site.put(source)


@dataclass(frozen=True, slots=True)
class Restic:
    """A backup program: the yardstick for packs, chunks and compression. Its push reads and hashes the files too."""

    name: str = table.RESTIC

    def start(self, site: Site) -> None:
        self.join(site, site)
        site.run(site.programs[self.name], "init", env=self._env(site, "cache"))

    def join(self, site: Site, first: Site) -> None:
        """Is another person with the same data and the same repository."""
        site.repo.mkdir(parents=True)
        site.put(site.source)

    def push(self, site: Site) -> Sample:
        return site.measure(site.programs[self.name], "backup", site.target, env=self._env(site, "cache"))

    def push_again(self, site: Site) -> Sample:
        return self.push(site)

    def pull(self, site: Site) -> Sample:
        for name in ("cold-cache", site.clone.name):
            shutil.rmtree(site.folder / name, ignore_errors=True)
        restore = ("restore", "latest", "--target", str(site.clone))
        return site.measure(site.programs[self.name], *restore, env=self._env(site, "cold-cache"))

    def replace(self, site: Site, source: Path) -> None:
        site.put(source)

    @staticmethod
    def _env(site: Site, cache: str) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": f"s3:{site.endpoint_url}/{site.bucket}/{site.prefix}",
            "RESTIC_PASSWORD": "not a secret",
            "RESTIC_CACHE_DIR": str(site.folder / cache),
        }


@dataclass(frozen=True, slots=True)
class GitLfs:
    """Without a server of its own it has no push."""

    name: str = table.GIT_LFS

    def start(self, site: Site) -> None:
        site.start_git()
        site.run("git", "lfs", "install", "--local")
        site.run("git", "lfs", "track", f"{site.target}/**" if site.source.is_dir() else site.target)
        site.commit()
        site.put(site.source)

    def add(self, site: Site) -> Sample:
        taken = site.measure("git", "add", site.target)
        site.commit()
        return taken

    def status(self, site: Site) -> Sample:
        return site.measure("git", "status")

    def checkout(self, site: Site) -> Sample:
        site.set_aside()
        return site.measure("git", "checkout", "--", site.target)


@dataclass(frozen=True, slots=True)
class Copy:
    """The file system itself."""

    name: str = table.CP

    def start(self, site: Site) -> None:
        site.repo.mkdir(parents=True)

    def add(self, site: Site) -> Sample:
        return site.measure("cp", "-r", site.source, "added")

    def checkout(self, site: Site) -> Sample:
        return site.measure("cp", "-r", site.source, "checked-out")


@dataclass(frozen=True, slots=True)
class CopyAndSync:
    """The file system and the disk: what a copy costs that survives a power cut."""

    name: str = table.CP_SYNC

    def start(self, site: Site) -> None:
        site.repo.mkdir(parents=True)

    def add(self, site: Site) -> Sample:
        return site.measure("sh", "-c", 'cp -r "$1" added && sync -f added', "sh", site.source)


TOOLS: tuple[Tool, ...] = (Dvlite(), Dvc(), S5cmd(), Restic(), GitLfs(), Copy(), CopyAndSync())


def find_programs(dvlite: Path, peers: Path | None) -> dict[str, Path]:
    """Returns the program of every tool that is here: in `peers`, else on PATH."""
    path = os.environ.get("PATH", os.defpath)
    if peers is not None:
        path = os.pathsep.join([str(peers / "bin"), str(peers), path])
    names = {table.DVC: "dvc", table.S5CMD: "s5cmd", table.RESTIC: "restic", table.GIT_LFS: "git-lfs"}
    found = {tool: shutil.which(name, path=path) for tool, name in names.items()}
    return {table.DVLITE: dvlite, **{tool: Path(program) for tool, program in found.items() if program}} | {
        table.CP: Path("cp"),
        table.CP_SYNC: Path("cp"),
    }


def version(tool: str, program: Path, env: Mapping[str, str]) -> str:
    """Returns the version that a program prints."""
    flag = "version" if tool in (table.S5CMD, table.RESTIC) else "--version"
    said = subprocess.run([program, flag], env=dict(env), capture_output=True, text=True, check=False).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return number[0] if number else ""
