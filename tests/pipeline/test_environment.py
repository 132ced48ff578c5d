"""What a stage runs in: what it asked for, what is found, and nothing of what nobody named."""

import importlib.metadata
import os
import sys

import pytest

from dvlite.formats.lockfile import Facts, LockedStage
from dvlite.oid import FILE, digest_bytes, format_oid
from dvlite.pipeline.environment import Surroundings
from tests.pipeline.stages_of import stages_of


class Heard:
    """A progress that keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def python(tmp_path):
    """Returns a folder for PATH in which `python` is this one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def look(place, text, environ, *, dry=False, locked=None, file="dvlite.yaml"):
    heard = Heard()
    stages = stages_of(text, file)
    made = Surroundings(place.repo, environ, heard, stages, dry=dry)
    return made, stages[0], heard, lambda: dict(made.values(stages[0], locked))


def test_variables_are_those_of_the_user_and_of_the_stage(place):
    made, stage, _, values = look(
        place, "a: {cmd: x, env: {B: 2}, capture: [{env: A}, {env: B}, {env: C}]}", {"A": "1", "B": "1"}
    )
    assert made.environ_of(stage) == {"A": "1", "B": "2"}
    assert values() == {"env A": "1", "env B": "2", "env C": "not set"}


@pytest.mark.parametrize(("visible", "gpus"), [("0, GPU-b,3", ("0", "GPU-b", "3")), ("", ()), ("-1", ())])
def test_the_gpus_of_the_machine_are_those_that_the_user_lets_be_seen(place, visible, gpus):
    machine = look(place, "a: {cmd: x}", {"CUDA_VISIBLE_DEVICES": visible})[0].machine()
    assert machine.gpus == gpus
    assert machine.cpus >= 1 < machine.memory_bytes


def test_command_is_asked_in_the_folder_of_the_stage(place):
    (place.root / "w").mkdir()
    _, _, heard, values = look(place, "a: {cmd: x, wdir: w, capture: [{cmd: pwd}, {cmd: exit 1}]}", dict(os.environ))
    assert values() == {"command pwd": str(place.root / "w"), "command exit 1": "failed"}
    assert heard.warnings == ["dvlite.yaml line 2: 'exit 1' failed; it is recorded as that"]


def test_dry_run_starts_no_command_and_takes_what_the_lockfile_has(place):
    text = "a: {cmd: x, capture: [{cmd: touch here}, {cmd: new}]}"
    locked = LockedStage("a", "0" * 64, Facts("x", capture={"command touch here": "as it was"}))
    _, _, _, values = look(place, text, dict(os.environ), dry=True, locked=locked)
    assert values() == {"command touch here": "as it was", "command new": "not looked at"}
    assert not (place.root / "here").exists()


def test_package_is_asked_of_the_python_on_path(place, python):
    _, _, _, values = look(place, "a: {cmd: x, capture: [click, no-such-package]}", {"PATH": python})
    assert values() == {"click": importlib.metadata.version("click"), "no-such-package": "not installed"}
    _, _, _, values = look(place, "a: {cmd: x, capture: [click]}", {"PATH": "/nowhere"})
    assert values() == {"click": "not installed"}


def test_python_reads_no_module_of_the_repository(place, python):
    (place.root / "json.py").write_text("raise SystemExit('taken over')")
    _, _, _, values = look(place, "a: {cmd: x, capture: [click]}", {"PATH": python})
    assert values()["click"] != "not installed"


def test_machine_and_lock_files_are_described(place, python):
    (place.root / "sub").mkdir()
    (place.root / "uv.lock").write_text("one")
    (place.root / "sub/uv.lock").write_text("two")
    (place.root / "requirements.txt").write_text("three")
    environ = {"PATH": python, "DVLITE_IMAGE": "img@sha256:1", "SECRET": "s3cr3t"}
    made, stage, _, _ = look(place, "a: {cmd: x}", environ, file="sub/dvlite.yaml")
    found = made.describe(stage)
    assert found["lock:uv.lock"] == format_oid(FILE, digest_bytes(b"two"))
    assert found["lock:requirements.txt"] == format_oid(FILE, digest_bytes(b"three"))
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["image"] == "img@sha256:1"
    assert found["platform"]
    assert found["cpu"]
    assert found["cpus"] >= 1
    assert "s3cr3t" not in repr(found)
