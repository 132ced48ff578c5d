"""Provenance over records that never ran, with or without a repository."""

import contextlib
import os

import pytest

from dvlite.lineage.context import LineageContext
from dvlite.lineage.provenance import Provenance
from dvlite.progress import NullProgress
from dvlite.repo.open_stores import plain_cache
from dvlite.repo.repository import open_cache, open_repo
from dvlite.runs.index import open_index
from dvlite.runs.records import Records
from tests.commands.conftest import start_project


@pytest.fixture
def project(tmp_path, invoke):
    """Returns a repository in which dvlite is initialised and committed."""
    return start_project(tmp_path / "repo", invoke)


@pytest.fixture
def provenance_of(tmp_path, monkeypatch):
    """Returns a maker of the provenance that records and, if given, a repository give; the current folder is empty or the repository's."""
    opened = contextlib.ExitStack()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    def provenance_of(*runs, root=None):
        records = Records(tmp_path / "runs")
        for one in runs:
            records.put(one, durable=False)
        if root is not None:
            monkeypatch.chdir(root)
        repo = None if root is None else open_repo(root, os.environ, must_be_initialised=False)
        cache = plain_cache(tmp_path / "cache") if repo is None else open_cache(repo)
        index = opened.enter_context(open_index(records))
        return Provenance(LineageContext(repo, index, cache, None, "this clone", NullProgress()))

    with opened:
        yield provenance_of
