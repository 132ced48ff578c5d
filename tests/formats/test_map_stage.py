"""Map stages: what the pipeline file says of them, one clear line for what is wrong, and commands that are filled in for each datum."""

import subprocess

import pytest

from dvlite.errors import FormatError
from dvlite.formats.map_stage import MapInput, MapOut, MapSpec, facts_of, script, spec_of
from dvlite.formats.pipeline import parse


def stage(body, *, before=""):
    text = f"{before}stages:\n  s:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return parse(text.encode(), "dvlite.yaml").stages[0]


THUMBS = "map: {over: data/images/**/*.jpg, batch: 64MiB}\ncmd: convert ${in} ${out}\nouts: ['thumbs/${stem}.png']"
PAIRS = """\
map:
  over:
    image: images/{id}.jpg
    label: labels/{id}.txt
  by: id
cmd: pair ${in.image} ${in.label} > ${out}
outs: ['pairs/${id}.json', {path: 'pairs/x/../${name}.txt', push: true}]
"""


def test_a_map_stage_has_what_it_goes_over_and_the_folders_of_its_outputs():
    found = stage(THUMBS)
    assert found.map == MapSpec(
        over=(MapInput("", "data/images/**/*.jpg", line=3),),
        outs=(MapOut("thumbs/${stem}.png", "thumbs"),),
        batch_bytes=64 << 20,
    )
    assert [out.path for out in found.outs] == ["thumbs"]
    assert found.cmd == "convert ${in} ${out}"


def test_inputs_with_names_are_joined_by_a_capture():
    found = stage(PAIRS)
    assert [(item.name, item.captures, item.glob, item.fixed) for item in found.map.over] == [
        ("image", ("id",), "images/*.jpg", "images"),
        ("label", ("id",), "labels/*.txt", "labels"),
    ]
    assert found.map.by == ("id",)
    assert [out.template for out in found.map.outs] == ["pairs/${id}.json", "pairs/${name}.txt"]
    assert [out.path for out in found.outs] == ["pairs"]


def test_folders_are_units_where_the_pattern_ends_in_a_slash_and_outs_without_a_value_have_the_name():
    found = stage("map: {over: 'data/s[0-9]/{day}/', batch: 7}\nfunction: features:extract\nouts: [features]")
    (item,) = found.map.over
    assert (item.folders, item.fixed, item.glob, item.captures) == (True, "data", "data/s[0-9]/*/**", ("day",))
    assert found.map.outs == (MapOut("features/${name}", "features"),)
    assert (found.cmd, found.map.function, found.map.batch_datums) == ("features:extract", True, 7)


@pytest.mark.parametrize(
    "body", [THUMBS, PAIRS, "map: {over: 'data/*/'}\nfunction: a.b:c\nouts: [x]"], ids=["files", "join", "folders"]
)
def test_the_facts_of_a_stage_say_all_but_the_batch(body):
    found = stage(body)
    facts = facts_of(found.map)
    again = spec_of(facts, found.cmd)
    assert facts_of(again) == facts
    assert (again.outs, again.by, again.function) == (found.map.outs, found.map.by, found.map.function)
    assert "batch" not in facts


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"over": "a/*"},
        {"over": "a/*", "outs": ["${name}"]},
        {"over": "/a/*", "outs": ["o/${name}"]},
        {"over": "a/*", "outs": [1]},
        {"over": "a/*", "outs": ["o/${name}"], "batch": 3},
        {"over": "a/*", "outs": ["o/${name}"], "function": 1},
        {"over": {"a": "a/{i}", "b": "b/{i}"}, "outs": ["o/${name}"]},
        {"over": ["a/*"], "outs": ["o/${name}"]},
    ],
)
def test_facts_that_no_stage_can_have_are_refused(facts):
    with pytest.raises(ValueError, match="map"):
        spec_of(facts, "x ${in}")


def test_values_of_the_file_are_filled_in_and_those_of_a_datum_stay():
    found = stage(
        "map: {over: 'data/${set}/{id}.jpg'}\n"
        "cmd: convert -resize ${size} '${id}' ${ in } \\${HOME} ${odd}\n"
        "outs: ['${set}/${id}-${size}.png']",
        before="vars: [{set: train, size: 64x64, id: 7, odd: 'a\\${in}'}]\n",
    )
    assert found.map.over[0].pattern == "data/train/{id}.jpg"
    assert found.map.outs == (MapOut("train/${id}-64x64.png", "train"),)
    filled = script(found.cmd, {"in": ("a b.jpg",), "id": ("x'y",)})
    assert filled == "convert -resize 64x64 'x'\\''y' 'a b.jpg' ${HOME} 'a${in}'"


def test_instances_of_a_template_may_be_map_stages():
    text = b"stages:\n  t:\n    matrix: {size: [1, 2]}\n    map: {over: d/*}\n    cmd: x ${item.size} ${in}\n    outs: ['o${item.size}/${name}']\n"
    found = parse(text, "dvlite.yaml").stages
    assert [(one.cmd, one.outs[0].path) for one in found] == [("x 1 ${in}", "o1"), ("x 2 ${in}", "o2")]


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "-rf", "a\nb", "$(touch x)", "`x`", "a\\", "é\udcff", "*"])
@pytest.mark.parametrize(
    "cmd", ["printf %s ${in}", 'printf %s "${in}"', "printf %s '${in}'", 'x="$(printf %s ${in})"; printf %s "$x"']
)
def test_any_name_reaches_the_command_as_it_is(name, cmd):
    run = subprocess.run(["bash", "-c", script(cmd, {"in": (name,)})], capture_output=True, check=True)
    assert run.stdout.decode("utf-8", "surrogateescape") == name.rstrip("\n")


def test_several_files_are_words_of_their_own_and_not_inside_quotes():
    assert script("cat ${in}", {"in": ("a b", "c")}) == "cat 'a b' c"
    with pytest.raises(FormatError, match=r"\$\{in\} stands inside quotes, and is 2 paths"):
        script("cat '${in}'", {"in": ("a", "b")})


OUTS, CMD = "outs: ['o/${name}']", "cmd: x ${in}"
WRONG = [
    (f"map: {{}}\n{CMD}\n{OUTS}", 3, "'map' has no 'over'"),
    (f"map: {{over: data}}\n{CMD}\n{OUTS}", 3, "'data' is a single path"),
    (f"map: {{over: 7}}\n{CMD}\n{OUTS}", 3, "'over' must be a pattern, not '7'"),
    (f"map: {{over: [a/*]}}\n{CMD}\n{OUTS}", 3, "'over' must be a pattern, not a list"),
    (f"map: {{over: a/*, bye: x}}\n{CMD}\n{OUTS}", 3, "'bye' is not known in 'map'; did you mean 'by'?"),
    (f"map: {{over: 'a/{{}}.x'}}\n{CMD}\n{OUTS}", 3, "an empty capture is in 'a/{}.x'"),
    (f"map: {{over: 'a/{{b c}}'}}\n{CMD}\n{OUTS}", 3, "'b c', which cannot be the name of a capture"),
    (f"map: {{over: 'a/{{stem}}'}}\n{CMD}\n{OUTS}", 3, "the capture 'stem' in 'a/{stem}' has a name with a meaning"),
    (f"map: {{over: 'a/{{b}}{{c}}'}}\n{CMD}\n{OUTS}", 3, "it is not clear where 'c' begins"),
    (f"map: {{over: 'a/{{b}}*'}}\n{CMD}\n{OUTS}", 3, "it is not clear where 'b' ends"),
    (f"map: {{over: 'a/*{{b'}}\n{CMD}\n{OUTS}", 3, "a brace in 'a/*{b' has no partner"),
    (f"map: {{over: a/**/}}\n{CMD}\n{OUTS}", 3, "could match a folder and another one inside of it"),
    (f"map: {{over: a/*, by: id}}\n{CMD}\n{OUTS}", 3, "'by' names 'id', but there is no such capture in 'a/*'"),
    (f"map: {{over: 'a/{{i}}', by: [i, i]}}\n{CMD}\n{OUTS}", 3, "'by' names a capture twice"),
    (f"map: {{over: {{a: a/*, b: b/*}}}}\n{CMD}\n{OUTS}", 3, "'by' does not say what belongs together"),
    (f"map: {{over: {{a-b: a/*}}}}\n{CMD}\n{OUTS}", 3, "'a-b' cannot be the name of an input"),
    (f"map: {{over: a/*, batch: 0}}\n{CMD}\n{OUTS}", 3, "'batch' must be a number of datums"),
    (f"map: {{over: /a/*}}\n{CMD}\n{OUTS}", 3, "'/a/*' cannot be used: it is absolute"),
    (f"map: {{over: a/*}}\n{CMD}", 2, "a map stage has no outs"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: ['${{name}}.png']", 5, "has no folder of its own before '${'"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: ['x${{name}}']", 5, "has no folder of its own before '${'"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: ['o/${{other}}']", 5, "there is no variable 'other'"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: ['o/${{out}}']", 5, "${out} is no value of a datum here"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: ['o*/${{name}}']", 5, "has a wildcard in its name"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: [{{path: 'o/${{name}}', persist: true}}]", 5, "cannot have 'persist: true'"),
    (f"map: {{over: a/*}}\n{CMD}\nouts: [{{path: 'o/${{name}}', cache: false}}]", 5, "cannot have 'cache: false'"),
    (f"map: {{over: a/*}}\n{CMD}\n{OUTS}\nmetrics: [m.json]", 6, "a map stage cannot have 'metrics'"),
    (f"map: {{over: a/*}}\n{CMD}\n{OUTS}\nalways: true", 6, "a map stage cannot have 'always'"),
    (f"map: {{over: a/*}}\n{CMD}\n{OUTS}\nfunction: a:b", 6, "the stage 's' has a cmd and a function"),
    (f"map: {{over: a/*}}\nfunction: a\n{OUTS}", 4, "'function' must name a module and a function, not 'a'"),
    ("function: a:b\ncmd: x", 3, "the stage 's' has a function and no 'map'"),
    (f"map: {{over: a/*}}\n{OUTS}", 2, "the stage 's' has no cmd"),
    (f"map: {{over: a/*}}\ncmd: make\n{OUTS}", 4, "the cmd uses no value of the datum"),
    (f"map: {{over: a/*}}\ncmd: x ${{in.image}}\n{OUTS}", 4, "${in.image} is no value of a datum here"),
    (f"map: {{over: 'a/{{i}}/{{j}}', by: i}}\ncmd: x ${{j}}\n{OUTS}", 4, "${j} is not one value for a datum"),
    (f"map: {{over: 'a/{{i}}/*', by: i}}\ncmd: x ${{path}}\n{OUTS}", 4, "grouped by i"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "line", "reason"), WRONG, ids=[reason for _, _, reason in WRONG])
def test_what_is_wrong_is_one_line_with_its_place(body, line, reason):
    with pytest.raises(FormatError) as raised:
        stage(body)
    assert f"dvlite.yaml line {line}: " in raised.value.message.replace("' line", " line").replace("'dvlite", "dvlite")
    assert reason in raised.value.message
    assert "\n" not in raised.value.message
