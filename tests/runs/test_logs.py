"""Logs and diffs are read from the cache, else from the default remote."""

import os
import shutil

import pytest

from dvlite.errors import ObjectCorrupt, ObjectMissing
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_repo
from dvlite.runs import logs

TEXT = "epoch 1\nepoch 2\n"


@pytest.fixture
def kept(project):
    """Returns a repository that has the text as a tracked file, in its cache."""
    project.write("log.txt", TEXT)
    project.dvlite("add", "log.txt")
    return project


def load(project, text=TEXT):
    oid = format_oid(FILE, digest_bytes(text.encode()))
    return logs.load_text(open_repo(project.root, os.environ), oid, "the log of train-1", "you@gpu-3", NullProgress())


def lose_cache(project):
    shutil.rmtree(project.root / ".git" / "dvlite" / "cache")


def test_a_text_in_the_cache_needs_no_remote(kept):
    assert load(kept) == TEXT


def test_a_missing_text_without_a_remote_says_how_to_add_one(kept):
    with pytest.raises(ObjectMissing, match="the log of train-1 is not in the cache, and no remote") as error:
        load(kept, "another text")
    assert "dvlite remote add" in error.value.hint


def test_a_text_that_only_the_remote_has_is_fetched_once(kept, tmp_path):
    kept.dvlite("remote", "add", tmp_path / "store")
    kept.dvlite("push")
    lose_cache(kept)
    assert load(kept) == TEXT
    (tmp_path / "store").rename(tmp_path / "away")
    assert load(kept) == TEXT


def test_a_text_that_the_remote_does_not_have_names_who_has_it(kept, tmp_path):
    kept.dvlite("remote", "add", tmp_path / "store")
    kept.dvlite("push")
    with pytest.raises(ObjectMissing, match="is not in the cache and not on origin") as error:
        load(kept, "another text")
    assert error.value.hint == "dvlite push where it ran (you@gpu-3) uploads it"


def test_a_text_of_a_hostile_size_is_not_fetched(kept, tmp_path, monkeypatch):
    kept.dvlite("remote", "add", tmp_path / "store")
    kept.dvlite("push")
    lose_cache(kept)
    monkeypatch.setattr(logs, "MOST_BYTES", len(TEXT) - 1)
    with pytest.raises(ObjectCorrupt, match="more than dvlite keeps"):
        load(kept)
