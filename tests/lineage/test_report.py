"""Walks as results: the origin of each artefact, its commits, and what is missing."""

from dvlite.lineage.report import report, warnings_of
from dvlite.lineage.walk import walk
from dvlite.runs.queries import Artefact
from tests.runs.recorded import name, note, oid, run

MODEL = Artefact(oid("model 1"), "model.pt", 9000)


def test_a_run_and_its_artefacts_are_reported(provenance_of):
    one = run(1)
    provenance = provenance_of(one, note(one, "commit", "a" * 40, subject="More gulls", author="Ada"))
    graph = report(walk(provenance, [MODEL], "up"), provenance)
    assert [link.path for link in graph.starts] == ["model.pt"]
    (reported,) = graph.runs
    assert (reported.name, reported.commit.subject) == (f"train-{name(one)[4:10]}", "More gulls")
    model, tiles = graph.artefacts
    assert (model.origin, model.made_by[0].run, tiles.origin) == ("run", name(one), "unknown")


def test_other_runs_are_named_and_hidden_ones_counted(provenance_of):
    runs = [run(number, outputs=run(1).outputs) for number in (1, 2)]
    provenance = provenance_of(*runs)
    graph = report(walk(provenance, [MODEL], "up"), provenance)
    assert [made_by.run for made_by in graph.artefacts[0].made_by] == [name(runs[1]), name(runs[0])]
    graph = report(walk(provenance, [MODEL], "up", depth=0), provenance)
    assert (graph.runs, graph.cut_runs, graph.artefacts[0].cut_runs) == ((), 1, 1)


def test_uses_are_grouped_by_stage_and_outputs(provenance_of):
    runs = [run(number, outputs=run(1).outputs) for number in (1, 2)]
    provenance = provenance_of(*runs)
    tiles = Artefact(oid("tiles", "manifest"), "data/tiles", 5000, 7)
    graph = report(walk(provenance, [tiles], "down"), provenance)
    (use,) = graph.artefacts[0].used_by
    assert (use.run, [other.run for other in use.others]) == (name(runs[1]), [name(runs[0])])


def test_files_that_git_does_not_have_are_warned_of_unless_it_ignores_them(provenance_of, project):
    one = run(1)
    provenance = provenance_of(one, root=project.root)
    graph = report(walk(provenance, [MODEL], "up"), provenance)
    assert list(warnings_of([graph, None], provenance)) == []
    for text, count in (("", 1), ("data/*\n", 0)):
        project.write("data/tiles", "a file in place of the directory")
        project.write(".gitignore", text)
        assert len(list(warnings_of([graph], provenance))) == count


def test_listings_that_could_not_be_read_are_counted(provenance_of):
    provenance = provenance_of()
    assert not provenance.listings.can_read([oid("a", "manifest"), oid("b", "manifest")])
    (warning,) = warnings_of([], provenance)
    assert warning == "the lists of files of 2 folders could not be read: files inside may be missing from this answer"
