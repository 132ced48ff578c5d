"""What DVC tracks in a version, and what its config says, layer by layer."""

import os

import pytest

from dvlite.errors import FormatError
from dvlite.repo.dvc_version import DvcVersion, config_of, of_commit, on_disk
from dvlite.repo.repository import open_repo
from tests.clones import git

KEYS = "['remote \"far\"']\nurl = {}\nsecret_access_key = {}\n"


def test_keys_to_a_bucket_count_where_only_the_user_can_have_written_them(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(KEYS.format("../far", "committed"))
    near = DvcVersion({}, root=str(tmp_path))
    assert config_of(near, {}).remotes["far"] == {"url": str(tmp_path / "far")}
    (tmp_path / ".dvc/config.local").write_text(KEYS.format("s3://bucket/x", "own"))
    assert config_of(near, {}).remotes["far"] == {"url": "s3://bucket/x", "secret_access_key": "own"}
    far = DvcVersion({}, committed=KEYS.format("../far", "committed").encode(), remote="far")
    assert (config_of(far, {}).remotes["far"], config_of(far, {}).remote) == ({"url": "../far"}, "far")


def out(path):
    return f"outs:\n- {{path: {path}, md5: {'0' * 32}}}\n"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"x.dvc": out("../../up")}, "outside the repository"),
        ({"x.dvc": out(".git/x")}, "cannot be tracked"),
        ({"x.dvc": out("data"), "y.dvc": out("data/x")}, "lies inside"),
        ({"x.dvc": "outs: 1\n"}, "must be a list"),
        ({"x.dvc": "#" * (1 << 20) + "#"}, "1,048,576"),
    ],
)
def test_a_hostile_file_is_refused_on_disk_and_in_a_commit(git_repo, files, complaint):
    (git_repo / ".dvc").mkdir()
    for name, text in {".dvc/config": "", **files}.items():
        (git_repo / name).write_text(text)
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-qm", "Theirs")
    repo = open_repo(git_repo, os.environ, must_be_initialised=False)
    for read in (lambda: on_disk(repo), lambda: of_commit(repo.git, "HEAD")):
        with pytest.raises(FormatError, match=complaint):
            read()
