"""Stages with their paths relative to the repository."""

import os
from pathlib import Path

import pytest

from dvlite.errors import FormatError
from dvlite.pipeline.stages import load, secret_warnings
from dvlite.repo.repository import open_repo
from tests.pipeline.stages_of import stages_of


def test_paths_are_relative_to_the_folder_that_the_stage_runs_in():
    text = "a: {cmd: x, wdir: w, deps: [d, ../e], outs: [o], params: [lr, {../conf/net.yaml: [depth]}]}"
    (stage,) = stages_of(text, "sub/dvlite.yaml")
    assert [dep.path for dep in stage.deps] == ["sub/w/d", "sub/e"]
    assert [out.path for out in stage.outs] == ["sub/w/o"]
    assert [(each.path, each.name) for each in stage.params] == [
        ("sub/w/params.yaml", "w/params.yaml"),
        ("sub/conf/net.yaml", "conf/net.yaml"),
    ]
    assert (stage.address, stage.folder, stage.wdir, stage.lockfile) == ("sub:a", "sub", "sub/w", "sub/dvlite.lock")


def test_stage_of_the_root_is_called_by_its_name():
    (stage,) = stages_of("a: {cmd: x}")
    assert (stage.address, stage.folder, stage.wdir, stage.lockfile) == ("a", "", "", "dvlite.lock")


@pytest.mark.parametrize("file", ["dvlite.yaml", "sub/dvlite.yaml"])
@pytest.mark.parametrize("path", ["", "a", "sub/a", "other/b"])
def test_path_in_the_lockfile_leads_back(file, path):
    (stage,) = stages_of("a: {cmd: x}", file)
    assert stage.placed(stage.local(path)) == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {cmd: x, deps: [../../d]}", "'../../d' is outside the repository"),
        ("a: {cmd: x, outs: [../../o]}", "'../../o' is outside the repository"),
        ("a: {cmd: x, wdir: ../..}", "'../..' is outside the repository"),
        ("a: {cmd: x, params: [{../../p.yaml: [k]}]}", "'../../p.yaml' is outside the repository"),
        ("a: {cmd: x, deps: [..]}", "'..' is the whole repository"),
        ("a: {cmd: x, outs: [o.dvlite]}", "cannot be an output"),
        ("a: {cmd: x, outs: [dvlite.lock]}", "cannot be an output"),
    ],
)
def test_path_that_cannot_be_is_named_with_its_line(text, said):
    with pytest.raises(FormatError) as caught:
        stages_of(text, "sub/dvlite.yaml")
    assert caught.value.message.startswith("cannot use 'sub/dvlite.yaml' line 2: ")
    assert said in caught.value.message


def test_broken_file_leaves_the_others(git_repo):
    Path(git_repo / "good").mkdir()
    (git_repo / "good/dvlite.yaml").write_text("stages: {a: {cmd: x}}")
    (git_repo / "dvlite.yaml").write_text("stages: {a: {cmd: x, out: [y]}}")
    loaded = load(
        open_repo(git_repo, os.environ, must_be_initialised=False).work_tree,
        ["dvlite.yaml", "good/dvlite.yaml", "gone.yaml"],
    )
    assert [stage.address for stage in loaded.stages] == ["good:a"]
    assert [error.file for error in loaded.broken] == ["dvlite.yaml"]


def test_a_captured_secret_gets_a_warning():
    stages = stages_of(
        "a: {cmd: x, capture: [{env: AWS_SECRET_ACCESS_KEY}, {env: MONKEY}, {env: GITHUB_PAT}, torch], env: {HF_TOKEN: x, PATCH: y}}"
    )
    assert [line.split(":")[0] for line in secret_warnings(stages)] == [
        "a captures the variable AWS_SECRET_ACCESS_KEY",
        "a captures the variable GITHUB_PAT",
        "a sets the variable HF_TOKEN",
    ]
