"""`import-dvc`: a repository of DVC becomes one of dvlite, whole or not at all."""

import json
import shutil
import subprocess

import pytest

from dvlite.store.remote import open_store
from dvlite.store.retry import RetryBudget
from dvlite.store.url import parse_url
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


def test_links_into_the_cache_of_dvc_become_files(project, theirs):
    name = theirs.folder({"a": b"a\n"})
    theirs.track("d", name)
    project.write(".gitignore", b"/d\n")
    project.commit()
    (project.root / "d").mkdir()
    inner = md5(b"a\n")
    (project.root / "d/a").symlink_to(project.root / ".dvc/cache/files/md5" / inner[:2] / inner[2:])
    (project.root / "d/mine").symlink_to("a")
    project.dvlite("import-dvc")
    project.dvlite("checkout", code=None)
    assert not (project.root / "d/a").is_symlink()
    assert project.read("d/a") == b"a\n"
    assert (project.root / "d/mine").is_symlink()


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
    assert "gone.dvc is not imported" in printed
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


PIPELINE = b"""\
stages:
  prep:
    cmd: cp d/a p.txt
    deps: [d]
    params: [lr, net]
    outs: [p.txt]
  lang:
    foreach: [us, uk]
    do:
      cmd: cat p.txt > out/${item}
      deps: [p.txt]
      outs:
        - out/${item}
  train:
    wdir: w
    cmd: [python train.py, date]
    deps: [../p.txt, train.py, lib]
    metrics:
      - m.json:
          cache: false
"""


def locked(path, name):
    return f"    - {{path: {path}, hash: md5, md5: {name}}}\n"


@pytest.fixture
def pipeline(project, theirs):
    """Returns a pipeline of which nothing has to run, without its data on disk."""
    theirs.track("d", folder := theirs.folder({"a": b"a\n"}))
    made, metric, code, lib = theirs.put(b"a\n"), b'{"acc": 1}\n', b"print(1)\n", b"x = 1\n"
    rows = json.dumps([{"md5": md5(lib), "relpath": "x.py"}]).encode()
    lock = (
        "schema: '2.0'\nstages:\n"
        f"  prep:\n    cmd: cp d/a p.txt\n    deps:\n{locked('d', folder)}"
        "    params:\n      params.yaml: {lr: 0.1, net: {depth: 3}}\n"
        f"    outs:\n{locked('p.txt', made)}"
    )
    for item in ("us", "uk"):
        lock += f"  lang@{item}:\n    cmd: cat p.txt > out/{item}\n    deps:\n{locked('p.txt', made)}    outs:\n{locked(f'out/{item}', made)}"
    lock += f"  train:\n    cmd:\n    - python train.py\n    - date\n    deps:\n{locked('../p.txt', made)}{locked('train.py', md5(code))}"
    lock += f"{locked('lib', md5(rows) + '.dir')}    outs:\n{locked('m.json', md5(metric))}"
    files = {"params.yaml": b"lr: 0.1\nnet: {depth: 3}\n", "w/train.py": code, "w/lib/x.py": lib, "w/m.json": metric}
    for name, data in {"dvc.yaml": PIPELINE, "dvc.lock": lock.encode(), **files}.items():
        project.write(name, data)
    project.commit()
    return project


def test_nothing_runs_again_after_the_move(pipeline):
    result = pipeline.json("import-dvc")
    assert result["stages"] == ["prep", "lang@us", "lang@uk", "train"]
    assert not result["warnings"]
    assert not pipeline.has("dvc.lock")
    pipeline.commit()
    assert {row["state"] for row in pipeline.json("repro", "-n")["stages"]} == {"up to date"}
    pipeline.dvlite("checkout")
    assert pipeline.read("out/uk") == b"a\n"
    assert {row["state"] for row in pipeline.json("repro", "-n")["stages"]} == {"up to date"}
    assert pipeline.is_clean()
    assert " d " in pipeline.dvlite("lineage", "out/uk").stdout  # from the last stage back to the data
    assert {row["status"] for row in pipeline.json("runs")["runs"]} == {"asserted"}
    assert pipeline.json("runs", "-s", "train")["runs"][0]["metrics"] == {"w/m.json:acc": 1}
    pipeline.dvlite("fsck")


def test_what_changed_since_dvc_ran_it_runs_as_it_would_have(pipeline):
    pipeline.write("w/lib/x.py", b"x = 2\n")
    pipeline.write("params.yaml", b"lr: 0.2\nnet: {depth: 3}\n")
    pipeline.commit()
    warned = pipeline.json("import-dvc")["warnings"]
    assert ["w/lib" in text for text in warned] == [False, True]
    printed = pipeline.dvlite("repro", "-n", code=1).stdout
    assert "lr 0.1 -> 0.2" in printed
    assert "w/lib" in printed


def test_a_pipeline_file_in_the_way_stops_the_import(pipeline):
    pipeline.write("dvlite.yaml", b"stages: {}\n")
    pipeline.commit()
    assert "is there already" in pipeline.dvlite("import-dvc", code=2).stderr
    pipeline.git("rm", "-q", "dvlite.yaml")
    pipeline.write("d/a", b"mine\n")
    pipeline.dvlite("add", "d")
    pipeline.commit()
    assert "two tools track one path" in pipeline.dvlite("import-dvc", code=2).stderr
    assert pipeline.is_clean()


def test_what_the_cache_lacks_comes_from_the_remote_that_the_user_approved(project, tmp_path):
    theirs = DvcRepository(project, store="../far")
    theirs.track("d", theirs.folder({"a": b"a\n"}))
    project.commit()
    refused = project.dvlite("import-dvc", code=1).stderr
    assert "has not approved" in refused
    assert project.is_clean()
    project.dvlite("remote", "trust", tmp_path / "far")
    project.dvlite("import-dvc")
    project.dvlite("checkout")
    assert project.read("d/a") == b"a\n"


def test_a_bucket_of_dvc_is_read_with_the_keys_of_its_config_which_stay_there(project, weed, s3_url, monkeypatch):
    options = weed.options() | {"endpoint_url": weed.endpoint_url}
    store = open_store(parse_url(s3_url, project.root), options, budget=RetryBudget(10), connections=1)
    theirs = DvcRepository(project, store="kept")
    theirs.track("large.bin", name := theirs.put(LARGE))
    store.put(f"files/md5/{name[:2]}/{name[2:]}", LARGE)
    store.close()
    shutil.rmtree(project.root / "kept")
    place = f"[core]\nremote = far\n['remote \"far\"']\nurl = {s3_url}\nendpointurl = {weed.endpoint_url}\n"
    keys = f"['remote \"far\"']\naccess_key_id = {weed.access_key_id}\nsecret_access_key = {weed.secret_access_key}\n"
    project.write(".dvc/config", place.encode())
    project.write(".dvc/config.local", keys.encode())
    project.commit()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "has not approved" in project.dvlite("import-dvc", code=1).stderr
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    project.dvlite("import-dvc")
    project.dvlite("checkout")
    assert project.read("large.bin") == LARGE
    project.git("commit", "-qm", "Move")
    assert weed.secret_access_key not in project.git("show", "HEAD")


@pytest.mark.parametrize("url", ["gs://bucket/x", "https://me:secret@example.com/x", "ssh://me@host/x"])
def test_a_remote_that_is_not_read_is_named_without_its_secrets(project, theirs, url):
    theirs.track("x", md5(b"x"))
    project.write(
        ".dvc/config.local",
        f"[core]\nremote = far\n['remote \"far\"']\n    url = {url}\n    password = secret\n".encode(),
    )
    project.commit()
    printed = project.dvlite("import-dvc", code=2).stderr
    assert "remote 'far' of DVC" in printed
    assert "secret" not in printed


REAL = """\
vars:
  - models: {svm: {c: 1}, rf: {c: 2}}
stages:
  prep:
    cmd: |
      cat data/sub/b.txt > p.txt
      echo more >> p.txt
    deps: [data/sub]
    params: [lr, net]
    outs: [p.txt]
  grid:
    matrix:
      m: [svm, rf]
      lr: [0.1, 0.2]
    cmd: echo ${item.m} ${item.lr} ${net.kind} > grid-${item.m}-${item.lr}.txt
    deps: [p.txt]
    outs:
      - grid-${item.m}-${item.lr}.txt
  each:
    foreach: ${models}
    do:
      wdir: w
      cmd: mkdir -p m-${key} && echo ${item.c} > m-${key}/c && echo '{"acc":1}' > ${key}.json
      deps: [../src]
      outs:
        - m-${key}: {persist: true}
      metrics:
        - ${key}.json: {cache: false}
"""


@pytest.mark.long
@pytest.mark.parametrize("more", ["", "  last:\n    cmd: echo ${net} > last.txt\n    outs: [last.txt]\n"])
def test_what_dvc_itself_made_is_up_to_date_and_equal(project, monkeypatch, more):
    if shutil.which("dvc") is None:
        pytest.skip("dvc is not installed")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    files = {
        "data/a.txt": b"a\n",
        "data/sub/b.txt": b"b\r\n",
        "large.bin": LARGE,
        "src/x.py": b"x = 1\n",
        "w/.keep": b"",
    }
    files |= {"params.yaml": b"lr: 0.1\nnet: {kind: mlp, depth: 3}\n", "dvc.yaml": (REAL + more).encode()}
    for name, data in files.items():
        project.write(name, data)
    for words in (["init", "-q"], ["add", "-q", "data", "large.bin"], ["repro", "-q"]):
        subprocess.run(["dvc", *words], cwd=project.root, check=True, capture_output=True)
    project.commit()
    made = ["p.txt", "grid-rf-0.2.txt", "w/m-svm/c", "data/sub/b.txt", "large.bin"]
    before = {path: project.read(path) for path in made}
    project.dvlite("import-dvc")
    project.commit()
    project.dvlite("repro", "-n")
    for path in ("p.txt", "w/m-svm", "w/m-rf", "data", "large.bin"):
        shutil.rmtree(project.root / path, ignore_errors=True)
        (project.root / path).unlink(missing_ok=True)
    project.dvlite("checkout")
    assert {path: project.read(path) for path in made} == before
    project.dvlite("repro", "-n")
    project.dvlite("verify")
