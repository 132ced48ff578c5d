"""New objects, and history written again, as git sees them."""

import pytest

from dvlite.formats import git_objects
from dvlite.git.rewrite import GitObjects, rewrite
from dvlite.progress import NullProgress
from tests.git.repositories import commit, git, opened


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_git_takes_new_objects_and_finds_nothing_wrong(algorithm, tmp_path):
    git(tmp_path, "init", "-q", f"--object-format={algorithm}", ".")
    program = opened(tmp_path)
    contents = [b"", b"x", bytes(15), bytes(16), b"ab" * 1024, b"\0\1\2" * 700_000]
    with GitObjects(program, tmp_path) as objects:
        blobs = [objects.add("blob", data) for data in (*contents, *contents)]
        names = [b"a", b"a.b", b"a-b", b"ab", b"a0", b"\xff\n"]
        items = [(git_objects.ORDINARY, name, blob) for name, blob in zip(names, blobs, strict=False)]
        inner = objects.add("tree", git_objects.dump_tree(items))
        outer = objects.add("tree", git_objects.dump_tree([*items[1:], (git_objects.FOLDER, b"a", inner)]))
        line = b"A <a@example.com> 1700000000 +0000"
        head = b"tree %b\nauthor %b\ncommitter %b\n\nx\n" % (outer.hex().encode(), line, line)
        named = objects.add("commit", head)
        objects.store()
        assert len(git_objects.parse_tree(objects.read(outer)[1], objects.name_bytes)) == 6
    program.run("update-ref", "refs/heads/main", named.hex())
    assert b"error" not in program.run("fsck", "--strict")
    assert [program.run("cat-file", "blob", blob.hex()) for blob in blobs[:6]] == contents
    listed = program.run("ls-tree", "--name-only", "-z", "refs/heads/main").split(b"\0")
    assert listed == [b"a-b", b"a.b", b"a", b"a0", b"ab", b"\xff\n", b""]


def test_commits_and_tags_whose_trees_stay_keep_their_names(git_repo):
    commit(git_repo, {"file": "x"})
    git(git_repo, "tag", "-am", "Annotated", "inner")
    git(git_repo, "tag", "-am", "Of a tag", "outer", "inner")
    program = opened(git_repo)
    refs = {ref: git(git_repo, "rev-parse", ref).strip() for ref in ("HEAD", "inner", "outer")}
    with GitObjects(program, git_repo) as objects:
        same = rewrite(program, refs, lambda tree: tree, objects, NullProgress())
        assert (same.commits, same.refs, same.signed) == ({}, {}, 0)
        empty = objects.add("tree", b"")
        other = rewrite(program, refs, lambda _: empty, objects, NullProgress())
        objects.store()
    assert set(other.refs) == set(refs)
    new = {ref: name.hex() for ref, (_, name) in other.refs.items()}
    assert git(git_repo, "cat-file", "-t", new["outer"]).strip() == "tag"
    peeled = {git(git_repo, "rev-parse", f"{name}^{{commit}}").strip() for name in new.values()}
    assert peeled == {new["HEAD"]}
    assert git(git_repo, "log", "--format=%an%ae%at%cn%ct%B", new["HEAD"]) == git(
        git_repo, "log", "--format=%an%ae%at%cn%ct%B"
    )
