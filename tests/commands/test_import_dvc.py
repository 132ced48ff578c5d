"""`import-dvc`: a repository of DVC becomes one of dvlite, whole or not at all."""

import json

import pytest

from tests.commands.dvc_repository import DvcRepository, md5

LARGE = bytes(range(256)) * 8192  # 2 MiB: a file of its own in the cache


@pytest.fixture
def theirs(project):
    return DvcRepository(project)


def test_files_and_directories_are_tracked_with_what_dvc_says_of_them(project, theirs):
    theirs.track(
        "data/birds", theirs.folder({"a.txt": b"a\n", "sub/é.txt": b"b\n"}), "  desc: Birds\n  meta: {owner: me}\n"
    )
    theirs.track("large.bin", theirs.put(LARGE), "  isexec: true\n")
    old = b"x\r\ny\r\n"  # as DVC 2 names texts: by their lines
    project.write(".dvc/cache/" + (name := md5(b"x\ny\n"))[:2] + "/" + name[2:], old)
    project.write("old.txt.dvc", f"outs:\n- md5: {name}\n  path: old.txt\n".encode())
    project.write(".dvcignore", b"# ours\n*.tmp\n")
    project.commit()
    before = project.tracked()
    planned = project.json("import-dvc", "-n")
    assert (len(planned["paths"]), planned["staged"], project.tracked()) == (3, [], before)
    result = project.json("import-dvc")
    assert {row["path"]: row["files"] for row in result["paths"]} == {"data/birds": 2, "large.bin": 1, "old.txt": 1}
    assert result["absent"]
    assert not project.has("large.bin.dvc")
    assert b"owner" in project.read("data/birds.dvlite")
    assert b"*.tmp" in project.read(".dvliteignore")
    project.commit()
    project.dvlite("checkout")
    assert (project.read("data/birds/sub/é.txt"), project.read("large.bin"), project.read("old.txt")) == (
        b"b\n",
        LARGE,
        old,
    )
    assert project.json("status", "--exit-code")["clean"]
    project.git("revert", "--no-edit", "HEAD")
    assert project.has("large.bin.dvc")
    assert not project.has("large.bin.dvlite")


def test_an_import_remembers_its_source_and_no_credentials(project, theirs):
    commit = "5" * 40
    deps = "deps:\n- path: data/img\n  repo: {{url: '{}', rev: main, rev_lock: {}}}\nfrozen: true\n"
    theirs.track("img", theirs.put(b"img"), deps.format("https://example.com/acme/data", commit))
    theirs.track("secret", theirs.put(b"s"), deps.format("https://me:pass@example.com/acme/data", commit))
    theirs.track("web", theirs.put(b"web"), "deps:\n- path: https://example.com/a.csv\n  etag: '\"1\"'\n")
    project.commit()
    result = project.json("import-dvc")
    assert b'repository: "https://example.com/acme/data"' in project.read("img.dvlite")
    assert b"etag" in project.read("web.dvlite")
    assert b"pass" not in project.read("secret.dvlite")
    assert "pass" not in json.dumps(result)
    assert "secret" in result["warnings"][0]


def test_data_that_is_nowhere_whole_stops_the_import_or_stays_with_dvc(project, theirs):
    theirs.track("here", theirs.put(b"here"))
    theirs.track("gone", md5(b"gone"))
    theirs.track("flipped", theirs.put(b"other", name=md5(b"flipped")))
    theirs.track("large", theirs.put(LARGE[:-1] + b"!", name=md5(LARGE)))
    project.commit()
    before = project.tracked()
    assert "is damaged" in project.dvlite("import-dvc", code=13).stderr
    assert project.tracked() == before
    assert project.is_clean()
    printed = project.dvlite("import-dvc", "--allow-missing", code=3).stdout
    assert "gone.dvc stays with DVC" in printed
    assert project.has("gone.dvc")
    assert not project.has("here.dvc")
    assert not project.has("flipped.dvlite")
    assert not project.has("large.dvlite")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"md5": "0" * 32, "relpath": "../../x"}], "'..' part"),
        ([{"md5": "0" * 32, "relpath": ".git/hooks/x"}], ".git"),
        ([{"md5": "0" * 32, "relpath": "a"}, {"md5": "1" * 32, "relpath": "a"}], "twice"),
        ([{"md5": "../../../etc/passwd", "relpath": "a"}], "malformed"),
        ({"a": 1}, "not a listing"),
    ],
)
def test_a_hostile_listing_changes_nothing(project, theirs, rows, complaint):
    theirs.track("d", theirs.put(json.dumps(rows).encode(), ".dir"))
    project.commit()
    assert complaint in project.dvlite("import-dvc", code=1).stderr
    assert project.is_clean()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("outs:\n- path: ../../up\n", "outside the repository"),
        ("outs:\n- path: .git/x\n", "cannot be tracked"),
        ("outs:\n- path: x\n  md5: ../../../../etc/passwd\n", "malformed"),
        ("outs: 1\n", "must be a list"),
        ("outs: [*a]\n", "no anchor"),
    ],
)
def test_a_hostile_file_is_refused_before_anything_is_read(project, theirs, text, complaint):
    project.write("x.dvc", text.encode())
    project.commit()
    assert complaint in project.dvlite("import-dvc", code=1).stderr


def test_what_git_could_not_bring_back_is_refused(project, theirs):
    assert "no files of DVC" in project.dvlite("import-dvc", code=2).stderr
    theirs.track("x", theirs.put(b"x"))
    assert "not as in the last commit" in project.dvlite("import-dvc", code=2).stderr
