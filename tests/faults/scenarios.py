"""The commands that are swept, each with the repository that it starts from. A new verb is one more entry of SCENARIOS.

A world is a folder with repositories, a remote and a home; it is copied for each point, to the same place. Knows nothing of faults.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.calls import Ended, Program
from tests.trees import noise

PIPELINE = """\
stages:
  prepare:
    cmd: tr a-z A-Z < raw.txt > clean.txt; cp raw.txt kept.txt
    deps: [raw.txt]
    params: [scale]
    outs:
      - clean.txt
      - path: kept.txt
        cache: false
  train:
    cmd: mkdir model; cp clean.txt model/weights; echo '{"acc":' $(wc -c < clean.txt)'}' > metrics.json
    deps: [clean.txt]
    params: [rate]
    outs: [model]
    metrics: [metrics.json]
"""


OUTPUTS = ("clean.txt", "kept.txt", "model", "metrics.json", "dvlite.lock")  # of which a stopped run may leave a part


class World:
    """The folder of one scenario: `here` is where its command runs, `store` the remote, `there` a colleague's clone."""

    def __init__(self, base: Path, program: Program) -> None:
        self.base, self._program = base, program

    def make(self) -> None:
        """Makes the folders that every world has."""
        for name in ("here", "store", "home", "tmp"):
            (self.base / name).mkdir(parents=True)

    def env(self) -> dict[str, str]:
        return {
            "HOME": str(self.base / "home"),
            "XDG_CONFIG_HOME": str(self.base / "home" / ".config"),
            "TMPDIR": str(self.base / "tmp"),
        }

    def run(self, *args: str, cwd: str = "here") -> Ended:
        return self._program.run(self.base / cwd, *args, env=self.env())

    def dv(self, *args: str, cwd: str = "here") -> None:
        ended = self.run(*args, cwd=cwd)
        assert ended.code == 0, f"{args} left with {ended.code}: {ended.text}"

    def git(self, *args: str, cwd: str = "here", code: int = 0) -> str:
        done = subprocess.run(["git", *args], cwd=self.base / cwd, capture_output=True, text=True)
        assert done.returncode == code, f"git {args}: {done.stderr}"
        return done.stdout

    def write(self, path: str, content: bytes | str, *, cwd: str = "here") -> None:
        target = self.base / cwd / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, cwd: str = "here") -> None:
        self.git("add", "-A", cwd=cwd)
        self.git("commit", "-qm", "Change", cwd=cwd)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, and what makes its world. `code` is how it leaves without a fault.

    `again` is what is run after a fault where the command itself refuses and says so; `proof` does what shows that the data is safe, and its end is compared too.
    `partial` names what a stopped run may leave neither as it was nor as it will be; one that `notes` leaves with 0 whatever
    happens, and prints a note: git has done its work already. `nothing_left` is how it leaves where all was done before. `env` and
    `before_again` are what git does: variables that it sets, and what it does before it runs the command again.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[World], None]
    code: int = 0
    again: tuple[tuple[str, ...], ...] = ()
    proof: Callable[[World], None] | None = None
    where: str = "here"
    durable: bool = True
    partial: tuple[str, ...] = ()
    notes: bool = False
    nothing_left: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    before_again: Callable[[World], None] | None = None


# --- worlds ---


def fill(world: World, generation: int) -> None:
    """Writes version `generation` of a folder with small files, a large one, a link, and a large file beside it."""
    shutil.rmtree(world.base / "here" / "data", ignore_errors=True)
    for number in range(4):
        world.write(f"data/d{number % 2}/{number}", noise(300, number if number < 2 else number * 100 + generation))
    world.write("data/large", noise(70_000, 1) + noise(20_000, generation))
    world.write("data/run", "#!/bin/sh\n")
    (world.base / "here" / "data" / "run").chmod(0o755)
    (world.base / "here" / "data" / "link").symlink_to("run")
    (world.base / "here" / "data" / "empty").mkdir()
    world.write("model.bin", noise(80_000, 50 + generation))


def plain(world: World) -> None:
    """Makes a git repository with a file, and data that nothing tracks."""
    world.write("train.py", "print(1)\n")
    world.git("init", "-q")
    world.commit()
    fill(world, 1)
    (world.base / "here" / "data").rename(world.base / "here" / "raw")


def initialised(world: World) -> None:
    world.write("train.py", "print(1)\n")
    world.git("init", "-q")
    world.dv("init", "--no-hooks")
    world.commit()
    fill(world, 1)


def tracked(world: World) -> None:
    initialised(world)
    world.dv("add", "data", "model.bin")
    world.commit()


def edited(world: World) -> None:
    tracked(world)
    fill(world, 2)


def two_versions(world: World) -> None:
    edited(world)
    world.dv("add", "-u")
    world.commit()


def forgotten(world: World) -> None:
    """Two versions that git names, and a third that nothing names any more; what is needed of its packs has to be copied."""
    two_versions(world)
    fill(world, 3)
    world.dv("add", "-u")
    world.commit()
    world.git("reset", "-q", "--hard", "HEAD~1")
    world.git("reflog", "expire", "--expire=all", "--all")
    (world.base / "here" / ".git" / "ORIG_HEAD").unlink()
    world.dv("checkout")
    world.write("raw.txt", "x" * 90_000)  # and a file that was added once, in no version
    world.dv("add", "raw.txt")
    world.git("rm", "-q", "--cached", "raw.txt.dvlite")
    (world.base / "here" / "raw.txt.dvlite").unlink()


def forgotten_there(world: World) -> None:
    """Three pushed versions of which git has dropped the last; its data shares a pack with what its run left, which is kept."""
    with_store(world)
    world.write("dvlite.yaml", PIPELINE)
    world.write("params.yaml", "scale: 1\nrate: 1\n")
    for generation in (1, 2, 3):
        fill(world, generation)
        world.dv("add", "-u")
        world.write("raw.txt", noise(40_000, 60 + generation).hex())
        world.dv("repro")
        world.commit()
        world.dv("push")
    world.git("reset", "-q", "--hard", "HEAD~1")
    world.git("reflog", "expire", "--expire=all", "--all")
    (world.base / "here" / ".git" / "ORIG_HEAD").unlink()
    world.dv("checkout")


def behind(world: World) -> None:
    """The workspace has the first version, git the second; one file is in no version."""
    two_versions(world)
    world.git("checkout", "-q", "HEAD~1")
    world.dv("checkout")
    world.git("checkout", "-q", "-")
    world.write("data/mine", "in no version")


def overwritten(world: World) -> None:
    two_versions(world)
    world.write("data/d1/1", "an edit that is in no version")
    world.write("model.bin", noise(90_000, 99))
    (world.base / "here" / "data" / "d0" / "0").unlink()


def empty_work_tree(world: World) -> None:
    two_versions(world)
    shutil.rmtree(world.base / "here" / "data")
    (world.base / "here" / "model.bin").unlink()


def with_store(world: World) -> None:
    tracked(world)
    world.dv("remote", "add", str(world.base / "store"))
    world.commit()


def pushed(world: World) -> None:
    with_store(world)
    world.dv("push")


def second_to_push(world: World) -> None:
    pushed(world)
    fill(world, 2)
    world.dv("add", "-u")
    world.commit()


def colleague(world: World) -> None:
    """`there` has the first version, `here` has pushed a second one."""
    pushed(world)
    world.git("clone", "-q", "here", "there", cwd=".")
    world.dv("pull", cwd="there")
    fill(world, 2)
    world.dv("add", "-u")
    world.commit()
    world.dv("push")
    world.git("pull", "-q", cwd="there")


def fresh_colleague(world: World) -> None:
    second_to_push(world)
    world.dv("push")
    world.git("clone", "-q", "here", "there", cwd=".")


def to_clone(world: World) -> None:
    second_to_push(world)
    world.dv("push")


def second_remote(world: World) -> None:
    """Two pushed versions, and a remote that has nothing yet."""
    second_to_push(world)
    world.dv("push")
    world.dv("remote", "add", "backup", str(world.base / "backup"))
    world.commit()


def conflict(world: World) -> None:
    tracked(world)
    for branch in ("theirs", "ours"):
        world.git("checkout", "-qB", branch, "HEAD" if branch == "theirs" else "HEAD~1")
        world.dv("checkout", "--force")
        world.write("data/d0/0", branch)
        world.write(f"data/{branch}", f"new in {branch}")
        world.dv("add", "data")
        world.commit()
    world.git("config", "--remove-section", "merge.dvlite")
    world.git("merge", "-q", "theirs", code=1)


def merging(world: World) -> None:
    """Git is about to call the merge driver, with three versions of a pointer in files of its own; the third has a file more."""
    conflict(world)
    world.git("merge", "--abort")
    world.dv("checkout", "--force")
    ours_again(world)
    for name, revision in (("base", "HEAD~1"), ("theirs", "theirs")):
        world.write(f".merge_file_{name}", world.git("show", f"{revision}:data.dvlite"))
    world.write("data/d0/0", noise(300, 0))
    world.dv("add", "data")
    world.commit()
    ours_again(world)


def ours_again(world: World) -> None:
    world.write(".merge_file_ours", world.git("show", "HEAD:data.dvlite"))


def two_remotes(world: World) -> None:
    """An edit that neither of two default remotes has."""
    pushed(world)
    world.dv("remote", "add", "backup", str(world.base / "backup"))
    world.dv("remote", "default", "origin", "backup")
    world.commit()
    fill(world, 2)
    world.dv("add", "-u")
    world.commit()


def staged(world: World) -> None:
    edited(world)
    world.dv("add", "data")
    world.write("model.bin", "changed after the last add")


def saved(world: World) -> None:
    """A copy that --force saved, and no commit names."""
    overwritten(world)
    world.dv("checkout", "--force")


def to_be_linked(world: World) -> None:
    overwritten(world)
    world.dv("checkout", "--force")
    world.dv("config", "--local", "cache.link", "hardlink")


def switched(world: World) -> None:
    two_versions(world)
    world.git("checkout", "-q", "HEAD~1")


def stages(world: World) -> None:
    initialised(world)
    world.write("dvlite.yaml", PIPELINE)
    world.write("params.yaml", "scale: 1\nrate: 1\n")
    world.write("raw.txt", "some data\n" * 100)
    world.commit()


def ran_once(world: World) -> None:
    stages(world)
    world.dv("repro")
    world.commit()
    world.write("raw.txt", "other data\n" * 90)


def ran_and_edited(world: World) -> None:
    """An output was edited by hand, and its stage has to run again."""
    ran_once(world)
    world.write("model/weights", "edited by hand")
    world.write("clean.txt", "edited by hand too")


def run_before(world: World) -> None:
    """Stages that ran with these inputs before: the cache has their outputs."""
    ran_once(world)
    world.dv("repro")
    world.commit()
    world.write("raw.txt", "some data\n" * 100)


def flip(path: Path) -> None:
    """Flips a bit in the middle of a file, as a disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.chmod(0o644)
    path.write_bytes(data)


def damaged_cache(world: World) -> None:
    """A pack and a large file of the cache are damaged; the remote and the workspace have what was in them."""
    pushed(world)
    cache = world.base / "here" / ".git" / "dvlite" / "cache"
    flip(max((cache / "packs").iterdir(), key=lambda path: path.stat().st_size))
    flip(min(path for path in (cache / "files").rglob("*") if path.is_file()))


def damaged_history(world: World) -> None:
    """Two pushed versions; of the first, which is not in the workspace, the cache has a pack with a wrong byte."""
    second_to_push(world)
    world.dv("push")
    lost = noise(300, 201)
    packs = (world.base / "here" / ".git" / "dvlite" / "cache" / "packs").iterdir()
    pack = next(path for path in packs if lost in path.read_bytes())
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes().replace(lost, lost[:-1] + b"?"))


def damaged_remote(world: World) -> None:
    """Every pack of the remote is damaged; the cache has what was in them."""
    pushed(world)
    for path in sorted((world.base / "store" / "packs").iterdir()):
        flip(path)


# --- proofs: what another clone, or an emptied work tree, gets of the end ---


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


def _has_both(world: World) -> None:
    world.dv("checkout", cwd="there")


SCENARIOS = (
    Scenario("init", ("init",), plain, partial=(".dvlite",)),
    Scenario("install", ("install",), tracked),
    Scenario("add (file)", ("add", "data/large"), initialised, proof=restores),
    Scenario("add (first)", ("add", "data", "model.bin"), initialised, proof=restores),
    Scenario("add (again)", ("add", "data"), edited),
    Scenario("add -u", ("add", "-u"), edited, proof=restores),
    Scenario("add -o", ("add", "data", "-o", "copies/data"), initialised),
    Scenario("add -o", ("add", "data", "-o", "copies/data"), initialised, proof=restores),
    Scenario("rm", ("rm", "data", "model.bin"), tracked),
    Scenario("mv (folder)", ("mv", "data", "moved/data"), tracked, proof=restores),
    Scenario("mv (file)", ("mv", "model.bin", "best.bin"), tracked),
    Scenario("checkout (empty)", ("checkout",), empty_work_tree, durable=False),
    Scenario("checkout (behind)", ("checkout",), behind, durable=False),
    Scenario("checkout --rev", ("checkout", "--rev", "HEAD~1"), two_versions, durable=False),
    Scenario("checkout --force", ("checkout", "--force"), overwritten, durable=False),
    Scenario("checkout --relink", ("checkout", "--relink"), to_be_linked, durable=False),
    Scenario("remote add", ("remote", "add", "../store"), tracked),
    Scenario("remote add --local", ("remote", "add", "--local", "../store"), tracked),
    Scenario("remote default", ("remote", "default", "backup"), second_remote),
    Scenario("remote remove", ("remote", "remove", "backup"), second_remote),
    Scenario("remote trust", ("remote", "trust", "https://minio.example.com"), tracked),
    Scenario("config", ("config", "transfer.jobs", "4"), tracked),
    Scenario("push (first)", ("push",), with_store, proof=reaches_a_clone),
    Scenario("push (second)", ("push",), second_to_push, proof=reaches_a_clone),
    Scenario("push (two remotes)", ("push",), two_remotes, proof=reaches_a_clone_of_each),
    Scenario("fetch", ("fetch",), colleague, where="there", proof=_has_both, durable=False),
    Scenario("pull (second)", ("pull",), colleague, where="there", durable=False),
    Scenario("pull (first)", ("pull",), fresh_colleague, where="there", durable=False),
    Scenario(
        "clone",
        ("clone", "here", "there"),
        to_clone,
        where=".",
        again=(("-C", "there", "install"), ("-C", "there", "pull")),
        durable=False,
    ),
    Scenario("get", ("get", "here", "data", "-o", "copy"), to_clone, where=".", durable=False),
    Scenario("cache prune", ("cache", "prune", "--pushed"), pushed),
    Scenario("gc --yes", ("gc", "--yes", "--grace", "0s"), forgotten, proof=restores_both),
    Scenario("gc --uncommitted", ("gc", "--uncommitted", "--yes", "--grace", "0s"), saved, proof=restores),
    Scenario(
        "gc --remote --yes", ("gc", "--remote", "--grace", "0s", "--yes"), forgotten_there, proof=all_reach_a_clone
    ),
    Scenario("sync", ("sync", "origin", "backup", "--all-commits"), second_remote, proof=is_mirrored),
    Scenario(
        "purge",
        ("purge", "model.bin", "data/large", "--reason", "law", "--yes", "--grace", "0s"),
        pushed,
        proof=is_purged,
    ),
    Scenario(
        "purge --all-versions",
        ("purge", "data/d0/2", "model.bin", "--all-versions", "--reason", "request 17", "--grace", "0s", "--yes"),
        to_clone,
        proof=is_purged_of_all,
    ),
    Scenario("hook pre-commit", ("hook", "pre-commit"), staged),
    Scenario(
        "hook post-checkout", ("hook", "post-checkout", "HEAD~1", "HEAD", "1"), switched, durable=False, notes=True
    ),
    Scenario(
        "hook pre-push",
        ("hook", "pre-push", "origin", "git@example.com:team/project.git"),
        second_to_push,
        proof=reaches_a_clone,
        env=(("PRE_COMMIT_TO_REF", "HEAD"),),
    ),
    Scenario(
        "merge-driver",
        ("merge-driver", ".merge_file_base", ".merge_file_ours", ".merge_file_theirs", "7", "data.dvlite"),
        merging,
        proof=merges,
        durable=False,
        partial=(".merge_file_ours",),
        before_again=ours_again,
    ),
    Scenario("resolve", ("resolve", "--union"), conflict, proof=restores),
    Scenario("resolve --theirs", ("resolve", "--theirs"), conflict, proof=restores),
    *(
        Scenario(words, tuple(words.split()), edited)
        for words in ("status", "diff", "ls -R", "cat HEAD:data/large", "du", "log data", "doctor")
    ),
    Scenario("verify", ("verify",), edited),
    Scenario("fsck", ("fsck", "--deep"), pushed),
    Scenario("stage add", ("stage", "add", "-f", "count", "-d", "raw.txt", "-o", "n", "--", "wc raw.txt > n"), stages),
    Scenario("repro (first)", ("repro",), stages, proof=restores, partial=OUTPUTS),
    Scenario("repro (again)", ("repro",), ran_once, proof=restores, partial=OUTPUTS),
    Scenario("repro (edited)", ("repro", "--force"), ran_and_edited, proof=restores, partial=OUTPUTS),
    Scenario("repro (run before)", ("repro",), run_before, proof=restores, partial=OUTPUTS),
    Scenario("commit", ("commit",), ran_and_edited, proof=restores, partial=OUTPUTS),
    Scenario("fsck --repair", ("fsck", "--deep", "--repair"), damaged_cache, code=1, proof=healed, nothing_left=0),
    Scenario(
        "fsck --repair (history)",
        ("fsck", "--deep", "--repair"),
        damaged_history,
        code=1,
        proof=healed_history,
        nothing_left=0,
    ),
    Scenario(
        "fsck --remote --repair",
        ("fsck", "--remote", "--deep", "--repair"),
        damaged_remote,
        code=1,
        proof=healed_remote,
        nothing_left=0,
    ),
    *(
        Scenario(words, tuple(words.split()), ran_once)
        for words in ("runs", "lineage model", "dag", "params", "metrics")
    ),
    Scenario("runs tag", ("runs", "tag", "last:train", "best"), ran_once),
    Scenario("runs note", ("runs", "note", "last:train", "of the first week"), ran_once),
)
