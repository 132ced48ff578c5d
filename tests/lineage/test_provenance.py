"""Where content comes from, by pointers, lockfiles, notes and git."""

from dvlite.formats.record import Code, Input
from dvlite.runs.queries import Artefact
from tests.runs.recorded import name, note, oid, run


def test_runs_that_a_lockfile_on_disk_names_rank_first_then_those_of_any_commit(provenance_of, project):
    now, before, other = run(1), run(2), run(3)
    for text in (f"    run: {name(before)}\n", f"    run: {name(now)}\n"):
        project.write("dvlite.lock", text)
        project.commit("Lock")
    provenance = provenance_of(now, before, other, root=project.root)
    assert [provenance.rank(name(one)) for one in (now, before, other)] == [0, 1, 2]
    commit = project.git("rev-parse", "HEAD").strip()
    assert [provenance.commit_of_run(name(one)) for one in (now, other)] == [commit, None]


def test_without_a_clone_the_commit_of_a_run_is_the_oldest_noted_one(provenance_of):
    one = run(1)
    provenance = provenance_of(one, note(one, "commit", "a" * 40, minute=2), note(one, "commit", "b" * 40, minute=1))
    assert provenance.commit_of_run(name(one)) == "b" * 40
    assert provenance.rank(name(one)) == 1


def test_tracked_content_is_data_of_the_first_commit_with_its_pointer(provenance_of, project):
    project.write("model.bin", "x" * 100)
    project.dvlite("add", "model.bin")
    project.commit("Track it")
    first = project.git("rev-parse", "HEAD").strip()
    project.write("model.bin", "y" * 100)
    project.dvlite("add", "model.bin")
    provenance = provenance_of(root=project.root)
    old, new = [version.pointer.oid for version in provenance._history.versions()], provenance.pointers_starting("")
    (uncommitted,) = set(new) - set(old)
    source = provenance.source(Artefact(old[0], "elsewhere", 100), None)
    assert (source.origin, source.commit) == ("data", first)
    source = provenance.source(Artefact(uncommitted, "", 100), None)
    assert (source.origin, source.commit) == ("data", None)
    assert provenance.named_now(uncommitted) == ["model.bin"]
    assert provenance.is_tracked_now("model.bin")
    assert provenance.named(old[0]).path == "model.bin"


def test_small_content_is_tracked_only_under_its_own_path(provenance_of, project):
    project.write("empty", "")
    project.dvlite("add", "empty")
    project.commit("Track it")
    provenance = provenance_of(root=project.root)
    (content,) = provenance.pointers_starting("")
    assert provenance.source(Artefact(content, "empty", 0), None).origin == "data"
    assert provenance.source(Artefact(content, "src/__init__.py", 0), None).origin == "unknown"


def test_files_of_git_are_code_now_or_at_the_commit_of_a_run_that_read_them(provenance_of, project):
    project.write("old.py", "1")
    project.write("src/a.py", "1")
    project.commit("Code")
    user = run(1, code=Code(commit=project.git("rev-parse", "HEAD").strip()))
    project.git("rm", "-q", "old.py")
    project.commit("Remove it")
    provenance = provenance_of(user, root=project.root)
    for path, reader, origin in (
        ("src/a.py", None, "code"),
        ("src", None, "code"),
        ("old.py", name(user), "code"),
        ("old.py", None, "unknown"),
        ("new.py", name(user), "unknown"),
        ("", name(user), "unknown"),  # an id of content, of which only the run knows a path
    ):
        assert provenance.source(Artefact(oid(path), path, 1), reader).origin == origin, path


def test_without_a_clone_noted_content_is_data_and_a_file_used_at_a_commit_is_code(provenance_of):
    user = run(1)
    data, file = oid("data", "manifest"), oid("file")
    provenance = provenance_of(user, note(user, "source", "c" * 40, content=data))
    assert provenance.source(Artefact(data, "data", 9), name(user)).commit == "c" * 40
    assert provenance.source(Artefact(file, "a.py", 9), name(user)).origin == "code"
    assert provenance.source(Artefact(file, "a.py", 9), None).origin == "unknown"
    assert provenance.source(Artefact(oid("other", "manifest"), "d", 9), name(user)).origin == "unknown"


def test_the_holder_that_a_run_recorded_needs_no_listing(provenance_of):
    folder = oid("folder", "manifest")
    item = Input(path="d/a", oid=oid("a"), size_bytes=9, inside="d", inside_oid=folder)
    whole = Input(path="d", oid=folder, size_bytes=500, files=3)
    provenance = provenance_of(run(1, inputs=(item,)), run(2, inputs=(whole,)))
    artefact = Artefact(oid("a"), "d/a", 9, 1, ("d", folder))
    assert provenance.holders(artefact, every=False) == (Artefact(folder, "d", 500, 3),)
    assert provenance.parts(Artefact(folder, "d", 500, 3), outputs=False) == [Artefact(oid("a"), "d/a", 9)]
