"""Comparing everything upstream of two artefacts."""

from dvlite.lineage.compare import LineageMeasure, compare_graphs
from dvlite.lineage.report import LineageArtefact, LineageGraph, LineageLink, LineageRun


def link(path, version):
    return LineageLink(oid=f"blake3:{version}", path=path, size_bytes=100)


def source(path, version, origin="data", **fields):
    return LineageArtefact(oid=f"blake3:{version}", path=path, size_bytes=100, origin=origin, **fields)


def train(**fields):
    default = {"run": "run:1", "name": "train-1", "stage": "train", "file": "dvlite.yaml", "status": "ok", "start": ""}
    return LineageRun(**{**default, "cmd": "sh train.sh", **fields})


def graph(data="d1", code="c1", **fields):
    run = train(inputs=(link("data", data), link("train.sh", code)), **fields)
    return LineageGraph(artefacts=(source("data", data), source("train.sh", code, "code")), runs=(run,))


def changes(old, new, **options):
    return compare_graphs(old, new, options.pop("compare", lambda *_: None), **options)


def test_a_graph_does_not_differ_from_itself():
    same = changes(graph(metrics={"acc": 1}), graph(metrics={"acc": 1})).same
    assert same == ("data", "code", "stages", "params", "environment", "metrics")
    assert "metrics" not in changes(graph(), graph()).same


def test_sources_are_data_or_code():
    found = changes(graph(), graph("d2", "c2"))
    assert [(change.path, change.old_oid, change.oid) for change in found.data] == [("data", "blake3:d1", "blake3:d2")]
    assert [change.path for change in found.code] == ["train.sh"]


def test_directories_are_compared_file_by_file_if_their_listings_can_be_read():
    (change,) = changes(graph(), graph("d2"), compare=lambda *_: ({"added": 1}, ("file",))).data
    assert (change.counts, change.files) == ({"added": 1}, ("file",))


def test_the_directory_that_holds_an_input_is_the_source():
    def through(version):
        run = train(inputs=(link("data/a", "same"),))
        held = source("data/a", "same", "directory", held_by=(link("data", version),))
        return LineageGraph(artefacts=(held, source("data", version)), runs=(run,))

    assert [change.path for change in changes(through("d1"), through("d2")).data] == ["data"]


def test_values_are_compared_by_stage_and_a_change_in_several_stages_is_reported_once():
    def two(value):
        runs = tuple(train(stage=stage, params={"p:lr": value}, environment={"cpus": value}) for stage in "ab")
        return LineageGraph(runs=runs)

    found = changes(two(1), two(2))
    assert [(change.stage, change.key, change.old, change.new) for change in found.params] == [("a", "p:lr", 1, 2)]
    assert found.environment == ()
    assert changes(two(1), two(1.0)).params != ()


def test_a_stage_on_one_side_only_is_a_change_of_commands():
    both = LineageGraph(runs=(train(), train(stage="prepare", params={"p:x": 1})))
    found = changes(LineageGraph(runs=(train(),)), both)
    assert [(change.stage, change.old, change.new) for change in found.stages] == [("prepare", None, "sh train.sh")]
    assert found.params == ()


def test_of_several_runs_of_a_stage_the_nearest_counts():
    several = LineageGraph(runs=(train(params={"p:lr": 1}), train(params={"p:lr": 9})))
    assert changes(several, LineageGraph(runs=(train(params={"p:lr": 1}),))).params == ()


def test_an_environment_that_nothing_ran_in_is_not_compared():
    new = graph(environment={"python": "3.12"})
    assert [change.old for change in changes(graph(environment={"python": "3.11"}), new).environment] == ["3.11"]
    for nothing_ran in (graph(status="cached"), graph(environment={"python": "3.11"}, status="asserted")):
        assert changes(nothing_ran, new).environment == ()


def test_metrics_of_later_runs_are_compared_too():
    def measured(value):
        name = {"run": "run:2", "name": "evaluate-2", "stage": "evaluate", "file": "ml/dvlite.yaml", "status": "ok"}
        return (LineageMeasure(**name, metrics={"m:acc": value}),)

    found = changes(graph(), graph(), measured=(measured(0.5), measured(0.6)))
    assert [(change.stage, change.key) for change in found.metrics] == [("ml:evaluate", "m:acc")]
