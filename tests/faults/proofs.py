"""What shows that the data is safe after a swept command: what another clone, or an emptied work tree, gets of the end."""

from __future__ import annotations

import shutil
import subprocess

from tests.faults.worlds import World
from tests.trees import noise


def restores(world: World) -> None:
    """Removes the data and checks it out again."""
    for path in ("data", "model.bin", "moved", "copies", "model", "clean.txt", "metrics.json"):
        place = world.base / "here" / path
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    world.dv("checkout")


def restores_both(world: World) -> None:
    """Does so with both versions; of the third, nothing is left."""
    restores(world)
    world.dv("get", ".", "data", "--rev", "HEAD~1", "-o", "before")
    packs = (world.base / "here" / ".git" / "dvlite" / "cache" / "packs").iterdir()
    assert not any(noise(300, 203) in pack.read_bytes() for pack in packs), "what nothing names is still there"


def reaches_a_clone(world: World) -> None:
    """A colleague with nothing clones and pulls."""
    world.git("clone", "-q", "here", "proof", cwd=".")
    world.dv("pull", cwd="proof")


def is_purged(world: World) -> None:
    """No byte of it is left here or on the remote; a colleague gets the rest."""
    folders = (world.base / "here" / ".git" / "dvlite" / "cache", world.base / "store")
    stored = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    for name in ("model.bin", "data/large"):
        piece = (world.base / "here" / name).read_bytes()[1000:1048]
        assert not any(piece in path.read_bytes() for path in stored), f"{name} is still there"
    world.git("clone", "-q", "here", "proof", cwd=".")
    assert world.run("pull", cwd="proof").code == 3


def merges(world: World) -> None:
    """The merged pointer names what both sides have, and all of it is there."""
    (world.base / "here" / ".merge_file_ours").rename(world.base / "here" / "data.dvlite")
    restores(world)
    assert (world.base / "here" / "data" / "theirs").exists()


def reaches_a_clone_of_each(world: World) -> None:
    """A colleague pulls from either remote."""
    for remote, other in (("origin", "backup"), ("backup", "store")):
        away = world.base / "tmp" / "away"
        place = world.base / ("store" if other == "store" else "backup")
        place.rename(away)
        world.git("clone", "-q", "here", f"proof-{remote}", cwd=".")
        world.dv("pull", "-r", remote, cwd=f"proof-{remote}")
        away.rename(place)


def healed(world: World) -> None:
    """The cache is sound, and has all data."""
    world.dv("fsck", "--deep")
    restores(world)


def healed_history(world: World) -> None:
    """The cache is sound, and has both versions without a remote."""
    away = world.base / "tmp" / "away"
    (world.base / "store").rename(away)
    healed(world)
    world.dv("get", ".", "data", "--rev", "HEAD~1", "-o", "before")
    away.rename(world.base / "store")


def healed_remote(world: World) -> None:
    world.dv("fsck", "--remote", "--deep")
    reaches_a_clone(world)


def all_reach_a_clone(world: World) -> None:
    """A colleague gets every version that git has; of the one that it dropped, nothing is left on the remote."""
    reaches_a_clone(world)
    proof = world.base / "proof"
    (proof / "newest").mkdir()
    for path in ("data", "model.bin", "model", "clean.txt"):
        (proof / path).rename(proof / "newest" / path)
    world.dv("fetch", "--all-commits", cwd="proof")
    world.dv("checkout", "--rev", "HEAD~1", cwd="proof")
    packs = (world.base / "store" / "packs").iterdir()
    dropped = noise(80_000, 53)[40_000:41_000]
    assert not any(dropped in pack.read_bytes() for pack in packs), "what git dropped is still there"


def is_mirrored(world: World) -> None:
    """A colleague gets both versions from the backup alone."""
    away = world.base / "tmp" / "away"
    (world.base / "store").rename(away)
    world.git("clone", "-q", "here", "proof", cwd=".")
    world.dv("fetch", "-r", "backup", "--all-commits", cwd="proof")
    world.dv("checkout", "--rev", "HEAD~2", cwd="proof")
    (world.base / "proof" / "data").rename(world.base / "proof" / "before")
    world.dv("checkout", cwd="proof")
    away.rename(world.base / "store")


def is_purged_of_all(world: World) -> None:
    """No byte of what was purged is left in the cache or on the remote; a colleague gets all else of both versions."""
    pieces = [noise(300, 201), noise(300, 202), noise(80_000, 51)[40_000:41_000], noise(80_000, 52)[40_000:41_000]]
    for folder in (world.base / "store", world.base / "here" / ".git" / "dvlite" / "cache"):
        for path in folder.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            assert not any(piece in data for piece in pieces), f"{path} has content that was purged"
    world.git("clone", "-q", "here", "proof", cwd=".")
    for version in ("HEAD~1", "HEAD"):
        world.git("checkout", "-q", "--detach", version, cwd="proof")
        ended = world.run("pull", cwd="proof")
        assert ended.code == 3, f"pull of {version} left with {ended.code}: {ended.text}"
        subprocess.run(["cp", "-a", world.base / "proof" / "data", world.base / "proof" / f"of {version}"], check=True)


def has_both(world: World) -> None:
    world.dv("checkout", cwd="there")
