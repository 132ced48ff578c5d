"""The outputs of a stage around a run: aside, collected, put back, restored; no byte is lost on the way."""

import os
import shutil

import pytest

from dvlite.errors import FormatError, UsageError
from dvlite.pipeline.outputs import Outputs, is_cached
from dvlite.progress import NullProgress
from dvlite.repo.repository import open_cache
from dvlite.workspace.workspace import Workspace
from tests.commands.project import tree

MAKE = "make: {cmd: x, outs: [file, dir, {path: state, persist: true}]}"


@pytest.fixture
def made(place):
    """A file, a folder and a persistent file, as their stage left them; returns the place, the stage and the versions."""
    place.write("file", "1", executable=True)
    place.write("dir/sub/a", "1")
    (place.root / "dir/empty").mkdir()
    (place.root / "dir/link").symlink_to("sub/a")
    place.write("state", "1")
    stage = place.stage(MAKE)
    return place, stage, [version for _, version in place.outputs.collect(stage)]


def here(place):
    return {path: found for path, found in tree(place.root).items() if path.startswith(("file", "dir", "state"))}


def test_outputs_are_set_aside_but_for_those_that_persist(made):
    place, stage, versions = made
    moved = []
    place.outputs.set_aside(stage, versions, moved)
    assert [aside.path for aside in moved] == ["file", "dir"]
    assert list(here(place)) == ["state"]


def test_what_was_set_aside_comes_back_as_it_was(made):
    place, stage, versions = made
    before, moved = here(place), []
    place.outputs.set_aside(stage, versions, moved)
    place.outputs.put_back(moved)
    assert here(place) == before
    assert place.outputs.collect(stage)[0][1] == versions[0]


def test_what_is_gone_from_aside_comes_back_from_the_cache(made):
    place, stage, versions = made
    before, moved = here(place), []
    place.outputs.set_aside(stage, versions, moved)
    place.outputs.clear_leftovers()
    place.outputs.put_back(moved)
    assert here(place) == before


def test_what_a_failed_command_wrote_is_kept_and_the_old_outputs_are_back(made):
    place, stage, versions = made
    before, moved = here(place), []
    place.outputs.set_aside(stage, versions, moved)
    place.write("dir/partial", "half")
    kept = place.outputs.keep_partial(stage)
    place.outputs.put_back(moved)
    assert here(place) == before
    assert (place.root / kept / "dir/partial").read_text() == "half"


def test_nothing_written_keeps_nothing(made):
    place, stage, versions = made
    moved = []
    place.outputs.set_aside(stage, versions, moved)
    assert place.outputs.keep_partial(stage) is None


def test_putting_back_never_replaces_what_is_there(made):
    place, stage, versions = made
    moved = []
    place.outputs.set_aside(stage, versions, moved)
    place.write("file", "somebody's")
    place.outputs.put_back(moved)
    assert (place.root / "file").read_text() == "somebody's"


def test_edited_output_is_in_the_cache_before_it_is_moved(made):
    place, stage, versions = made
    place.write("file", "edited")
    place.contents.forget(["file"])
    moved = []
    place.outputs.set_aside(stage, versions, moved)
    assert moved[0].version.size_bytes == 6
    assert is_cached(place.work.cache, moved[0].version)
    assert [path.name[:5] for path in (place.repo.state_dir / "saved").iterdir()] == ["file-"]


def test_output_that_is_a_link_is_refused_and_what_was_moved_before_is_known(made):
    place, stage, versions = made
    shutil.rmtree(place.root / "dir")
    (place.root / "dir").symlink_to("file")
    place.contents.forget(["dir"])
    moved = []
    with pytest.raises(UsageError, match="symbolic link"):
        place.outputs.set_aside(stage, versions, moved)
    place.outputs.put_back(moved)
    assert (place.root / "file").read_text() == "1"


def test_output_that_is_not_there_is_an_error_with_its_line(place):
    place.write("a", "1")
    with pytest.raises(FormatError) as caught:
        place.outputs.collect(place.stage("one: {cmd: x, outs: [a, b]}"))
    assert "did not create 'b', which dvlite.yaml:2 lists" in caught.value.message
    assert (caught.value.file, caught.value.line) == ("dvlite.yaml", 2)


def test_pattern_collects_what_is_there_now(place):
    stage = place.stage("one: {cmd: x, outs: ['parts/*']}")
    place.write("parts/a", "1")
    place.write("parts/b", "2")
    assert [version.path for _, version in place.outputs.collect(stage)] == ["parts/a", "parts/b"]
    (place.root / "parts/a").unlink()
    assert [version.path for _, version in place.outputs.collect(stage)] == ["parts/b"]


def test_flags_of_the_pipeline_file_are_in_the_version(place):
    place.write("a", "1")
    stage = place.stage("one: {cmd: x, outs: [{path: a, cache: false, push: false}]}")
    ((_, version),) = place.outputs.collect(stage)
    assert (version.cache, version.push) == (False, False)


def test_restored_output_replaces_an_edit_that_is_kept(made):
    place, _, versions = made
    before = here(place)
    place.write("file", "edited")
    shutil.rmtree(place.root / "dir")
    place.contents.forget(["file", "dir"])
    assert place.outputs.restore(versions)
    assert here(place) == before
    assert list((place.repo.state_dir / "saved").iterdir())


def test_restore_says_no_when_bytes_are_gone(made):
    place, _, versions = made
    shutil.rmtree(place.work.cache.folder)
    (place.root / "file").unlink()
    place.contents.forget(["file"])
    fresh = Workspace(place.repo, open_cache(place.repo), NullProgress())
    outputs = Outputs(fresh, place.contents, lambda _oid: False)
    assert not is_cached(fresh.cache, versions[0])
    assert not outputs.restore(versions[:1])


def test_a_repository_in_an_output_is_left_out(place):
    place.write("out/.git/hooks/x", "1")
    place.write("out/data", "1")
    assert place.take("out").files == 1


def test_output_behind_a_link_is_refused(place, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/out").write_text("1")
    (place.root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        place.take("link/out")


def test_read_only_folder_is_moved_and_comes_back(place):
    place.write("dir/a", "1")
    stage = place.stage("one: {cmd: x, outs: [dir]}")
    ((_, version),) = place.outputs.collect(stage)
    (place.root / "dir").chmod(0o555)
    moved = []
    try:
        place.outputs.set_aside(stage, [version], moved)
        place.outputs.put_back(moved)
        assert (place.root / "dir/a").read_text() == "1"
    finally:
        os.chmod(place.root / "dir", 0o755)
