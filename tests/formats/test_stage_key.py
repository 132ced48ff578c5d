"""The stage key: it never changes for the same stage, and always for another."""

from dataclasses import replace

import pytest

from dvlite.formats.lockfile import Facts, Locked, stage_key

FILE = "blake3:" + "ab" * 32
FACTS = Facts(
    cmd="python train.py",
    wdir=".",
    params={"params.yaml:lr": 0.001, "params.yaml:net": {"depth": [1, True, None]}},
    env={"OMP_NUM_THREADS": "1"},
    capture={"numpy": "1.26.4"},
)
DEPS = (Locked("src/train.py", FILE, 120), Locked("data/tiles", "manifest:" + "cd" * 32, 5, files=3))
OUTS = ["model.pt", "metrics.json"]


def key(*, deps=DEPS, outs=OUTS, **changes):
    return stage_key(replace(FACTS, **changes), deps, outs)


def test_key_is_what_it_was_in_every_earlier_version():
    assert key() == "251947d119f352463a219853c3c99666d896217e3e1d6481e29f8c073db06fbb"


def test_key_does_not_depend_on_order():
    assert key(deps=DEPS[::-1], outs=OUTS[::-1], params=dict(reversed(FACTS.params.items()))) == key()


def test_key_does_not_depend_on_sizes():
    assert key(deps=(replace(DEPS[0], size_bytes=1), DEPS[1])) == key()


@pytest.mark.parametrize(
    "change",
    [
        {"cmd": "python train.py "},
        {"wdir": "src"},
        {"deps": DEPS[:1]},
        {"deps": (replace(DEPS[0], oid="blake3:" + "ac" * 32), DEPS[1])},
        {"deps": (replace(DEPS[0], path="src/other.py"), DEPS[1])},
        {"params": {}},
        {"params": {**FACTS.params, "params.yaml:lr": "0.001"}},
        {"params": {**FACTS.params, "params.yaml:lr": True}},
        {"env": {}},
        {"env": {"OMP_NUM_THREADS": "2"}},
        {"capture": {"numpy": "2.0.0"}},
        {"outs": ["model.pt"]},
        {"map": {"over": "data/*", "outs": ["x/${name}"]}},
    ],
)
def test_whatever_decides_what_comes_out_changes_the_key(change):
    assert key(**change) != key()


def test_one_true_and_one_point_zero_are_three_values():
    keys = {key(params={"k": value}) for value in (1, True, 1.0, "1", None, "null")}
    assert len(keys) == 6


def test_name_that_is_no_text_has_a_key():
    assert len(key(deps=(Locked("\udcff", FILE, 1),))) == 64


def test_the_key_of_a_map_stage_is_what_it_was_in_every_earlier_version():
    declared = {"over": "data/tiles/**", "outs": ["model/${stem}.pt"], "by": ["a", "b"]}
    assert key(map=declared) == "b700e1e8f5cf8e5c8913fd927a189ba2e279cb6dd5b78946d9ec44dff667e3b6"
    assert key(map={**declared, "by": ["b", "a"]}) != key(map=declared)
