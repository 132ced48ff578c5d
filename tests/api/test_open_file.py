"""`dvlite.open` and `Repo.open`: files of any version, as Python opens files."""

import shutil

import pytest

import dvlite
from tests.commands.conftest import prepared, start_project  # noqa: F401  (fixtures)


@pytest.fixture
def versions(prepared, monkeypatch):  # noqa: F811
    def build(project):
        project.write("data/sub/a.csv", "id,name\n1,é\n")
        project.dvlite("add", "data")
        project.write("code.py", "print()\n")
        project.commit("one")
        project.git("tag", "v1")
        project.write("data/sub/a.csv", "id,name\n2,x\n")
        project.dvlite("add", "data")
        project.commit("two")
        project.dvlite("push", "--all-commits")

    project = prepared("two-texts", build)
    monkeypatch.chdir(project.root)
    return project


def test_files_of_versions_are_read(versions, tmp_path, monkeypatch):
    with dvlite.open("data/sub/a.csv") as file:
        assert file.read() == b"id,name\n2,x\n"
    with dvlite.open("data/sub/a.csv", "r", rev="v1") as file:
        assert [line.rstrip("\n") for line in file] == ["id,name", "1,é"]
    with dvlite.open("data/sub/a.csv", "r", rev="v1", encoding="latin-1") as file:
        assert file.read().endswith("1,Ã©\n")
    with dvlite.open("code.py", "rt", rev="v1") as file:
        assert file.read() == "print()\n"
    repo = dvlite.Repo(rev="v1")
    with repo.open("data/sub/a.csv") as file:
        file.seek(-4, 2)
        assert file.read() == "1,é\n".encode()[-4:]
    with repo.open("data/sub/a.csv", "r", rev="HEAD") as file:
        assert file.read().endswith("2,x\n")
    oid = repo.ls("data/sub/a.csv").entries[0].oid
    with dvlite.open(oid, "r") as file:
        assert file.read().endswith("é\n")
    assert repo.fs().cat("data/sub/a.csv").endswith("é\n".encode())
    monkeypatch.chdir("data")  # as `open` does, from the current folder on
    with dvlite.open("sub/a.csv", "r", rev="v1") as file:
        assert file.read().endswith("é\n")
    with dvlite.Repo(versions.root / "data").open("sub/a.csv") as file:
        assert file.read().endswith(b"2,x\n")
    place = str(tmp_path / "store")
    with dvlite.open(oid, remote=place) as file:
        assert file.read().endswith("é\n".encode())
    monkeypatch.chdir(tmp_path)
    versions.git("clone", "-q", "--bare", str(versions.root), str(tmp_path / "far.git"))
    with dvlite.open("code.py", "r", repo=f"file://{tmp_path}/far.git", rev="v1") as file:
        assert file.read() == "print()\n"


def test_what_cannot_be_opened_says_why(versions):
    with pytest.raises(FileNotFoundError):
        dvlite.open("data/nothing", rev="v1")
    with pytest.raises(dvlite.UsageError, match="only read"):
        dvlite.open("data/sub/a.csv", "w")
    with pytest.raises(dvlite.UsageError) as wrong:
        dvlite.open("data/sub/a.csv", rev="v9")
    assert wrong.value.exit_code == 2
    (versions.root.parent / "store").rename(versions.root.parent / "away")
    shutil.rmtree(versions.root / ".git" / "dvlite" / "cache")
    with pytest.raises(dvlite.DvliteError) as lost:
        dvlite.open("data/sub/a.csv", rev="v1").read()
    assert lost.value.hint
