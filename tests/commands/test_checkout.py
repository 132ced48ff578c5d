"""`dvlite checkout`: pointers of another revision come with the lines that keep git away from their data."""


def test_the_pointer_of_an_old_commit_comes_after_its_ignore_line(project):
    for path in ("a/x.bin", "b/y.bin"):
        project.write(path, path)
    project.dvlite("add", "a/x.bin", "b/y.bin")
    project.commit("Add both")
    project.dvlite("rm", "a/x.bin", "b/y.bin")
    project.commit("Remove both")
    (project.root / "b").mkdir()
    (project.root / "b" / ".gitignore").symlink_to("../elsewhere")
    project.dvlite("checkout", "--rev", "HEAD~1", code=1)
    assert not project.has("a/x.bin.dvlite")
    assert not project.has("b/y.bin.dvlite")
    (project.root / "b" / ".gitignore").unlink()
    project.dvlite("checkout", "--rev", "HEAD~1")
    assert (project.read("a/.gitignore"), project.read("b/.gitignore")) == (b"/x.bin\n", b"/y.bin\n")
    assert project.read("b/y.bin") == b"b/y.bin"
