"""The repositories that swept commands start from. A world is a folder with repositories, a remote and a home; it is copied for each point,
to the same place. Knows nothing of the commands that are swept, nor of faults.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.commands.dvc_repository import DvcRepository, md5
from tests.commands.lfs_repository import LINE, LfsRepository
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


def beside(world: World) -> None:
    """`there` is another repository, without data."""
    tracked(world)
    world.git("init", "-q", "there", cwd=".")
    world.dv("init", "--no-hooks", cwd="there")
    world.commit(cwd="there")


def imported(world: World) -> None:
    """`there` has imported data of `here` and copied the same folder, and both sources have moved on."""
    beside(world)
    world.dv("import", "../here", "data", cwd="there")
    world.dv("import-url", "../here/data", "raw", cwd="there")
    world.commit(cwd="there")
    fill(world, 2)
    world.dv("add", "-u")
    world.commit()


def checked_out(world: World) -> None:
    """`there` is what its pointers say."""
    world.dv("checkout", cwd="there")


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


def demanded(world: World) -> None:
    """Data with a check that was never made."""
    tracked(world)
    world.write("dvlite.yaml", "checks: {whole: {path: data, cmd: test -s data/large}}\n")
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


def of_dvc(world: World) -> None:
    """A repository of DVC: a folder, a large file and a pipeline, all in its cache and checked out."""
    world.git("init", "-q")
    world.dv("init", "--no-hooks")
    theirs = DvcRepository(world)
    contents = {f"d{number % 2}/{number}": noise(300, number) for number in range(4)} | {"large": noise(80_000, 4)}
    model = noise(80_000, 5)
    theirs.track("data", theirs.folder(contents))
    theirs.track("model.bin", theirs.put(model))
    world.write("dvc.yaml", "stages:\n  count:\n    cmd: wc raw.txt > n\n    deps: [raw.txt]\n    outs: [n]\n")
    deps, outs = md5(b"raw\n"), theirs.put(b"1 1 4 raw.txt\n")
    world.write(
        "dvc.lock",
        "schema: '2.0'\nstages:\n  count:\n    cmd: wc raw.txt > n\n"
        f"    deps:\n    - {{path: raw.txt, hash: md5, md5: {deps}, size: 4}}\n"
        f"    outs:\n    - {{path: n, hash: md5, md5: {outs}, size: 14}}\n",
    )
    world.write("raw.txt", "raw\n")
    world.write(".gitignore", "/data\n/model.bin\n/n\n")
    world.commit()
    for path, content in {f"data/{path}": content for path, content in contents.items()}.items():
        world.write(path, content)
    world.write("model.bin", model)
    world.write("n", "1 1 4 raw.txt\n")


def of_lfs_history(world: World) -> None:
    """It with two commits."""
    of_lfs(world)
    theirs = LfsRepository(world)
    theirs.track("data/large", noise(80_000, 6))
    theirs.commit()


def of_lfs(world: World) -> None:
    """A repository of Git LFS: small files and large ones, in its folder and checked out."""
    world.git("init", "-q")
    world.dv("init", "--no-hooks")
    attributes = world.base / "here" / ".gitattributes"
    world.write(".gitattributes", f"/data/** {LINE}\n*.bin {LINE}\n{attributes.read_text()}")
    theirs = LfsRepository(world)
    for number in range(3):
        theirs.track(f"data/d{number % 2}/{number}", noise(300, number))
    theirs.track("data/large", noise(80_000, 4))
    theirs.track("model.bin", noise(80_000, 5))
    theirs.commit()
