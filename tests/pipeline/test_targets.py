"""What the words of a user stand for."""

import os

import pytest

from dvlite.errors import FormatError, UsageError
from dvlite.pipeline.graph import build
from dvlite.pipeline.targets import choose, params_file, require_readable
from dvlite.repo.repository import open_repo
from dvlite.repo.tracked_paths import Tracked, Unusable
from tests.pipeline.stages_of import stages_of

ROOT = """\
get: {cmd: x, outs: [raw]}
fit: {cmd: x, deps: [raw], outs: [model, 'parts/*.txt'], params: [lr, {conf/net.yaml: [net.depth]}, {all.json: }]}
end: {cmd: x, deps: [model, sub/made], outs: [out], params: [seed]}
"""
SUB = "fit: {cmd: x, outs: [made], params: [{conf.toml: [seed]}]}\nsolo: {cmd: x}"


@pytest.fixture
def graph():
    return build([*stages_of(ROOT), *stages_of(SUB, "sub/dvlite.yaml")])


@pytest.fixture
def repo(place):
    (place.root / "sub").mkdir()
    return place.repo


@pytest.fixture
def below(repo):
    """The same repository, from `sub/`."""
    return open_repo(repo.root / "sub", os.environ)


def chosen(repo, graph, *words, **how):
    return [stage.address for stage in choose(repo, graph, words, **how).stages]


def test_no_word_means_everything(repo, graph):
    assert chosen(repo, graph) == ["get", "fit", "sub:fit", "end", "sub:solo"]


@pytest.mark.parametrize(
    ("word", "stages"),
    [
        ("get", ["get"]),
        ("fit", ["fit"]),
        ("solo", ["sub:solo"]),
        ("sub:fit", ["sub:fit"]),
        ("sub/dvlite.yaml:fit", ["sub:fit"]),
        ("dvlite.yaml:fit", ["fit"]),
        ("model", ["fit"]),
        ("./model", ["fit"]),
        ("raw/inner/file", ["get"]),
        ("sub/made", ["sub:fit"]),
        ("sub", ["sub:fit", "sub:solo"]),
        ("sub/dvlite.yaml", ["sub:fit", "sub:solo"]),
        ("dvlite.lock", ["get", "fit", "end"]),
        ("parts/a.txt", ["fit"]),
    ],
)
def test_word_is_a_stage_an_output_a_file_or_a_folder(repo, graph, word, stages):
    assert chosen(repo, graph, word, single=True) == stages


def test_in_a_folder_its_own_stages_come_first(below, graph):
    assert chosen(below, graph, "fit", single=True) == ["sub:fit"]
    assert chosen(below, graph, "get", single=True) == ["get"]
    assert chosen(below, graph, "made", single=True) == ["sub:fit"]
    assert chosen(below, graph, "../model", single=True) == ["fit"]
    assert chosen(below, graph, ".", single=True) == ["sub:fit", "sub:solo"]


def test_with_what_is_before_or_after(repo, graph):
    assert chosen(repo, graph, "fit") == ["get", "fit"]
    assert chosen(repo, graph, "fit", downstream=True) == ["fit", "end"]
    assert choose(repo, graph, ["fit"]).named == {"fit"}


@pytest.mark.parametrize("word", ["fti", "nowhere/file", "sub:nope", "no:fit"])
def test_unknown_word_is_refused(repo, graph, word):
    with pytest.raises(UsageError, match=r"is neither a stage nor an output of one"):
        choose(repo, graph, [word])


def test_nearest_is_offered(repo, graph):
    with pytest.raises(UsageError) as caught:
        choose(repo, graph, ["gett"])
    assert caught.value.hint.startswith("did you mean get?")


def test_name_in_two_files_is_asked_about(repo):
    graph = build([*stages_of("fit: {cmd: x}", "a/dvlite.yaml"), *stages_of("fit: {cmd: x}", "b/dvlite.yaml")])
    with pytest.raises(UsageError) as caught:
        choose(repo, graph, ["fit"])
    assert caught.value.hint == "one of: a:fit, b:fit"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lr", ("params.yaml", "lr")),
        ("net.depth", ("conf/net.yaml", "net.depth")),
        ("net", ("conf/net.yaml", "net")),
        ("lr.inner", ("params.yaml", "lr.inner")),
        ("conf/other.yaml:a.b", ("conf/other.yaml", "a.b")),
        ("anything", ("all.json", "anything")),
    ],
)
def test_parameter_is_in_the_file_that_stages_name(repo, graph, word, expected):
    assert params_file(repo, graph.stages, word) == expected


def test_parameter_in_two_files_is_asked_about_unless_one_is_in_the_folder(repo, below, graph):
    assert params_file(below, graph.stages, "seed") == ("sub/conf.toml", "seed")
    with pytest.raises(UsageError) as caught:
        params_file(repo, graph.stages, "seed")
    assert caught.value.hint == "one of: -S sub/conf.toml:seed=VALUE, -S params.yaml:seed=VALUE"


def test_unreadable_file_stops_only_who_needs_its_outputs(repo, graph, place):
    place.write("made", "1")
    pointer = place.take("made").pointer()
    tracked = [Tracked("sub/made", pointer, "sub/dvlite.lock", "sub:fit")]
    broken = [Unusable("sub/dvlite.yaml", FormatError("cannot read"))]
    require_readable(choose(repo, graph, ["fit"]).stages, broken, tracked)
    with pytest.raises(Unusable):
        require_readable(choose(repo, graph, ["end"]).stages, broken, tracked)
    require_readable(graph.stages, [], tracked)
