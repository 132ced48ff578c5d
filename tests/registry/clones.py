"""Clones of one bare git server that register models, by git alone: no data, no runs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from dvlite.formats.model_tag import ModelEntry, TagName
from dvlite.formats.pointer import Pointer
from dvlite.git.program import Git
from dvlite.oid import digest_bytes
from dvlite.registry import models
from dvlite.registry.claim import Draft, ask, claim
from dvlite.registry.models import Registry
from tests.git import repositories


@dataclass(frozen=True)
class RegistryClone:
    """A clone; `remote` is the git remote that gives out numbers."""

    folder: Path
    remote: str | None = "origin"

    @property
    def opened(self) -> Git:
        return repositories.opened(self.folder)

    def git(self, *arguments: str) -> str:
        return repositories.git(self.folder, *arguments)

    def registry(self) -> Registry:
        return models.load(self.opened)

    def add(self, content: str, model: str = "birds", commit: str = "HEAD") -> str:
        """Registers content as the next version of a model; returns its tag."""
        pointer = Pointer("file", digest_bytes(content.encode()), len(content), 1, False)
        entry = ModelEntry(name=TagName(model, "", 0), order=0, after={}, path="model.pt", pointer=pointer)
        return self._claimed(entry, commit)

    def promote(self, version: int, stage: str = "prod", model: str = "birds", known: Registry | None = None) -> str:
        """Puts a version into a stage, as `known` has it; returns the tag."""
        digest = self.registry().models[model].versions[version].digest
        name = TagName(model, stage, 0)
        return self._claimed(
            ModelEntry(name=name, order=0, after={}, version=version, version_digest=digest),
            f"{model}@v{version}",
            known,
        )

    def _claimed(self, entry: ModelEntry, commit: str, known: Registry | None = None) -> str:
        draft = Draft(entry, self.git("rev-parse", f"{commit}^{{commit}}"), "")
        done, _ = claim(self.opened, self.remote, lambda _: draft, known)
        return str(done.name)

    def problems(self, *, fetch: bool = False) -> set[tuple[str, str]]:
        """Returns kind and tag of what is wrong, as `dvlite model list` does."""
        registry = ask(self.opened, "origin") if fetch else self.registry()
        models.note_seen(self.opened, registry)
        return {(each.kind, each.tag) for each in registry.problems}

    def cloned(self, folder: Path, *flags: str) -> RegistryClone:
        """Clones its server."""
        server = self.git("remote", "get-url", "origin")
        subprocess.run(["git", "clone", "-q", *flags, server, folder], check=True)
        return RegistryClone(folder)

    def run(self, commands: str) -> None:
        """Runs what a hint shows."""
        subprocess.run(["sh", "-c", commands], cwd=self.folder, check=True, capture_output=True)
