"""What lineage commands read: a clone's records, or a remote's."""

import os

import pytest

from dvlite.errors import NotARepository, UsageError
from dvlite.lineage.context import open_context
from dvlite.oid import parse_oid
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from tests.runs.recorded import oid


def opened(remote=None, root=None):
    repo = None if root is None else open_repo(root, os.environ)
    return open_context(repo, remote, os.environ, NullProgress())


def test_without_a_clone_and_a_remote_there_is_nothing_to_read():
    with pytest.raises(NotARepository, match="no remote is given"), opened():
        pass


def test_a_name_of_a_remote_needs_a_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no folder 'origin'"), opened("origin"):
        pass


def test_a_folder_that_is_no_remote_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no dvlite remote at"), opened(str(tmp_path / "nothing")):
        pass


def test_a_clone_reads_its_own_records_and_fetches_nothing_without_a_remote(project):
    with opened(root=project.root) as context:
        assert (context.remote, context.label, context.searched()) == (None, "this clone", "0 runs searched")
        context.fetch_listings([parse_oid(oid("a", "manifest"))[1]])
        assert context.unreachable


def test_a_configured_remote_is_opened_by_name_or_url(project, tmp_path):
    project.dvlite("remote", "add", tmp_path / "store")
    project.write("data.bin", "1")
    project.dvlite("add", "data.bin")
    project.dvlite("push")
    for remote in ("origin", str(tmp_path / "store")):
        with opened(remote, project.root) as context:
            assert context.catalog is not None
            assert context.remote is not None
