"""Errors of dvlite that readers of files take for errors of the system."""

import errno

import pytest

from dvlite.errors import Dropped, ObjectCorrupt, ObjectMissing, PartlyDone, RemoteError, Untrusted, UsageError
from dvlite.reading.os_errors import as_os_error, as_os_errors
from dvlite.workspace.purged import Purged


@pytest.mark.parametrize("kind", [Untrusted, RemoteError, ObjectMissing, ObjectCorrupt, PartlyDone, Purged])
def test_an_error_about_stored_bytes_is_one_of_the_system_too_and_no_absent_file(kind):
    error = kind("it is lost", hint="dvlite pull")
    with pytest.raises(OSError) as caught, as_os_errors("data/a"):
        raise error
    both = caught.value
    family = PartlyDone if kind is Purged else kind
    assert isinstance(both, family)
    assert not isinstance(both, FileNotFoundError)
    assert isinstance(both, PermissionError) == (kind is Untrusted)
    assert (both.exit_code, both.hint, both.__cause__) == (error.exit_code, "dvlite pull", error)
    assert (both.errno, both.filename) == (errno.EIO, "data/a")
    assert str(both) == ("it is lost" if family is PartlyDone else "cannot read 'data/a': it is lost")
    assert as_os_error(both, "data/b") is both


def test_a_version_that_was_dropped_names_itself():
    assert str(as_os_error(Dropped("'data'", "keep.days"), "data")) == "'data': dropped by keep.days"


def test_an_error_about_something_else_stays_what_it_is():
    error = UsageError("no such revision")
    assert as_os_error(error, "data/a") is error
