"""A command that is killed, or whose file-system call fails, loses nothing, says what is true, and is finished by running it again."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.faults import calls, small_disk
from tests.faults.calls import KILL, Fault
from tests.faults.scenarios import SCENARIOS
from tests.faults.sweep import IN_ONE_PROCESS, Sweep
from tests.faults.table import on_disk
from tests.faults.traced import trace
from tests.faults.worlds import World, initialised

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
assert len(BY_NAME) == len(SCENARIOS)
SAMPLE = ("add (first)", "checkout --force")


@pytest.fixture(scope="module")
def shared():
    """Yields a folder in memory if there is one: a world is copied for each point."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="dvlite-faults-", dir=memory if memory.is_dir() else None) as place:
        yield Path(os.path.realpath(place))


@pytest.fixture(scope="module")
def running(shared):
    try:
        with calls.running(shared) as program:
            yield program
    except RuntimeError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def program(running, isolated):
    """Returns the program, in the environment of this test."""
    return running


@pytest.fixture
def folder(shared):
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place)


def world_of(name, folder, program):
    world = World(folder / "world", program)
    world.make()
    BY_NAME[name].prepare(world)
    return world


@pytest.mark.parametrize("name", SAMPLE)
def test_a_command_survives_a_fault_at_a_sample_of_its_calls(name, folder, program):
    sweep = Sweep(BY_NAME[name], program, folder)
    for kind, every in (("kill", 40), ("eio", 250), ("full", 60), ("short", 1)):
        assert sweep.sweep(kind, every).failures == []


@pytest.mark.long
@pytest.mark.sweep
@pytest.mark.parametrize("name", BY_NAME)
def test_a_command_survives_a_fault_at_many_of_its_calls(name, folder, program):
    sweep = Sweep(BY_NAME[name], program, folder)
    for kind in IN_ONE_PROCESS:
        assert sweep.sweep(kind, 7 if kind == "kill" else 40).failures == []


@pytest.mark.long
@pytest.mark.sweep
@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS if scenario.changes])
def test_a_command_survives_power_cuts_and_small_disks(name, isolated):
    rows, failures = on_disk(BY_NAME[name], ("power", *small_disk.KINDS), 8)
    if not rows:
        pytest.skip(failures[0])
    assert failures == []


def test_no_call_of_a_command_escapes_the_count(folder, program):
    check_that_nothing_escapes("add (first)", folder, program)


@pytest.mark.long
@pytest.mark.sweep
@pytest.mark.parametrize("name", BY_NAME)
def test_no_call_of_any_command_escapes_the_count(name, folder, program):
    check_that_nothing_escapes(name, folder, program)


def check_that_nothing_escapes(name, folder, program):
    world, scenario = world_of(name, folder, program), BY_NAME[name]
    try:
        counted, made = trace(world, folder, scenario.where, *scenario.command)
    except RuntimeError as reason:
        pytest.skip(str(reason))
    assert counted == made
    assert sum(made.values()) > 20


def test_a_fault_strikes_at_its_call_and_only_there(folder, program):
    world = World(folder / "world", program)
    world.make()
    initialised(world)
    command = ("config", "transfer.jobs", "4")
    whole = program.run(world.base / "here", *command, root=world.base, env=world.env())
    assert (whole.code, whole.calls > 20) == (0, True)
    killed = program.run(world.base / "here", *command, fault=Fault(KILL, at=10), root=world.base, env=world.env())
    assert killed.code == -9
    beyond = Fault(KILL, at=whole.calls * 2)
    assert program.run(world.base / "here", *command, fault=beyond, root=world.base, env=world.env()).code == 0
