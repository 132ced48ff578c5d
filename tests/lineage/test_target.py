"""What an argument of a lineage command names: in a work tree, and without one."""

import pytest

from dvlite.errors import DvliteError, UsageError
from dvlite.formats.record import Output
from dvlite.lineage.target import find_target
from dvlite.oid import FILE, Oid, digest_bytes, format_oid
from tests.runs.recorded import name, oid, run


def test_content_and_runs_are_found_by_their_ids(provenance_of):
    one = run(1)
    provenance = provenance_of(one)
    model, sha256 = oid("model 1"), oid("sha 1")[7:]
    for text in (model, model[7:15], model[:20], sha256, f"sha256:{sha256[:8]}", model.upper()[7:20]):
        target = find_target(text, provenance)
        assert (target.oid, target.size_bytes, target.files) == (model, 9000, 1), text
    for text in (name(one), f"train-{name(one)[4:10]}", "last", "last:train", f"run:{name(one)[4:10]}"):
        target = find_target(text, provenance)
        assert (target.oid, target.is_run) == (name(one), True), text


def test_content_that_no_run_names_is_itself(provenance_of):
    target = find_target(oid("elsewhere"), provenance_of())
    assert (target.oid, target.size_bytes) == (oid("elsewhere"), None)
    assert target.artefact().size_bytes == 0


@pytest.mark.parametrize(
    "text", ["nothing", "deadbeef", "train-000000", "HEAD:model.pt", "run:" + "0" * 64, "a\0b", ""]
)
def test_what_names_nothing_is_refused(provenance_of, text):
    with pytest.raises(UsageError):
        find_target(text, provenance_of(run(1)))


def test_a_stage_is_refused_with_its_newest_run(provenance_of):
    with pytest.raises(UsageError) as error:
        find_target("train", provenance_of(run(1)))
    assert error.value.hint == "it is a stage; its newest run: dvlite lineage last:train"


def test_an_unknown_sha256_says_how_many_runs_were_searched(provenance_of):
    with pytest.raises(
        DvliteError, match=r"no run in this clone made content with the sha256 00000000 \(1 run searched\)"
    ):
        find_target("sha256:" + "0" * 8, provenance_of(run(1)))


def test_an_ambiguous_prefix_lists_what_it_may_mean(provenance_of):
    outputs = [Output(path=f"{i}", oid=Oid(f"blake3:{'ab' * 4}{i:056x}"), size_bytes=1) for i in range(6)]
    with pytest.raises(UsageError, match=r"'abababab' may mean 6 things: blake3:ab.* and 2 more"):
        find_target("ab" * 4, provenance_of(run(1, outputs=tuple(outputs))))


def test_a_file_on_disk_comes_before_an_id_of_its_name(provenance_of, tmp_path):
    provenance = provenance_of(run(1))
    (tmp_path / "empty" / oid("model 1")[7:15]).write_text("a file")
    target = find_target(oid("model 1")[7:15], provenance)
    assert (target.oid, target.size_bytes, target.path) == (format_oid(FILE, digest_bytes(b"a file")), 6, "")


def test_a_folder_outside_of_the_repository_is_hashed_without_what_add_ignores(provenance_of, tmp_path):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "a").write_text("1")
    provenance = provenance_of()
    clean = find_target(str(folder), provenance)
    (folder / ".DS_Store").write_text("ignored")
    assert find_target(str(folder), provenance).oid == clean.oid
    assert (clean.files, clean.size_bytes) == (1, 1)
    assert clean.nodes


def test_a_file_of_git_is_found_at_a_revision(provenance_of, project):
    project.write("src/train.py", "1")
    project.commit("One")
    project.write("src/train.py", "22")
    provenance = provenance_of(root=project.root)
    committed = find_target("HEAD:src/train.py", provenance)
    assert (committed.oid, committed.path) == (format_oid(FILE, digest_bytes(b"1")), "src/train.py")
    assert find_target("src/train.py", provenance).size_bytes == 2
    with pytest.raises(UsageError, match="is not tracked at 'HEAD'"):
        find_target("HEAD:nothing", provenance)


def test_a_tracked_path_is_found_without_its_file_and_inside_a_directory(provenance_of, project):
    project.write("data/a", "1")
    project.dvlite("add", "data")
    (project.root / "data/a").unlink()
    (project.root / "data").rmdir()
    provenance = provenance_of(root=project.root)
    assert find_target("data", provenance).files == find_target("data.dvlite", provenance).files
    with pytest.raises(UsageError, match="nothing in 'data' is named 'b'"):
        find_target("data/b", provenance)


def test_the_repository_and_a_folder_of_several_tracked_paths_are_refused(provenance_of, project):
    for path in ("data/a", "data/b"):
        project.write(path, path)
        project.dvlite("add", path)
    provenance = provenance_of(root=project.root)
    for text in (".", "..", "/"):
        with pytest.raises(UsageError, match="contains the whole repository"):
            find_target(text, provenance)
    with pytest.raises(UsageError, match="is not tracked as a whole, it contains 'data/a' and 1 more"):
        find_target("data", provenance)
