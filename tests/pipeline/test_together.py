"""What invocations side by side share: a stage key runs once."""

import threading

import pytest

from dvlite.errors import DvliteError
from dvlite.pipeline.together import SharedRuns


def shared():
    return SharedRuns(None, "grid")


def test_a_key_is_the_first_claimants_and_the_others_get_its_run():
    runs, found = shared(), []
    assert runs.claim("k") is None
    waiting = threading.Thread(target=lambda: found.append(runs.claim("k")))
    waiting.start()
    runs.settle("k", "run:1", outputs=["blake3:2"])
    waiting.join()
    assert found == ["run:1"]
    assert runs.has_made("blake3:2")


def test_a_failure_is_that_of_all_and_what_was_given_up_is_tried_again():
    runs = shared()
    assert runs.claim("a") is None
    runs.settle("a", failed="a failed")
    with pytest.raises(DvliteError, match="a failed in another variant"):
        runs.claim("a")
    assert runs.claim("b") is None
    runs.settle("b")
    assert runs.claim("b") is None
