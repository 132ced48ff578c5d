"""What comes back is what went in: every kind of entry, every name, through S3 and a second clone."""

import os
import stat

import pytest

from tests.clones import git, start
from tests.trees import facts, make_everything, noise, put


def test_everything_survives_s3_and_a_second_clone(tmp_path, run_cli, weed, s3_url):
    endpoint = ("-o", f"endpoint_url={weed.endpoint_url}")
    here = start(tmp_path / "here", run_cli, s3_url, *endpoint)
    make_everything(here.path / "data")
    before = facts(here.path / "data")
    times = {path: os.lstat(os.fsencode(here.path / "data") + b"/" + path).st_mtime_ns for path in before}
    put(here.path / "tool", b"#!/bin/sh\n", executable=True)
    put(here.path / "model.bin", noise(400_000, 8))
    added = here.json("add", "data", "tool", "model.bin")
    assert facts(here.path / "data") == before
    assert times == {path: os.lstat(os.fsencode(here.path / "data") + b"/" + path).st_mtime_ns for path in before}
    assert added["warnings"]  # names that cannot exist everywhere
    here.commit()
    assert here.is_clean()
    here.dv("push")
    assert here.is_clean()
    assert here.json("status", "--remote")["clean"]

    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", weed.endpoint_url)
    there.dv("pull")
    assert facts(there.path / "data") == before
    assert (there.path / "tool").stat().st_mode & stat.S_IXUSR
    assert (there.path / "tool").read_bytes() == b"#!/bin/sh\n"
    assert not (there.path / "model.bin").stat().st_mode & stat.S_IXUSR
    assert (there.path / "model.bin").read_bytes() == noise(400_000, 8)
    assert there.is_clean()
    assert there.json("status", "--remote")["clean"]
    assert git(there.path, "status", "--porcelain") == ""
    assert (there.path / "data.dvlite").read_bytes() == (here.path / "data.dvlite").read_bytes()


@pytest.mark.long
def test_a_file_of_more_than_4_gib_comes_back(tmp_path, run_cli):
    here = start(tmp_path / "here", run_cli, str(tmp_path / "store"))
    size = (4 << 30) + 12_345
    with open(here.path / "big.bin", "wb") as file:
        file.write(b"start")
        file.seek(size - 3)
        file.write(b"end")
    here.dv("add", "big.bin")
    here.commit()
    assert here.is_clean()
    here.dv("push")
    there = here.clone(tmp_path / "there")
    there.dv("remote", "trust", str(tmp_path / "store"))
    there.dv("pull")
    assert there.is_clean()
    status = (there.path / "big.bin").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 64 << 20, "holes were filled"
    with open(there.path / "big.bin", "rb") as file:
        assert file.read(5) == b"start"
        assert not any(file.read(100_000))
        file.seek(size - 4)
        assert file.read() == b"\0end"


# --- what cannot be tracked ---
