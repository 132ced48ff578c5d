"""The stage key: it never changes for the same stage, and always for another."""

from dataclasses import replace

import pytest

from dvlite.formats.lockfile import Locked
from dvlite.pipeline.stage_key import Facts

FILE = "blake3:" + "ab" * 32
FACTS = Facts(
    cmd="python train.py",
    wdir=".",
    deps=(Locked("src/train.py", FILE, 120), Locked("data/tiles", "manifest:" + "cd" * 32, 5, files=3)),
    params={"params.yaml:lr": 0.001, "params.yaml:net": {"depth": [1, True, None]}},
    env={"OMP_NUM_THREADS": "1"},
    capture={"numpy": "1.26.4"},
    outs=["model.pt", "metrics.json"],
)


def test_key_is_what_it_was_in_every_earlier_version():
    assert FACTS.key() == "251947d119f352463a219853c3c99666d896217e3e1d6481e29f8c073db06fbb"


def test_key_does_not_depend_on_order():
    other = replace(
        FACTS,
        deps=FACTS.deps[::-1],
        outs=FACTS.outs[::-1],
        params=dict(reversed(FACTS.params.items())),
    )
    assert other.key() == FACTS.key()


def test_key_does_not_depend_on_sizes():
    assert replace(FACTS, deps=(replace(FACTS.deps[0], size_bytes=1), FACTS.deps[1])).key() == FACTS.key()


@pytest.mark.parametrize(
    "change",
    [
        {"cmd": "python train.py "},
        {"wdir": "src"},
        {"deps": FACTS.deps[:1]},
        {"deps": (replace(FACTS.deps[0], oid="blake3:" + "ac" * 32), FACTS.deps[1])},
        {"deps": (replace(FACTS.deps[0], path="src/other.py"), FACTS.deps[1])},
        {"params": {}},
        {"params": {**FACTS.params, "params.yaml:lr": "0.001"}},
        {"params": {**FACTS.params, "params.yaml:lr": True}},
        {"env": {}},
        {"env": {"OMP_NUM_THREADS": "2"}},
        {"capture": {"numpy": "2.0.0"}},
        {"outs": ["model.pt"]},
    ],
)
def test_whatever_decides_what_comes_out_changes_the_key(change):
    assert replace(FACTS, **change).key() != FACTS.key()


def test_one_true_and_one_point_zero_are_three_values():
    keys = {replace(FACTS, params={"k": value}).key() for value in (1, True, 1.0, "1", None, "null")}
    assert len(keys) == 6


def test_name_that_is_no_text_has_a_key():
    assert len(replace(FACTS, deps=(Locked("\udcff", FILE, 1),)).key()) == 64
