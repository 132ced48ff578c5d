"""Slots: what may run side by side, and which GPUs it gets."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats.pipeline import RunLimits
from dvlite.pipeline.slots import Machine, Slots
from tests.pipeline.stages_of import stages_of

MACHINE = Machine(4, 8 << 30, ("0", "GPU-b", "2"))
FREE = RunLimits()


def test_no_more_commands_than_jobs_run():
    slots = Slots(2, MACHINE)
    assert [slots.take(name, FREE) for name in "abc"] == [True, True, False]
    assert (slots.is_full, slots.variables("a")) == (True, {})
    slots.give_back("a")
    slots.give_back("a")
    assert slots.take("c", FREE)


@pytest.mark.parametrize(
    ("one", "fits", "not_with"),
    [
        (RunLimits(cpu=2.5), RunLimits(cpu=1.5), RunLimits(cpu=2)),
        (RunLimits(memory_bytes=6 << 30), RunLimits(memory_bytes=2 << 30), RunLimits(memory_bytes=3 << 30)),
        (RunLimits(gpu=2), RunLimits(gpu=1), RunLimits(gpu=2)),
        (RunLimits(mutex=("a", "b")), RunLimits(mutex=("c",)), RunLimits(mutex=("c", "b"))),
    ],
)
def test_what_runs_side_by_side_fits_the_machine_in_other_invocations_too(one, fits, not_with):
    slots = Slots(9, MACHINE)
    slots.take("one", one)
    for other in (slots, Slots(9, MACHINE, slots.taken)):
        assert not other.take("b", not_with)
        assert other.take("c", FREE)
        assert other.take("d", fits)
        other.give_back("d")


def test_a_stage_that_asks_for_more_than_there_is_runs_alone():
    slots, huge = Slots(9, MACHINE), RunLimits(cpu=64, memory_bytes=1 << 50)
    assert slots.take("huge", huge)
    assert not slots.take("free", FREE)
    slots.give_back("huge")
    assert slots.take("free", FREE)
    assert not slots.take("huge", huge)


def test_gpus_are_handed_out_once():
    slots = Slots(9, MACHINE)
    for name, wanted, given in (("a", 2, "0,GPU-b"), ("b", 1, "2"), ("c", 0, ""), ("d", 1, None)):
        assert slots.take(name, RunLimits(gpu=wanted)) == (given is not None)
        assert given is None or slots.variables(name) == {"CUDA_VISIBLE_DEVICES": given}
    slots.give_back("a")
    assert slots.take("d", RunLimits(gpu=1))
    assert slots.variables("d") == {"CUDA_VISIBLE_DEVICES": "0"}


def test_a_stage_that_needs_more_gpus_than_there_are_is_refused_with_its_line():
    (stage,) = stages_of("s: {cmd: x, resources: {gpu: 4}}")
    with pytest.raises(FormatError, match=r"line 2: s needs 4 GPUs, and 3 can be used"):
        Slots(1, MACHINE).require(stage)
