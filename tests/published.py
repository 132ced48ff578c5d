"""A repository whose data is on a remote, and the ways to read it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvlite.reading.filesystem import DvliteFileSystem
from tests.clones import Clone, git, start
from tests.copies import copy_of
from tests.trees import noise, put

LARGE = noise(400_000, 50)
FILES = {f"data/sub/{i:02d}.txt": b"file %d\n" % i for i in range(20)}
FILES |= {"data/big.bin": LARGE, "data/deep/er/x": b"deep", "model.pt": noise(90_000, 60), "params.yaml": b"a: 1\n"}


@dataclass
class Published:
    """A repository with two commits (v1, and a later file), its remote, and a bare clone."""

    clone: Clone
    store: Path
    bare: Path

    @property
    def path(self) -> Path:
        return self.clone.path

    def lose_data(self) -> None:
        """Leaves the remote as the only place that has bytes."""
        shutil.rmtree(self.path / "data")
        (self.path / "model.pt").unlink()
        self.clone.forget_cache()


@pytest.fixture
def published(tmp_path, invoke, monkeypatch):
    def build(base):
        here = start(base / "here", invoke, "../store")
        for name, content in FILES.items():
            put(here.path / name, content)
        (here.path / "data" / "link").symlink_to("big.bin")
        (here.path / "data" / "folder").symlink_to("sub")
        (here.path / "data" / "nowhere").symlink_to("gone")
        (here.path / "data" / "empty").mkdir()
        here.dv("add", "data", "model.pt")
        here.commit("One")
        here.dv("push", env={"DVLITE_TRUST": str(base / "store")})
        git(here.path, "tag", "v1")
        put(here.path / "data" / "later", b"later")
        here.dv("add", "data")
        here.commit("Two")
        here.dv("push", env={"DVLITE_TRUST": str(base / "store")})

    copy_of("published", build, tmp_path)
    monkeypatch.setenv("DVLITE_TRUST", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path / "here")
    yield Published(Clone(tmp_path / "here", invoke), tmp_path / "store", tmp_path / "bare.git")
    DvliteFileSystem.clear_instance_cache()


@pytest.fixture
def url(published):
    """The URL of a bare clone whose remote can be reached from anywhere."""
    config = published.path / ".dvlite" / "config.yaml"
    config.write_text(config.read_text().replace("../store", str(published.store)))
    published.clone.commit("A place that all can reach")
    git(published.path, "clone", "-q", "--bare", ".", str(published.bare))
    return published.bare.as_uri()


@pytest.fixture(params=["work tree", "cache", "remote", "commit", "url", "remote alone"])
def options(request, published):
    """The options that read the newest version, wherever its bytes come from."""
    here = str(published.path)
    if request.param == "work tree":
        shutil.rmtree(published.clone.cache)
        return {"repo": here}
    if request.param == "cache":
        shutil.rmtree(published.path / "data")
        return {"repo": here}
    if request.param == "url":
        return {"repo": request.getfixturevalue("url")}
    published.lose_data()
    if request.param == "remote alone":
        listed = published.clone.json("ls", "--remote", published.store)["snapshots"]
        newest = next(
            row["snapshot"] for row in listed if row["commit"] == git(published.path, "rev-parse", "HEAD").strip()
        )
        return {"remote": str(published.store), "rev": newest[:12]}
    return {"repo": here, "rev": "HEAD"} if request.param == "commit" else {"repo": here}
