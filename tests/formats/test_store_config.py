"""The config of a remote: what a client must know before it writes there."""

from pathlib import Path

import pytest

from dvlite.errors import FormatError, LaterVersion, ObjectCorrupt
from dvlite.formats import store_config, strict_json
from dvlite.formats.store_config import DEFAULT, StoreConfig

GOLDEN = Path(__file__).parent.parent / "golden"
GOOD = strict_json.parse(store_config.dump(DEFAULT), "x")
del GOOD["checksum"]


def test_a_new_remote_gets_exactly_these_bytes():
    golden = (GOLDEN / "store-config.json").read_bytes()
    assert store_config.dump(DEFAULT) == golden
    assert store_config.parse(golden, "x") == DEFAULT


def test_two_clients_write_the_same_config():
    assert store_config.dump(StoreConfig(8192, 32768, 131072)) == store_config.dump(DEFAULT)


def test_a_feature_of_the_future_is_kept_and_named():
    made = StoreConfig(8192, 32768, 131072, ("zstd-base",))
    assert store_config.parse(store_config.dump(made), "x").unknown_features == ("zstd-base",)
    assert DEFAULT.unknown_features == ()


CHUNKER = GOOD["chunker"]


@pytest.mark.parametrize(
    "change",
    [
        {"dvlite_store": 2},
        {"dvlite_store": True},
        {"dvlite_store": None},
        {"chunker": None},
        {"chunker": CHUNKER | {"name": "rabin"}},
        {"chunker": CHUNKER | {"min": 0}},
        {"chunker": CHUNKER | {"min": -1}},
        {"chunker": CHUNKER | {"min": True}},
        {"chunker": CHUNKER | {"max": 2**40}},
        {"chunker": CHUNKER | {"average": 4096}},
        {"chunker": CHUNKER | {"average": "32768"}},
        {"features": None},
        {"features": [1]},
        {"features": "x"},
    ],
)
def test_a_store_that_is_not_understood_is_refused(change):
    with pytest.raises(FormatError, match="cannot use s3://b/p"):
        store_config.parse(strict_json.seal(GOOD | change), "s3://b/p")


def test_a_config_that_was_cut_or_has_a_wrong_bit_is_damaged_and_not_of_a_later_version():
    data = store_config.dump(DEFAULT)
    cut = [data[:length] for length in range(len(data) - 1)]  # without its last newline it is as good
    flipped = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data) - 1)]
    for bad in [*cut, *flipped, b"{}", b"[1]"]:
        with pytest.raises(ObjectCorrupt):
            store_config.parse(bad, "x")


def test_a_whole_config_of_a_later_version_is_called_that():
    with pytest.raises(LaterVersion):
        store_config.parse(strict_json.seal({"dvlite_store": 2, "anything": []}), "x")
