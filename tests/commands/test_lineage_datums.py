"""`lineage` of what map stages made: one output leads to exactly its inputs, one input to exactly its outputs."""

import os

import pytest

PIPELINE = """\
stages:
  upper:
    map:
      over: data/*/*.txt
    cmd: tr a-z A-Z < ${in} > ${out}
    outs: ["upper/${stem}.up"]
  people:
    map:
      over: upper/{person}/*.up
      by: person
    cmd: (echo all; cat ${in}) > ${out}
    outs: ["people/${person}.all"]
  report:
    cmd: cat people/* > report.txt
    deps: [people]
    outs: [report.txt]
"""
FILES = ("ann/1", "ann/2", "ben/1")


@pytest.fixture
def mapped(prepared):
    """Two map stages that ran, one over what the other made, and an ordinary one."""

    def build(project):
        for name in FILES:
            project.write(f"data/{name}.txt", f"the words of {name}, which identify a file by their number " * 2)
        project.dvlite("add", "data")
        project.write("dvlite.yaml", PIPELINE)
        project.commit("Words")
        project.dvlite("repro")
        project.commit("Results")

    return prepared("mapped", build)


def graph(project, path, *more):
    result = project.json("lineage", path, *more)
    found = result["down" if "--down" in more else "up"]
    return {run["stage"]: run for run in found["runs"]}


def paths(links):
    return {link["path"] for link in links}


def test_an_output_leads_to_exactly_its_input_and_on_from_there(mapped):
    runs = graph(mapped, "people/ann.all")
    assert runs["people"]["datums"] == ["ann"]
    assert paths(runs["people"]["inputs"]) == {"upper/ann/1.up", "upper/ann/2.up"}
    assert paths(runs["upper"]["inputs"]) == {"data/ann/1.txt", "data/ann/2.txt"}
    assert "ben" not in mapped.dvlite("lineage", "people/ann.all").stdout


def test_an_input_leads_to_exactly_its_outputs_and_to_what_reads_them_all(mapped):
    runs = graph(mapped, "data/ben/1.txt", "--down")
    assert paths(runs["upper"]["outputs"]) == {"upper/ben/1.up"}
    assert paths(runs["people"]["outputs"]) == {"people/ben.all"}
    assert paths(runs["report"]["outputs"]) == {"report.txt"}
    assert "ok for ben/1.txt" in mapped.dvlite("lineage", "data/ben/1.txt", "--down").stdout


def test_a_whole_folder_has_whole_runs(mapped):
    assert graph(mapped, "report.txt")["upper"]["datums"] == []
    assert graph(mapped, "upper")["upper"]["datums"] == []
    assert graph(mapped, "data", "--down")["people"]["datums"] == []


def test_an_earlier_revision_and_a_clone_without_data_answer_alike(mapped, colleague):
    before = graph(mapped, "people/ann.all")
    mapped.write("data/ann/1.txt", "other words, that are long enough to identify a file by their bytes alone, I hope")
    (mapped.root / "data/ann/2.txt").unlink()
    mapped.dvlite("add", "-u")
    mapped.dvlite("repro")
    mapped.commit("Other words")
    assert paths(graph(mapped, "people/ann.all")["people"]["inputs"]) == {"upper/ann/1.up"}
    assert graph(mapped, "HEAD~1:people/ann.all") == before
    mapped.dvlite("push", "--all-commits")
    clone = colleague(mapped)
    clone.dvlite("remote", "trust", mapped.root.parent / "store")
    clone.dvlite("pull", "report.txt")
    assert not os.path.exists(clone.root / "people")
    assert graph(clone, "HEAD~1:people/ann.all") == before


def test_files_that_git_keeps_are_datums_too(mapped):
    mapped.write("notes/a.md", "a note that is kept in git, and has more than sixty-four bytes in all of its lines")
    mapped.write("notes/b.md", "another")
    mapped.write(
        "dvlite.yaml",
        PIPELINE
        + '  notes:\n    map:\n      over: notes/*.md\n    cmd: wc -c < ${in} > ${out}\n    outs: ["counts/${stem}"]\n',
    )
    mapped.commit("Notes")
    mapped.dvlite("repro", "notes")
    runs = graph(mapped, "counts/a")
    assert paths(runs["notes"]["inputs"]) == {"notes/a.md"}
    assert paths(graph(mapped, "notes/a.md", "--down")["notes"]["outputs"]) == {"counts/a"}
