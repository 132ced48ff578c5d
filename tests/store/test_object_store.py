"""Names of objects: lower case, nothing hidden, nothing that climbs."""

import pytest

from dvlite.errors import FormatError, RemoteError
from dvlite.store.object_store import ObjectAbsent, Transient, is_name, require_name, require_prefix
from tests.store.contract import BAD_NAMES


@pytest.mark.parametrize("name", ["config", "packs/ab12", "runs/0f/1-2_3.x", "a" * 512])
def test_names_of_objects(name):
    assert is_name(name)
    require_name(name)
    require_prefix(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_is_refused_in_one_short_line(name):
    assert not is_name(name)
    with pytest.raises(FormatError) as caught:
        require_name(name)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


def test_a_prefix_may_be_empty_or_end_at_a_slash():
    for prefix in ("", "packs/", "packs/a"):
        require_prefix(prefix)
    for prefix in ("/", "../", "a//", "A", "a/../b"):
        with pytest.raises(FormatError):
            require_prefix(prefix)


def test_an_absent_object_and_a_failure_that_may_pass_are_errors_of_the_remote():
    assert issubclass(Transient, RemoteError)
    assert ObjectAbsent("packs/a", "s3://b").name == "packs/a"
