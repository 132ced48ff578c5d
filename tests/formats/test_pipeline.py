"""Pipeline files: what they say, and one clear line for whatever is wrong in them."""

import json
import re
from importlib.resources import files
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import checks, comparator, parameters, pipeline, plots, templates
from dvlite.formats.comparator import Comparator
from dvlite.formats.pipeline import Capture, Dep, Out, Param, RunLimits, StageSpec, parse
from dvlite.formats.series import SERIES_SUFFIXES
from dvlite.workspace.sparse import selector
from tests.counting import grows_linearly
from tests.formats import test_templates

FULL = """\
stages:
  train:
    cmd: python src/train.py | tee train.log
    deps: [src/train.py, ./data//tiles/, "lib/*.py"]
    params:
      - lr
      - {conf/other.toml: [seed, net.depth]}
      - conf/all.json:
    outs:
      - model.pt
      - {path: report, cache: false}
      - path: ../state
        persist: true
        push: false
    metrics: [metrics.json, {path: eval.json, cache: false, better: {accuracy: higher, loss: lower}}]
    env: {OMP_NUM_THREADS: 1, FAST: true, RATE: 0.5, NAME: "no"}
    capture: [numpy, {env: CUDA_VISIBLE_DEVICES}, {cmd: nvcc --version}]
    wdir: src
    desc: trains the model
    always: true
    frozen: false
    timeout: 5m
    retries: 2
    resources: {cpu: 1.5, memory: 8GiB, gpu: 1}
    mutex: [database, port-80]
"""


def stage(body, name="s"):
    text = "stages:\n  " + name + ":\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return parse(text.encode(), "dvlite.yaml").stages[0]


def test_everything_that_a_stage_can_say():
    (found,) = parse(FULL.encode(), "dvlite.yaml").stages
    assert found == StageSpec(
        name="train",
        line=2,
        cmd="python src/train.py | tee train.log",
        cmd_line=3,
        wdir="src",
        deps=(Dep("src/train.py", 4), Dep("data/tiles", 4), Dep("lib/*.py", 4)),
        outs=(
            Out("model.pt", 10),
            Out("report", 11, cache=False),
            Out("../state", 12, persist=True, push=False),
            Out("metrics.json", 15, metric=True),
            Out("eval.json", 15, cache=False, metric=True, better={"accuracy": "higher", "loss": "lower"}),
        ),
        params=(
            Param("params.yaml", ("lr",), 6),
            Param("conf/other.toml", ("seed", "net.depth"), 7),
            Param("conf/all.json", (), 8),
        ),
        env={"OMP_NUM_THREADS": "1", "FAST": "true", "RATE": "0.5", "NAME": "no"},
        capture=(Capture("package", "numpy", 17), Capture("env", "CUDA_VISIBLE_DEVICES", 17), Capture("command", "nvcc --version", 17)),
        desc="trains the model",
        always=True,
        limits=RunLimits(300, 2, 1.5, 8 << 30, 1, ("database", "port-80")),
    )  # fmt: skip


def test_flow_and_block_style_say_the_same():
    flow = "stages:\n  a: {cmd: python x.py, deps: [x.py, d], outs: [{path: o, cache: false}]}\n"
    block = "stages:\n  a:\n    cmd: python x.py\n    deps:\n      - x.py\n      - d\n    outs:\n      - path: o\n        cache: false\n"
    one, other = (parse(text.encode(), "x").stages[0] for text in (flow, block))
    assert (one.cmd, [dep.path for dep in one.deps], one.outs[0].cache) == (other.cmd, ["x.py", "d"], False)
    assert [dep.path for dep in other.deps] == ["x.py", "d"]


def test_an_output_says_how_its_versions_are_compared():
    outs = stage(
        "outs:\n"
        "  - {path: a.json, compare: json}\n"
        "  - {path: b.json, compare: {type: json, rtol: 0.01, atol: 1e-8, ignore: [time.seconds, '*.latency']}}\n"
        "  - path: folder\n"
        "    compare:\n"
        "      '*.npy': {type: npy, rtol: 1}\n"
        "      '*.csv': {type: csv, key: id, ignore: [seconds]}\n"
        "      log.txt: {type: text, ignore: ['in [0-9.]+ s']}\n"
        "  - {path: c, compare: {type: command, run: python compare.py}}\n"
        "  - {path: d, compare: }\n"
        "cmd: x"
    ).outs
    assert [dict(out.compare) for out in outs] == [
        {"**": Comparator("json", 4)},
        {"**": Comparator("json", 5, rtol=0.01, atol=1e-8, ignore=("time.seconds", "*.latency"))},
        {
            "*.npy": Comparator("npy", 8, rtol=1.0),
            "*.csv": Comparator("csv", 9, key="id", ignore=("seconds",)),
            "log.txt": Comparator("text", 10, ignore=("in [0-9.]+ s",)),
        },
        {"**": Comparator("command", 11, run="python compare.py")},
        {},
    ]


def test_a_list_of_commands_is_one_script_and_a_block_keeps_its_lines():
    assert stage("cmd:\n  - python a.py\n  - python b.py").cmd == "python a.py\npython b.py"
    assert stage("cmd: |\n  for i in 1 2; do\n    echo $i\n  done\n").cmd == "for i in 1 2; do\n  echo $i\ndone"
    assert stage("cmd: echo $HOME ${x:-1}; rm -rf '$(x)'").cmd == "echo $HOME ${x:-1}; rm -rf '$(x)'"  # the shell's


@pytest.mark.parametrize("text", ["", "# nothing\n", "stages:\n", "stages: {}\n"])
def test_a_file_may_have_no_stages(text):
    assert parse(text.encode(), "x").stages == ()


def test_names_that_look_like_options_or_numbers_are_names():
    found = stage("cmd: x\nouts: [-rf, --help]\ndeps: ['1']", name="-x_1")
    assert (found.name, [out.path for out in found.outs], found.deps[0].path) == ("-x_1", ["-rf", "--help"], "1")


WRONG = [
    ("stages:\n  a:\n    cmd: x\n    timeout: 5", 4, "'timeout' must be a duration, not '5'"),
    ("stages:\n  a:\n    cmd: x\n    timeout: 0s", 4, "'timeout' must be a duration, not '0s'"),
    ("stages:\n  a:\n    cmd: x\n    retries: 1.5", 4, "'retries' must be a whole number from 0 to 100"),
    ("stages:\n  a:\n    cmd: x\n    resources: {cpu: -1}", 4, "'cpu' must be a number from 0"),
    ("stages:\n  a:\n    cmd: x\n    resources: {memory: lots}", 4, "'memory' must be a size, not 'lots'"),
    ("stages:\n  a:\n    cmd: x\n    resources: {gpus: 1}", 4, "'gpus' is not known in resources; did you mean 'gpu'?"),
    ("stages:\n  a:\n    cmd: x\n    mutex: [a b]", 4, "'mutex' must be a name, or a list of them, not 'a b'"),
    ("stage: {}", 1, "'stage' is not known in a pipeline file; did you mean 'stages'?"),
    ("stages: [a]", 1, "'stages' must be a mapping, not a list"),
    ("stages:\n  a b: {cmd: x}", 2, "'a b' cannot be the name of a stage"),
    ("stages:\n  é: {cmd: x}", 2, "cannot be the name of a stage"),
    ("stages:\n  " + "a" * 101 + ": {cmd: x}", 2, "cannot be the name of a stage"),
    ("stages:\n  a/b: {cmd: x}", 2, "cannot be the name of a stage"),
    ("stages:\n  a: make", 2, "the stage 'a' is not a mapping"),
    ("stages:\n  a:\n    cmd: x\n  a:\n    cmd: y", 4, "'a' is given twice"),
    ("stages:\n  a:\n    deps: [x]", 2, "the stage 'a' has no cmd"),
    ("stages:\n  a:\n    deps: [x]\n    cmd: ' '", 4, "the stage 'a' has no cmd"),
    ("stages:\n  a:\n    cmd: [x, 1]", 3, "expected text, found '1'"),
    ('stages:\n  a:\n    cmd: "a\\0b"', 3, "NUL"),
    ("stages:\n  a:\n    cmd: x\n    dep: [y]", 4, "'dep' is not known in a stage; did you mean 'deps'?"),
    ("stages:\n  a:\n    cmd: x\n    outputs: [y]", 4, "did you mean 'outs'?"),
    ("stages:\n  a:\n    cmd: x\n    deps: y", 4, "'deps' must be a list, not 'y'"),
    ("stages:\n  a:\n    cmd: x\n    deps:\n      - a\n      - [b]", 6, "expected text, found a list"),
    ("stages:\n  a:\n    cmd: x\n    deps:\n      - a\n      - 2", 6, "expected text, found '2'"),
    ("stages:\n  a:\n    cmd: x\n    deps:\n      - a\n      - /b", 6, "'/b' cannot be used: it is absolute"),
    ("stages:\n  a:\n    cmd: x\n    deps: [~/b]", 4, "'~' is not expanded"),
    ('stages:\n  a:\n    cmd: x\n    deps: ["b\\0"]', 4, "it has a NUL character"),
    ("stages:\n  a:\n    cmd: x\n    deps: ['']", 4, "it is empty"),
    ("stages:\n  a:\n    cmd: x\n    deps: [" + "d/" * 2049 + "]", 4, "longer than 4096 bytes"),
    *((f"stages:\n  a:\n    cmd: x\n    outs: [a/{name}/b]", 4, "could be taken for '.git'") for name in (".git", ".GIT", "git~1", ".dvlite", ".g\u200cit")),
    ("stages:\n  a:\n    cmd: x\n    wdir: /b", 4, "it is absolute"),
    ("stages:\n  a:\n    cmd: x\n    outs: [..]", 4, "'..' cannot be an output"),
    ("stages:\n  a:\n    cmd: x\n    outs: [b, ./b/]", 4, "the output 'b' is given twice"),
    ("stages:\n  a:\n    cmd: x\n    outs: [m.json]\n    metrics: [m.json]", 5, "the output 'm.json' is given twice"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - {cache: false}", 5, "an output without a path"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        cached: false", 6, "'cached' is not known in an output; did you mean 'cache'?"),
    ("stages:\n  a:\n    cmd: x\n    outs: [{path: b, better: {x: higher}}]", 4, "'better' is not known in an output"),
    ("stages:\n  a:\n    cmd: x\n    outs: [{path: b, cache: NO}]", 4, "'cache' must be true or false, not 'NO'"),
    ("stages:\n  a:\n    cmd: x\n    metrics: [m.png]", 4, "'m.png' is not YAML, JSON, TOML, CSV, JSON lines or text"),
    ("stages:\n  a:\n    cmd: x\n    metrics:\n      - path: m.json\n        better: {x: more}", 6, "the better 'x' is 'higher' or 'lower', not 'more'"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: jsn", 6, "'jsn' is not a way to compare; known: json, csv, npy, text"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: command", 6, "'command' is not a way to compare"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: command}", 6, "has no 'run'"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {'*.json': {rtol: 1}}", 6, "'compare' has no type"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {}", 6, "names no files"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: npy, ignore: [x]}", 6, "'ignore' is not known in a comparison as npy"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: json, rtol: x}", 6, "'rtol' must be a number"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: json, atol: -1}", 6, "'atol' must be a number of at least 0"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: json, ignore: x}", 6, "'ignore' must be a list"),
    ("stages:\n  a:\n    cmd: x\n    outs:\n      - path: b\n        compare: {type: text, ignore: ['(']}", 6, "'(' is not a regular expression"),
    ("stages:\n  a:\n    cmd: x\n    params:\n      - {p.ini: [x]}", 5, "'p.ini' is not YAML, JSON or TOML"),
    ("stages:\n  a:\n    cmd: x\n    params:\n      - {p.json: []}", 5, "no keys of 'p.json' are named"),
    ("stages:\n  a:\n    cmd: x\n    params:\n      - lr\n      - {p.json: [1]}", 6, "expected text, found '1'"),
    ("stages:\n  a:\n    cmd: x\n    env: {1A: x}", 4, "'1A' cannot be the name of a variable"),
    ("stages:\n  a:\n    cmd: x\n    env: {A-B: x}", 4, "'A-B' cannot be the name of a variable"),
    ("stages:\n  a:\n    cmd: x\n    env:\n      A: [x]", 5, "the value of A must be text or a number"),
    ("stages:\n  a:\n    cmd: x\n    env:\n      A:", 5, "the value of A must be text or a number"),
    ("stages:\n  a:\n    cmd: x\n    capture: [a b]", 4, "'a b' cannot be the name of a package"),
    ("stages:\n  a:\n    cmd: x\n    capture: [{env: A, cmd: b}]", 4, "a capture is one of a package, env and cmd"),
    ("stages:\n  a:\n    cmd: x\n    capture: [{env: A=b}]", 4, "cannot be the name of a variable"),
    ("stages:\n  a:\n    cmd: x\n    capture: [{command: b}]", 4, "'command' is not known in a capture"),
    ("stages:\n  a:\n    cmd: x\n    always: 1", 4, "'always' must be true or false, not '1'"),
    ("stages:\n  a: &a {cmd: x}\n  b: *a", 2, "anchors and aliases"),
    ("stages:\n  a: {cmd: !!python/object/apply:os.system [id]}", 2, "tags"),
    ("stages:\n  a: {cmd: x", 3, "."),
    ("stages:\n  a:\n    cmd: x\n<<<<<<< HEAD\n    deps: [x]", 4, "unresolved merge conflict"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_one_line_with_file_and_line(text, line, words):
    with pytest.raises(FormatError) as caught:
        parse(f"{text}\n".encode(), "sub/dvlite.yaml")
    message = caught.value.message
    assert re.match(rf"cannot read 'sub/dvlite\.yaml' line {line}: ", message), message
    assert words in message
    assert "\n" not in message
    assert len(message) < 4400
    assert caught.value.hint


MIB = 1 << 20
HOSTILE = {
    "brackets": b"[" * MIB,
    "braces": (b"{a: " * MIB)[:MIB],
    "dashes": (b"- " * MIB)[:MIB],
    "deep": b"\n".join(b" " * depth + b"a:" for depth in range(1400)),
    "aliases": b"a: &a [x, x]\nb: &b [*a, *a]\n",
    "too large": b"a: " + b"x" * (10 << 20),
    "many values": (b"stages: [" + b"1," * MIB)[:MIB],
    "many keys": "".join(f"a{number}:\n" for number in range(130_000)).encode(),
    "many stages": b"stages:\n" + b"".join(b" s%d: {cmd: x}\n" % number for number in range(20_000)),
    "long word": b"stages:\n  a:\n    cmd: x\n    deps: [" + b"x" * (MIB - 100) + b"]\n",
    "binary": bytes(range(256)) * 100,
    "unknown keys": b"stages:\n  a:\n    cmd: x\n    " + b"d" * 900_000 + b": 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_in_one_line(name):
    with pytest.raises(FormatError, match=r"cannot read 'x' line \d+: ") as caught:
        parse(HOSTILE[name], "x")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_four_times_the_stages_take_four_times_the_work():
    body = "{cmd: python x.py | tee log, deps: [a, b/c], outs: [o%d, {path: m%d.json, cache: false}], params: [lr, net.depth]}"

    def text(count):
        return ("stages:\n" + "".join(f"  s{n}: {body % (n, n)}\n" for n in range(count))).encode()

    assert len(parse(text(200), "x").stages) == 200
    assert grows_linearly(lambda data: parse(data, "x"), text(50), text(200), times=4)


def test_without_libyaml_everything_is_read_the_same(monkeypatch):
    import yaml

    with_it = parse(FULL.encode(), "x")
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert parse(FULL.encode(), "x") == with_it
    for text, line, _ in WRONG:
        with pytest.raises(FormatError, match=rf"line ({line}|{line - 1}|{line + 1}): "):
            parse(f"{text}\n".encode(), "x")


# --- the schema for editors

SCHEMA = json.loads(files("dvlite.formats").joinpath("pipeline_schema.json").read_text())


def test_the_schema_knows_the_keys_that_the_parser_knows():
    parts = SCHEMA["$defs"]
    assert {*SCHEMA["properties"]} == {*pipeline.FILE_KEYS}
    assert tuple(parts["loose_metric"]["properties"]) == pipeline.LOOSE_METRIC_KEYS
    assert tuple(parts["stage"]["properties"]) == (*pipeline.STAGE_KEYS, templates.MATRIX, "vars")
    assert tuple(parts["foreach"]["properties"]) == templates.FOREACH_KEYS
    assert tuple(parts["stage"]["properties"]["resources"]["properties"]) == pipeline.RESOURCE_KEYS
    assert tuple(parts["out"]["properties"]) == pipeline.OUT_KEYS
    assert tuple(parts["metric"]["properties"]) == pipeline.METRIC_KEYS
    assert tuple(parts["capture"]["properties"]) == pipeline.CAPTURE_KEYS
    assert tuple(parts["plot"]["properties"]) == plots.PLOT_KEYS
    assert parts["plot"]["properties"]["template"]["oneOf"][0]["enum"] == [*plots.TEMPLATES]
    check = parts["check"]["properties"]
    assert {*check} == {*checks.CHECK_KEYS}
    assert tuple(check["columns"]["oneOf"][2]["additionalProperties"]["enum"]) == checks.TYPES
    assert tuple(check["drift"]["properties"]) == checks.DRIFT_KEYS
    assert tuple(check["fresh"]["properties"]) == checks.FRESH_KEYS
    assert tuple(check["on"]["oneOf"][2]["properties"]) == checks.EVENTS
    comparators = parts["comparator"]["oneOf"]
    assert tuple(comparators[0]["enum"]) == comparator.WORDS
    said = {part["properties"]["type"]["enum"][0]: tuple(part["properties"])[1:] for part in comparators[1:]}
    assert said == comparator.KEYS
    assert parts["metric"]["properties"]["better"]["additionalProperties"] == {
        "enum": list(get_args(pipeline.Direction))
    }
    assert all(
        part["additionalProperties"] is False
        for part in (SCHEMA, *(parts[key] for key in ("stage", "out", "metric", "capture")))
    )
    assert SCHEMA["properties"]["stages"]["maxProperties"] == pipeline.MAX_STAGES


def test_the_patterns_of_the_schema_are_those_of_the_parser():
    parts = SCHEMA["$defs"]
    assert SCHEMA["properties"]["stages"]["propertyNames"]["pattern"] == f"^{pipeline.STAGE_NAME.pattern}$"
    assert parts["variable"]["pattern"] == f"^{pipeline._VARIABLE.pattern}$"
    assert parts["package"]["pattern"].replace("(", "(?:") == f"^{pipeline._PACKAGE.pattern}$"
    for suffix in pipeline.VALUE_SUFFIXES:
        assert re.search(parts["values_file"]["pattern"], f"a{suffix}")
        assert re.search(parts["values_file"]["pattern"], f"a{suffix.upper()}")
    assert not re.search(parts["values_file"]["pattern"], "a.csv")
    for suffix in (*pipeline.VALUE_SUFFIXES, *parameters.PLAIN_SUFFIXES, *SERIES_SUFFIXES, ".out.tfevents.1.host"):
        assert re.search(parts["metrics_file"]["pattern"], f"in/a{suffix}")
    assert not re.search(parts["metrics_file"]["pattern"], "a.png")


def allows(schema, value):
    """Says whether the part of JSON Schema that ours uses accepts a value."""
    if "$ref" in schema:
        return allows(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value)
    if "oneOf" in schema and sum(allows(part, value) for part in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {
        "integer": int,
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "number": (int, float),
    }
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    fits = [
        isinstance(value, kinds[kind]) and (kind not in ("number", "integer") or not isinstance(value, bool))
        for kind in wanted
    ]
    if wanted and not any(fits):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        return (
            all(key in value for key in schema.get("required", ()))
            and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
            and all(allows(schema.get("propertyNames", {}), key) for key in value)
            and all(
                allows(known[key], item) if key in known else more is True or (more is not False and allows(more, item))
                for key, item in value.items()
            )
        )
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(allows(schema.get("items", {}), item) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, str):
        forbidden = schema.get("not", {}).get("pattern")
        return (
            len(value) >= schema.get("minLength", 0)
            and (re.search(schema["pattern"], value) is not None if "pattern" in schema else True)
            and not (forbidden and re.search(forbidden, value))
        )
    return True


def test_the_schema_accepts_what_the_parser_accepts():
    from dvlite.formats.strict_yaml import load

    assert allows(SCHEMA, load(FULL.encode(), "x").value)
    assert allows(SCHEMA, {"stages": {"a": {"cmd": ["x", "y"], "params": [{"a.yaml": "k"}], "deps": None}}})
    outs = [{"path": "a", "compare": "csv"}, {"path": "b", "compare": {"type": "json", "rtol": 0.1}}]
    outs += [{"path": "c", "compare": {"*.json": "json", "*.npy": {"type": "npy"}}}, {"path": "d", "compare": None}]
    assert allows(SCHEMA, {"stages": {"a": {"cmd": "x", "outs": outs}}})
    assert allows(SCHEMA, load(test_templates.OF_DVC.encode(), "x").value)
    drawn = [
        "a.csv",
        {"path": ["a.csv", "b/"], "y": ["l"], "template": "roc", "x": "f"},
        {"y": {"a.csv": "l", "b.csv": ["l"]}, "template": "t.json"},
    ]
    assert allows(SCHEMA, {"plots": drawn})
    assert not allows(SCHEMA, {"plots": [{"path": "a.csv", "template": "pie"}]})
    filled = {"cmd": "${c}", "deps": "${d}", "frozen": "${f}", "retries": "${r}", "timeout": "${t}m", "mutex": "${m}"}
    filled |= {"matrix": {"a": "${l}"}, "resources": {"gpu": "${g}", "memory": "${g}GB"}, "metrics": ["${m}"]}
    assert allows(SCHEMA, {"vars": ["a.yaml:b,c", {"x": 1}], "stages": {"a": filled}})


NOT_IN_A_SCHEMA = (
    "'0s'",
    "given twice",
    "NUL",
    "has no cmd",
    "longer than",
    "'.git'",
    "cannot be an output",
    "anchors",
    "tags",
    "it is empty",
    "conflict",
    "at least 0",
    "regular expression",
)


def test_the_schema_refuses_what_the_parser_refuses():
    from dvlite.formats.strict_yaml import load

    for text, _, words in WRONG:
        if words == "." or any(part in words for part in NOT_IN_A_SCHEMA):
            continue
        assert not allows(SCHEMA, load(f"{text}\n".encode(), "x").value), text


def test_a_small_file_cannot_take_much_memory():
    with pytest.raises(FormatError, match="more than 200000 values"):
        parse(b"stages: {a: {cmd: x, deps: [" + b"b," * 300_000 + b"]}}\n", "x")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("*a*a*a*a*", "more than 4 '*' in one name"),
        ("**/a/**/b/**/c/**", "more than 3 '**'"),
        ("a/" * 500 + "b*", "longer than 1,000 characters"),
        ("[z-a]*", "a range in '[z-a]' goes downwards"),
        ("[a--b]", "a range in '[a--b]' goes downwards"),
        ("x/[!é-a]", "goes downwards"),
    ],
)
@pytest.mark.parametrize("key", ["deps", "outs"])
def test_pattern_that_would_take_for_ever_or_means_nothing_is_refused(key, pattern, reason):
    with pytest.raises(FormatError) as caught:
        stage(f"cmd: x\n{key}:\n  - '{pattern}'")
    assert "cannot read 'dvlite.yaml' line 5: the pattern '" in caught.value.message
    assert reason in caught.value.message


@pytest.mark.parametrize("pattern", ["**/**/**/zzz*", "*a*a*a*", "[a&&b]", "[--a]", "[!]", "[]", "[a-]", "é[à-é]"])
def test_pattern_that_can_be_looked_for_is_taken(pattern):
    assert stage(f"cmd: x\ndeps: ['{pattern}']").deps[0].path == pattern


@pytest.mark.filterwarnings("error")
@example("*[[--[")
@given(st.text("[]!^-&|~a[]zé\\\\*", max_size=12))
def test_pattern_that_is_taken_can_be_compiled(text):
    try:
        taken = pipeline.parse(
            json.dumps({"stages": {"s": {"cmd": "x", "deps": [f"p/{text}"]}}}).encode(), "dvlite.yaml"
        )
    except FormatError:
        return
    selector([taken.stages[0].deps[0].path])


def test_the_number_of_dependencies_with_wildcards_is_limited():
    deps = "".join(f"    - d{number}/*\n" for number in range(2001))
    with pytest.raises(FormatError, match="2001 dependencies with wildcards"):
        parse(f"stages:\n  a:\n    cmd: x\n    deps:\n{deps}".encode(), "dvlite.yaml")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("""cmd: echo '{"acc": 0.5}' > m.json""", "quote a value that has ': ' in it"),
        ("cmd: @echo x", "quote a value that begins with @"),
        ("\tcmd: echo x", "indent by spaces"),
        ("cmd: 'a' b", "quote the whole value"),
    ],
)
def test_the_commonest_slips_have_a_hint_of_their_own(line, advice):
    with pytest.raises(FormatError) as refused:
        parse(f"stages:\n  s:\n    {line}\n    outs: [m]\n".encode(), "dvlite.yaml")
    assert advice in (refused.value.hint or "")
