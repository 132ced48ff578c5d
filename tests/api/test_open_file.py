"""`dvlite.open` and `Repo.open`: files of any version, as Python opens files."""

import pytest

import dvlite
from tests.clones import git
from tests.published import LARGE


def test_files_of_versions_are_read(published, tmp_path, monkeypatch):
    published.lose_data()
    with dvlite.open("data/big.bin") as file:
        assert (file.seek(-100, 2), file.read()) == (len(LARGE) - 100, LARGE[-100:])
    with dvlite.open("data/sub/00.txt", "r", rev="v1") as file:
        assert (list(file), file.encoding) == (["file 0\n"], "utf-8")
    with dvlite.open("params.yaml", "rt", rev="v1", encoding="latin-1") as file:
        assert (file.read(), file.encoding) == ("a: 1\n", "latin-1")
    repo = dvlite.Repo(rev="v1")
    with pytest.raises(FileNotFoundError):
        repo.open("data/later")
    with repo.open("data/later", "r", rev="HEAD") as file:
        assert file.read() == "later"
    assert repo.fs().cat("data/deep/er/x") == b"deep"
    oid = repo.ls("data/deep/er/x").entries[0].oid
    (published.path / "src").mkdir()
    monkeypatch.chdir(published.path / "src")  # as `open` does, from the current folder on
    for path in ("../data/deep/er/x", oid, published.path / "data/deep/er/x"):
        with dvlite.open(path, rev="v1") as file:
            assert file.read() == b"deep"
    with dvlite.Repo(published.path / "src").open("../data/later") as file:
        assert file.read() == b"later"
    with dvlite.open(oid, remote=str(published.store)) as file:
        assert file.read() == b"deep"
    monkeypatch.chdir(tmp_path)
    git(published.path, "clone", "-q", "--bare", ".", str(published.bare))
    with dvlite.open("params.yaml", "r", repo=f"file://{published.bare}", rev="v1") as file:
        assert file.read() == "a: 1\n"


def test_what_cannot_be_opened_says_why(published):
    with pytest.raises(dvlite.UsageError, match="only read"):
        dvlite.open("data/later", "w")
    with pytest.raises(dvlite.UsageError) as wrong:
        dvlite.open("data/later", rev="v9")
    assert wrong.value.exit_code == 2
    assert wrong.value.__notes__
    published.lose_data()
    published.store.rename(published.store.parent / "away")
    with pytest.raises(dvlite.DvliteError) as lost:
        dvlite.open("data/later").read()
    assert lost.value.hint
