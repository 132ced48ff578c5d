"""What an ordinary stage is as a task, and that the cache has all that it reads before it is sent."""

import os
from dataclasses import replace

import pytest

from dvlite.errors import FileChanged
from dvlite.formats import task
from dvlite.pipeline.outputs import is_cached
from dvlite.pipeline.params import Params
from dvlite.pipeline.stage_task import stage_task, task_inputs, why_no_task
from dvlite.pipeline.staleness import now_of
from dvlite.pipeline.task_inputs import TaskInputs

TEXT = "one: {cmd: sh run.sh, deps: [run.sh, src], params: [lr], env: {A: b}, outs: [out/o], timeout: 1m, retries: 2, resources: {cpu: 2, memory: 1GiB, gpu: 1}}"


def entry_of(place, stage):
    return now_of(stage, place.contents, Params(place.repo.work_tree.read), dict).entry


@pytest.fixture
def stage(place):
    place.write("run.sh", "cp src/a out/o", executable=True)
    place.write("src/a", "a")
    place.write("src/deep/b", "b")
    place.write("src/ignored.pyc", "x")
    place.write(".gitignore", "*.pyc\n")
    place.write("elsewhere", "c" * 3000)
    os.symlink("../elsewhere", place.root / "src/linked")
    place.write("params.yaml", "lr: 1\n")
    return place.stage(TEXT)


def test_a_task_names_dependencies_and_files_of_parameters_by_content_and_carries_the_limits(place, stage):
    entry = entry_of(place, stage)
    inputs = task_inputs(stage, entry, place.contents)
    made = stage_task(stage, entry, inputs, project="a" * 32, dvlite="1")
    assert [(file.path, file.files, file.executable) for file in made.files] == [
        ("params.yaml", 1, False),
        ("run.sh", 1, True),
        ("src", 3, False),
    ]
    assert (made.stage, made.file, made.key, made.cmd, made.env) == (
        "one",
        "dvlite.yaml",
        entry.key,
        "sh run.sh",
        {"A": "b"},
    )
    assert [unit.outs for unit in made.units] == [("out/o",)]
    assert (made.timeout_seconds, made.retries, made.cpu, made.memory_bytes, made.gpu) == (60, 2, 2, 1 << 30, 1)
    assert task.parse(task.checked(made), "it") == made


def test_the_cache_has_what_git_keeps_without_what_it_ignores_and_with_what_links_lead_to(place, stage):
    inputs = task_inputs(stage, entry_of(place, stage), place.contents)
    assert not any(is_cached(place.work.cache, version) for version in inputs)
    TaskInputs(place.work, place.contents).store(inputs)
    assert all(is_cached(place.work.cache, version) for version in inputs)


def test_what_changed_since_it_was_looked_at_is_not_stored_as_what_it_was(place, stage):
    inputs = task_inputs(stage, entry_of(place, stage), place.contents)
    place.write("src/a", "other")
    with pytest.raises(FileChanged, match="'src': it changed"):
        TaskInputs(place.work, place.contents).store(inputs)


def test_of_a_part_of_tracked_data_the_listing_is_stored_and_no_file_is_read(place):
    for name in ("x/1", "x/2", "y/3"):
        place.write(f"data/{name}", name)
    place.take("data")
    place.write("run.sh", "true")
    stage = place.stage("one: {cmd: sh run.sh, deps: [data/x], outs: [o]}")
    inputs = task_inputs(stage, entry_of(place, stage), place.contents)
    for name in ("x/1", "x/2", "y/3"):
        (place.root / "data" / name).unlink()
    TaskInputs(place.work, place.contents).store(inputs)
    assert [(version.path, version.files, is_cached(place.work.cache, version)) for version in inputs] == [
        ("data/x", 2, True)
    ]


def test_what_is_neither_on_disk_nor_in_the_cache_is_left_to_the_remote(place, stage):
    known = [replace(version, path="nowhere") for version in task_inputs(stage, entry_of(place, stage), place.contents)]
    TaskInputs(place.work, place.contents).store(known)
    assert not any(is_cached(place.work.cache, version) for version in known)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("one: {cmd: x, outs: [{path: o, persist: true}]}", "it goes on from its earlier outputs"),
        ("one: {cmd: x, outs: [o], always: true}", "it runs each time"),
        ("one: {cmd: x, outs: ['o/*.csv']}", "its outputs are patterns"),
        ("one: {cmd: x, outs: [o]}", None),
    ],
)
def test_stages_whose_result_is_not_determined_by_what_they_declare_are_no_tasks(place, text, reason):
    assert why_no_task(place.stage(text)) == reason
