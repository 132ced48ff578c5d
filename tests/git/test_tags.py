"""Annotated tags: listed, read within a limit, made."""

import pytest

from dvlite.errors import DvliteError
from dvlite.git import tags
from tests.git.repositories import commit, git, opened


@pytest.fixture
def folder(tmp_path):
    git(tmp_path, "init", "-q")
    commit(tmp_path, {"file": "x"})
    return tmp_path


def test_tags_are_made_listed_and_read_within_a_limit(folder):
    repo, head = opened(folder), git(folder, "rev-parse", "HEAD")
    made = tags.make_tag(repo, "a@v1", head, "said\n")
    git(folder, "tag", "a@v2")
    tags.create_refs(repo, {"refs/tags/a@v1": made})
    assert tags.list_refs(repo, "refs/tags/*@v*") == [
        tags.TagRef("refs/tags/a@v1", made, head, True),
        tags.TagRef("refs/tags/a@v2", head, head, False),
    ]
    read = tags.read_tags(repo, [made, head], 10_000)
    assert list(read) == [made], "a commit is no tag"
    assert read[made].endswith(b"\n\nsaid\n")
    assert tags.tagger(read[made])[0]
    assert tags.read_tags(repo, [made], 10) == {}


def test_a_ref_that_is_there_is_not_made_again(folder):
    repo, head = opened(folder), git(folder, "rev-parse", "HEAD")
    tags.create_refs(repo, {"refs/tags/a": head})
    with pytest.raises(DvliteError):
        tags.create_refs(repo, {"refs/tags/b": head, "refs/tags/a": head})
    assert [ref.ref for ref in tags.list_refs(repo, "refs/tags")] == ["refs/tags/a"], "all or none"
    tags.drop_refs(repo, ["refs/tags/a", "refs/tags/nothing"])
    assert tags.list_refs(repo, "refs/tags") == []


@pytest.mark.parametrize(
    "line", [b"", b"tagger x", b"tagger x <a@b> " + b"9" * 30 + b" +0000", b"\ntagger x <a> 9 +0000"]
)
def test_a_tagger_that_is_none_is_left_out(line):
    assert tags.tagger(b"object 0\n" + line + b"\n\nsaid\n") == ("", 0)
