"""The files of the configuration: which are read, and how they are written."""

import os
import stat

import pytest

from dvlite.errors import DvliteError, FormatError
from tests.repo.repositories import git, opened, write_config, write_user_config


@pytest.mark.parametrize("name", ["config.yaml", "config.local.yaml"])
def test_a_linked_config_is_refused(work, name):
    (work / ".dvlite" / name).unlink(missing_ok=True)
    (work / ".dvlite" / name).symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match="symbolic link"):
        opened(work)


def test_a_linked_settings_folder_is_refused(work, tmp_path):
    (work / ".dvlite").rename(tmp_path / "elsewhere")
    (work / ".dvlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match=r"refused '\.dvlite'"):
        opened(work)


def test_a_local_config_that_came_with_the_clone_is_refused(work):
    write_config(
        work, "remotes: {origin: {url: s3://theirs, endpoint_url: 'https://evil.example'}}\n", "config.local.yaml"
    )
    git(work, "add", "--force", ".dvlite/config.local.yaml")
    with pytest.raises(FormatError, match="git tracks it"):
        opened(work)


def test_a_changed_config_is_in_force_and_only_mine_to_read(work):
    repo = opened(work)
    path = repo.change_config("local", {"remotes.o.url": "s3://bucket", "remotes.o.secret_access_key": "x"})
    assert repo.config.remote("o").options["secret_access_key"].value == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FormatError, match="not allowed in a committed file"):
        repo.change_config("committed", {"remotes.o.secret_access_key": "x"})
    assert "secret" not in (work / ".dvlite" / "config.yaml").read_text()


def test_a_user_config_that_is_a_link_stays_one(work, tmp_path):
    path = write_user_config("")
    path.rename(tmp_path / "dotfile")
    path.symlink_to(tmp_path / "dotfile")
    opened(work).change_config("user", {"transfer.jobs": 3})
    assert path.is_symlink()
    assert (tmp_path / "dotfile").read_text() == "transfer:\n  jobs: 3\n"


def test_a_failed_write_of_the_config_leaves_it(work):
    before = (work / ".dvlite" / "config.yaml").read_bytes()
    with pytest.raises(DvliteError):
        opened(work).change_config("committed", {"remotes.x.verify": "false"})
    assert (work / ".dvlite" / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("place", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_user_config_that_is_no_file_is_refused_and_not_waited_for(work, place):
    path = write_user_config("core: {autostage: false}\n")
    kept = path.rename(path.with_name("dotfile"))
    place(path)
    with pytest.raises(FormatError, match=r"config\.yaml.*not an ordinary file"):
        opened(work)
    path.unlink()
    path.symlink_to(kept)
    assert opened(work).config.autostage is False
