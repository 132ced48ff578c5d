"""`import-dvc`: a repository of DVC becomes one of dvlite, whole or not at all."""

import json
import shutil
import subprocess

import pytest

from dvlite.errors import DvliteError
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


def test_a_stopped_import_is_completed_by_the_next(project, theirs, monkeypatch):
    theirs.track("x", theirs.put(b"x"))
    project.write("dvc.yaml", b"stages:\n  a:\n    cmd: cp x y\n    deps: [x]\n    outs: [y]\n")
    project.write(".dvcignore", b"*.tmp\n")
    project.commit()

    def stop(*_, **__):
        raise DvliteError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("dvlite.repo.repository.Repo.stage", stop)
        project.dvlite("import-dvc", code=1)
    assert not project.has("x.dvc")
    project.dvlite("import-dvc")
    project.git("commit", "-qm", "Move")
    assert project.git("status", "--porcelain") == ""
    assert (project.tracked(), project.has("dvlite.yaml"), project.has("dvc.yaml")) == (["x"], True, False)


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
    shown = project.dvlite("import-dvc", code=1).stderr
    assert "cannot import 'd'" in shown
    assert complaint in shown
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
    theirs.track("data/x", theirs.put(b"x"))
    assert "not as in the last commit" in project.dvlite("import-dvc", code=2).stderr
    project.write(".gitignore", b"data/*\n!data/*.dvc\n")  # a pointer would be in no commit
    project.commit()
    assert "!*.dvlite" in project.dvlite("import-dvc", code=2).stderr
    assert project.is_clean()


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


@pytest.mark.parametrize("named", [False, True])
def test_what_the_cache_lacks_comes_from_a_remote_that_the_user_approved(project, tmp_path, named):
    theirs = DvcRepository(project, store="../far")
    theirs.track("d", theirs.folder({"a": b"a\n"}), "  remote: far\n" if named else "")
    if named:
        config = project.read(".dvc/config").replace(b"remote = far", b"remote = near")
        project.write(".dvc/config", config + b"['remote \"near\"']\n    url = near\n")
    project.commit()
    project.dvlite("remote", "trust", project.root / ".dvc/near")
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


TRAIN = b"""\
stages:
  train:
    cmd: python train.py
    deps: [d/a]
    params: [lr, conf.py: [N, Net.depth]]
    outs: [m.bin]
    metrics:
      - acc.json: {cache: false}
"""


@pytest.fixture
def released(project, theirs):
    """Returns a repository of DVC with two releases, v1 and v2, of a model, and a commit after them."""
    project.write("dvc.yaml", TRAIN)
    project.write("conf.py", b"N = 3\nclass Net:\n    depth = 2\n")
    project.write(".gitignore", b"/d\n/m.bin\n")
    for number in (1, 2):
        data, model, metric = b"%d\n" % number, b"model %d" % number * 20, b'{"acc": 0.%d}\n' % number
        theirs.track("d", theirs.folder({"a": data, "b": b"same"}))
        lock = "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    deps:\n" + locked("d/a", md5(data))
        lock += (
            f"    params:\n      params.yaml: {{lr: 0.{number}}}\n      conf.py: {{N: 3, Net.depth: 2}}\n    outs:\n"
        )
        lock += locked("acc.json", md5(metric)) + locked("m.bin", theirs.put(model))
        files = {"params.yaml": b"lr: 0.%d\n" % number, "acc.json": metric, "dvc.lock": lock.encode()}
        for name, content in files.items():
            project.write(name, content)
        project.commit(f"Release {number}")
        project.git("tag", f"v{number}")
    project.write("README", b"\n")
    project.commit()
    return project


def test_history_gets_copies_that_answer_for_old_versions(released):
    refs = released.git("for-each-ref")
    assert released.json("import-dvc", "--all-history", "-n")["copies"] == 3
    assert released.git("for-each-ref") == refs
    result = released.json("import-dvc", "--all-history")
    assert (result["copies"], result["branch"], result["left"]) == (3, "from-dvc", {})
    released.git("commit", "-qm", "Move")
    assert {row["state"] for row in released.json("repro", "-n")["stages"]} == {"up to date"}
    versions = released.json("log", "m.bin")["versions"]
    assert [(row["commit"]["subject"], row["metrics"]) for row in versions] == [
        ("Release 2", {"acc.json:acc": 0.2}),
        ("Release 1", {"acc.json:acc": 0.1}),
    ]
    assert len(released.json("log", "d/a", "--rev", "v1")["versions"]) == 1
    (run,) = released.json("lineage", "v1:m.bin")["up"]["runs"]
    assert run["code_commit"] == released.git("rev-parse", "v1").strip()
    assert [item["path"] for item in run["inputs"]] == ["conf.py", "d/a"]
    assert run["params"] == {"params.yaml:lr": 0.1}
    assert len(released.json("runs")["runs"]) == 2  # the work tree has that of the last release
    for number in (1, 2):
        released.dvlite("get", ".", "m.bin", "--rev", f"v{number}", "-o", f"../m{number}")
        assert released.read(f"../m{number}") == b"model %d" % number * 20
    released.dvlite("verify", "--rev", "from-dvc~2")
    assert "from-dvc" in released.dvlite("import-dvc", "--all-history", code=2).stderr
    released.git("branch", "-D", "from-dvc")
    assert released.git("for-each-ref", "refs/tags") in refs
    assert released.json("import-dvc", "--rev-range", "v1..HEAD")["copies"] == 2  # after the move, too
    assert len(released.json("runs")["runs"]) == 2


def test_what_of_history_is_nowhere_or_hostile_is_left_with_its_commit(released, theirs):
    name = md5(b"model 1" * 20)
    (released.root / f".dvc/cache/files/md5/{name[:2]}/{name[2:]}").unlink()
    released.write("x.dvc", b"outs:\n- path: ../x\n")
    theirs.track("e", theirs.put(json.dumps([{"md5": "0" * 32, "relpath": "../../x"}]).encode(), ".dir"))
    released.commit("Hostile")
    released.git("rm", "-q", "x.dvc", "e.dvc")
    released.commit()
    refs, v1, hostile = released.git("for-each-ref"), *released.git("rev-parse", "v1", "HEAD^").split()
    assert "m.bin" in released.dvlite("import-dvc", "--all-history", code=12).stderr
    assert (released.git("for-each-ref"), released.is_clean()) == (refs, True)
    left = released.json("import-dvc", "--all-history", "--allow-missing", code=3)["left"]
    assert {*left} == {f"{hostile[:8]}:x.dvc", f"{hostile[:8]}:e", f"{v1[:8]}:m.bin"}
    released.dvlite("get", ".", "d", "--rev", "v1", "-o", "../d1")
    assert released.read("../d1/a") == b"1\n"


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
@pytest.mark.usefixtures("real_dvc")
@pytest.mark.parametrize("more", ["", "  last:\n    cmd: echo ${net} > last.txt\n    outs: [last.txt]\n"])
def test_what_dvc_itself_made_is_up_to_date_and_equal(project, more):
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


GET_STARTED = {  # as in iterative/example-get-started: a data set of a registry, four stages, metrics and plots that git keeps
    "dvc.yaml": """\
stages:
  prepare:
    cmd: python src/prepare.py data/data.xml
    deps: [data/data.xml, src/prepare.py]
    params: [prepare.seed, prepare.split]
    outs: [data/prepared]
  featurize:
    cmd: python src/featurization.py data/prepared data/features
    deps: [data/prepared, src/featurization.py]
    params: [featurize.max_features, featurize.ngrams]
    outs: [data/features]
  train:
    cmd: python src/train.py data/features model.pkl
    deps: [data/features, src/train.py]
    params: [train]
    outs: [model.pkl]
  evaluate:
    cmd: python src/evaluate.py model.pkl data/features
    deps: [data/features, model.pkl, src/evaluate.py]
    outs:
    - eval/plots/images: {cache: false}
    metrics:
    - eval/metrics.json: {cache: false}
    plots:
    - eval/prc.json: {cache: false, x: recall, y: precision}
""",
    "params.yaml": "prepare: {split: 0.20, seed: 20170428}\nfeaturize: {max_features: 100, ngrams: 1}\ntrain: {seed: 1, n_est: 50}\n",
    "data/data.xml": "<row/>\n" * 40,
    "src/prepare.py": """\
import os, sys
rows = open(sys.argv[1]).readlines()
os.makedirs("data/prepared", exist_ok=True)
open("data/prepared/train.tsv", "w").writelines(rows[8:])
open("data/prepared/test.tsv", "w").writelines(rows[:8])
""",
    "src/featurization.py": """\
import os, sys
os.makedirs(sys.argv[2], exist_ok=True)
for part in ("train", "test"):
    data = open(f"{sys.argv[1]}/{part}.tsv").read() + open("params.yaml").read()
    open(f"{sys.argv[2]}/{part}.pkl", "w").write(data)
""",
    "src/train.py": "import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1] + '/train.pkl').read() * 2)\n",
    "src/evaluate.py": """\
import json, os
os.makedirs("eval/plots/images", exist_ok=True)
size = os.path.getsize("model.pkl")
json.dump({"avg_prec": size / 1e4}, open("eval/metrics.json", "w"))
json.dump([{"recall": 0.1, "precision": size / 1e4}], open("eval/prc.json", "w"))
open("eval/plots/images/importance.png", "w").write(str(size))
""",
}
EXPERIMENTS = {  # as in iterative/example-get-started-experiments: folders of images, whole sections of parameters, files of DVCLive, a template
    "dvc.yaml": """\
stages:
  data_split:
    cmd: python src/split.py
    deps: [src/split.py, data/pool_data]
    params: [base, data_split]
    outs: [data/train_data, data/test_data]
  train:
    cmd: python src/train.py
    deps: [src/train.py, data/train_data]
    params: [base, train]
    outs:
    - models/model.pkl
    - results/train: {cache: false, persist: true}
  evaluate:
    foreach: ${evaluated}
    do:
      cmd: python src/evaluate.py ${item}
      deps: [src/evaluate.py, models/model.pkl, "data/${item}_data"]
      metrics:
      - results/${item}.json: {cache: false}
params: [results/train/params.yaml]
metrics: [results/train/metrics.json]
plots:
- results/train/plots/metrics: {x: step}
""",
    "params.yaml": "base: {random_seed: 42}\ndata_split: {test_pct: 0.5}\ntrain: {epochs: 2, arch: {name: shufflenet}}\nevaluated: [train, test]\n",
    **{f"data/pool_data/images/{number}.jpg": f"picture {number}" * 9 for number in range(6)},
    "src/split.py": """\
import os, shutil
for number, name in enumerate(sorted(os.listdir("data/pool_data/images"))):
    place = "data/" + ("test_data" if number % 2 else "train_data")
    os.makedirs(place, exist_ok=True)
    shutil.copy(f"data/pool_data/images/{name}", place)
""",
    "src/train.py": """\
import json, os
os.makedirs("models", exist_ok=True)
os.makedirs("results/train/plots/metrics", exist_ok=True)
text = open("params.yaml").read()
open("models/model.pkl", "w").write(text + "".join(sorted(os.listdir("data/train_data"))))
json.dump({"step": 1, "loss": len(text) / 1e3}, open("results/train/metrics.json", "w"))
open("results/train/params.yaml", "w").write("epochs: 2\\n")
open("results/train/plots/metrics/loss.tsv", "w").write("step\\tloss\\n0\\t1\\n1\\t0.5\\n")
""",
    "src/evaluate.py": """\
import json, os, sys
json.dump({"dice": os.path.getsize("models/model.pkl") / 1e3}, open(f"results/{sys.argv[1]}.json", "w"))
""",
}


@pytest.mark.long
@pytest.mark.usefixtures("real_dvc")
@pytest.mark.parametrize(
    ("files", "added", "old", "new", "model", "stages"),
    [
        (GET_STARTED, "data/data.xml", "ngrams: 1", "ngrams: 2", "model.pkl", {"prepare", "featurize", "train"}),
        (EXPERIMENTS, "data/pool_data", "epochs: 2", "epochs: 8", "models/model.pkl", {"data_split", "train"}),
    ],
)
def test_the_history_that_dvc_made_is_whole(project, files, added, old, new, model, stages):
    def dvc(*words):
        subprocess.run(["dvc", *words], cwd=project.root, check=True, capture_output=True)

    for name, text in files.items():
        project.write(name, text)
    dvc("init", "-q")
    dvc("add", "-q", added)
    known = {}
    for tag in ("baseline", "better"):
        dvc("repro", "-q")
        project.commit(tag)
        project.git("tag", tag)
        ignored = project.git("ls-files", "-oi", "--exclude-standard").split()
        known[tag] = {path: project.read(path) for path in ignored if not path.startswith(".dvc")}
        project.write("params.yaml", project.read("params.yaml").decode().replace(old, new))
    assert known["baseline"].keys() == known["better"].keys()
    assert known["baseline"][model] != known["better"][model]
    project.git("checkout", "-q", "params.yaml")
    result = project.json("import-dvc", "--all-history")
    assert (result["left"], result["copies"]) == ({}, 2)
    project.git("commit", "-qm", "Move")
    for tag, paths in known.items():
        for number, path in enumerate(paths):
            project.dvlite("get", ".", path, "--rev", tag, "-o", f"../{tag}{number}")
            assert project.read(f"../{tag}{number}") == paths[path]
        runs = project.json("lineage", f"{tag}:{model}")["up"]["runs"]
        assert stages <= {run["stage"] for run in runs}
        assert {run["code_commit"] for run in runs} <= {
            project.git("rev-parse", f"{name}^{{commit}}").strip() for name in known
        }
    assert len(project.json("log", model)["versions"]) == 2
    for place in ("main", "from-dvc~1"):
        project.git("checkout", "-q", place)
        project.dvlite("checkout")
        assert {row["state"] for row in project.json("repro", "-n")["stages"]} == {"up to date"}
        project.dvlite("verify")
    assert {path: project.read(path) for path in known["baseline"]} == known["baseline"]
