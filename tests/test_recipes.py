"""The recipes of docs/how-to/move-from-elsewhere.md, run by the tools they are about, and the tables of docs/reference/other-tools.md, held to these tools."""

import os
import re
import shutil
import subprocess
import sys

import botocore.session
import pytest

from tests.test_docs import DOCS, sections
from tests.trees import noise

pytestmark = pytest.mark.long
PAGE = (DOCS / "how-to" / "move-from-elsewhere.md").read_text(encoding="utf-8")
TABLES = sections(DOCS / "reference" / "other-tools.md")
# Prints each command of DVC, by its own parser, under the first of its names.
COMMANDS_OF_DVC = """
import argparse
from dvc.cli.parser import get_main_parser
def walk(parser, words):
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups and words:
        print(*words)
    for group in groups:
        for name in {id(parser): name for name, parser in reversed(group.choices.items())}.values():
            walk(group.choices[name], [*words, name])
walk(get_main_parser(), [])
"""


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def run(*words, cwd, code=0):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{words} left with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def start(folder):
    """Makes an empty repository of dvlite."""
    folder.mkdir()
    run("git", "init", "-q", cwd=folder)
    run("dvlite", "init", "-q", "--no-hooks", cwd=folder)
    run("git", "commit", "-qm", "Use dvlite", cwd=folder)
    return folder


@pytest.mark.usefixtures("on_path", "s3_url")
def test_every_version_of_a_bucket_becomes_a_commit(tmp_path, weed, monkeypatch):
    (script,) = blocks("python")
    (tmp_path / "versions.py").write_text(script)
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.endpoint_url)
    s3 = botocore.session.get_session().create_client("s3")
    s3.create_bucket(Bucket="models")
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    large = noise(3_000_000, seed=1)
    for key, body in (("m/a.bin", b"1"), ("m/sub/b c.bin", large), ("m/a.bin", b"2"), ("m/a.bin", b"2"), ("o", b"o")):
        s3.put_object(Bucket="models", Key=key, Body=body)
    s3.delete_object(Bucket="models", Key="m/sub/b c.bin")
    s3.put_object(Bucket="models", Key="m/a.bin", Body=b"3")
    work = start(tmp_path / "work")
    run(sys.executable, tmp_path / "versions.py", "models", "m/", cwd=work)
    contents = [
        run("dvlite", "cat", f"{commit}:a.bin", cwd=work)
        for commit in run("git", "log", "--format=%h", "--reverse", "--", "a.bin.dvlite", cwd=work).split()
    ]
    assert contents == ["1", "2", "3"]
    assert run("git", "rev-list", "--count", "HEAD", cwd=work) == "7\n"
    assert not (work / "sub" / "b c.bin.dvlite").exists()
    run("dvlite", "get", ".", "sub/b c.bin", "--rev", "HEAD~2", "-o", tmp_path / "b", cwd=work)
    assert (tmp_path / "b").read_bytes() == large
    assert run("git", "status", "--porcelain", cwd=work) == ""


@pytest.mark.usefixtures("on_path")
def test_a_repository_of_git_annex_moves_with_its_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{os.path.dirname(sys.executable)}")
    if shutil.which("git-annex") is None:
        pytest.skip("git-annex is not installed: pip install git-annex")
    moved, with_versions = blocks("sh")
    old = tmp_path / "birds-annex"
    (old / "data").mkdir(parents=True)
    run("git", "init", "-q", cwd=old)
    run("git", "annex", "init", "-q", "here", cwd=old)
    contents = {"data/a b.txt": b"a\n", "data/large": noise(300_000, seed=1), "data/unlocked": b"u\n"}
    for number in (1, 2):
        for path, data in contents.items() if number == 1 else ():
            (old / path).write_bytes(data)
        (old / "model.bin").unlink(missing_ok=True)
        (old / "model.bin").write_bytes(b"%d" % number)
        run("git", "annex", "add", "-q", "--backend=BLAKE3_256", ".", cwd=old)
        run("git", "annex", "unlock", "-q", "data/unlocked", cwd=old)
        run("git", "add", "-A", cwd=old)
        run("git", "commit", "-qm", f"Version {number}", cwd=old)
    key = run("git", "annex", "lookupkey", "data/large", cwd=old).strip()
    work = start(tmp_path / "work")
    run("bash", "-euc", with_versions, cwd=work)
    assert [run("dvlite", "cat", f"HEAD{back}:model.bin", cwd=work) for back in ("~1", "")] == ["1", "2"]
    assert run("git", "log", "-1", "--format=%s", cwd=work) == "Version 2\n"
    run("bash", "-euc", moved, cwd=old)
    assert {path: (old / path).read_bytes() for path in contents} == contents
    assert not any((old / path).is_symlink() for path in contents)
    assert run("git", "status", "--porcelain", cwd=old) == ""
    assert f"blake3:{key.rpartition('--')[2]}" in run("dvlite", "--json", "ls", "-l", "-R", "data", cwd=old)
    run("git", "switch", "-q", "-", cwd=old)  # what git-annex has for other branches
    assert (old / "data/large").read_bytes() == contents["data/large"]


def in_table(heading, program):
    """Returns the commands in the first column of a table; a cell may leave out the words that it has from the one before."""
    named, group = set(), ""
    for cell in re.findall(r"^\| (.+?) \| ", TABLES[heading], flags=re.MULTILINE):
        for code in re.findall(r"`([^`]+)`", cell):
            words = [word for word in code.removeprefix(f"{program} ").split() if word[0].islower()]
            named |= {" ".join(words[:1]), " ".join(words[:2]), f"{group} {words[0]}"} if words else set()
            group = words[0] if code.startswith(program) else group
    return named


def test_the_table_has_each_command_of_git_lfs():
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    commands = set(re.findall(r"^git lfs ([a-z-]+):", run("git", "lfs", "help", cwd=None), flags=re.MULTILINE))
    assert len(commands) > 25
    assert commands - in_table("Git LFS", "git lfs") == set()


def test_the_table_has_each_command_of_dvc():
    program = shutil.which("dvc")
    if program is None:
        pytest.skip("dvc is not installed; make test-long installs it")
    with open(program, encoding="utf-8") as file:
        python = file.readline().strip().removeprefix("#!")
    commands = set(run(python, "-c", COMMANDS_OF_DVC, cwd=None).splitlines())
    assert len(commands) > 60
    assert {command.replace("experiments", "exp") for command in commands} - in_table("DVC", "dvc") == set()
