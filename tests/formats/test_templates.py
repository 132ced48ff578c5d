"""Values and templates of pipeline files; what DVC makes of the examples in its documentation is kept here as data."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats import templates
from dvlite.formats.pipeline import parse
from tests.counting import grows_linearly

FILES = {
    "params.yaml": """\
models:
  us: {threshold: 10, filename: model-us.hdf5}
mydict:
  foo: foo
  bar: 1
  bool: true
  nested: {baz: bar}
  list: [2, 3, qux]
myobject:
  one: {prop1: 1, prop2: a.txt}
  two: {prop1: 2, prop2: b.txt}
lr: 0.1
script: python train.py --fast
""",
    "params.json": """{"clean": {"filename": "clean.csv"}, "feats": {"exec": "python featurize.py", "dirname": "features"}, "other": 1}""",
    "conf/net.toml": "depth = 18\n[net]\nname = 'a b'\n",
    "broken.yaml": "x: 1\ny: [1\n",
}


def read(name):
    return FILES[name].encode() if name in FILES else None


def parsed(text):
    return parse(text.encode(), "dvlite.yaml", read)


def commands(text):
    return {stage.name: stage.cmd for stage in parsed(text).stages}


def command(text, variables="[]"):
    (cmd,) = commands(f"vars: {variables}\nstages:\n  s:\n    cmd: |\n      {text}\n").values()
    return cmd


# The examples of DVC's documentation on templating, foreach and matrix, and what `dvc stage list` and `dvc repro --dry` (3.x) print.
OF_DVC = """\
vars:
  - params.json:clean,feats
  - desc: Reusable description
stages:
  build-us:
    desc: ${desc}
    cmd: >-
      python train.py
      --thresh ${models.us.threshold}
      --out ${models.us.filename}
    outs:
      - ${models.us.filename}
  options:
    cmd: R train.r ${mydict}
  featurize:
    cmd: ${feats.exec}
    deps:
      - ${clean.filename}
    outs:
      - ${feats.dirname}
  cleanups:
    foreach:
      - raw1
      - labels1
      - raw2
    do:
      cmd: clean.py "${item}"
      outs:
        - ${item}.cln
  train:
    foreach:
      - epochs: 3
        thresh: 10
      - epochs: 10
        thresh: 15
    do:
      cmd: python train.py ${item.epochs} ${item.thresh}
  build:
    foreach:
      uk:
        epochs: 3
        thresh: 10
      us:
        epochs: 10
        thresh: 15
    do:
      cmd: python train.py '${key}' ${item.epochs} ${item.thresh}
      outs:
        - model-${key}.hdfs
  mystages:
    foreach: ${myobject}
    do:
      cmd: ./script.py ${key} ${item.prop1}
      outs:
        - ${item.prop2}
  grid:
    matrix:
      model: [cnn, xgb]
      feature: [feature1, feature2, feature3]
    cmd: ./train.py --feature ${item.feature} ${item.model}
    outs:
      - ${item.feature}/${item.model}.pkl
  tune:
    matrix:
      model: [cnn]
      config: [{lr: 0.1, n: [1, 2]}, {lr: 0.01, n: [3]}]
    cmd: ./train.py ${item.model} --lr ${item.config.lr} --first ${item.config.n[0]} --name ${key}
    outs:
      - ${key}.pkl
"""
BY_DVC = """\
build-us: python train.py --thresh 10 --out model-us.hdf5
options: R train.r --foo foo --bar 1 --bool --nested.baz bar --list 2 3 qux
featurize: python featurize.py
cleanups@raw1: clean.py "raw1"
cleanups@labels1: clean.py "labels1"
cleanups@raw2: clean.py "raw2"
train@0: python train.py 3 10
train@1: python train.py 10 15
build@uk: python train.py 'uk' 3 10
build@us: python train.py 'us' 10 15
mystages@one: ./script.py one 1
mystages@two: ./script.py two 2
grid@cnn-feature1: ./train.py --feature feature1 cnn
grid@cnn-feature2: ./train.py --feature feature2 cnn
grid@cnn-feature3: ./train.py --feature feature3 cnn
grid@xgb-feature1: ./train.py --feature feature1 xgb
grid@xgb-feature2: ./train.py --feature feature2 xgb
grid@xgb-feature3: ./train.py --feature feature3 xgb
tune@cnn-config0: ./train.py cnn --lr 0.1 --first 1 --name cnn-config0
tune@cnn-config1: ./train.py cnn --lr 0.01 --first 3 --name cnn-config1
"""


def test_the_examples_of_dvc_make_the_same_stages_and_commands():
    found = parsed(OF_DVC)
    assert "".join(f"{stage.name}: {stage.cmd}\n" for stage in found.stages) == BY_DVC
    by_name = {stage.name: stage for stage in found.stages}
    assert by_name["build-us"].desc == "Reusable description"
    assert [
        by_name[name].outs[0].path for name in ("build@us", "mystages@two", "grid@xgb-feature3", "tune@cnn-config1")
    ] == [*("model-us.hdfs", "b.txt", "feature3/xgb.pkl", "cnn-config1.pkl")]
    assert by_name["featurize"].deps[0].path == "clean.csv"
    assert found.values == ("params.json", "params.yaml")


def test_a_matrix_names_its_instances_by_text_and_by_numbers_with_their_axis():
    found = parsed(
        "vars: [{rates: [0.1, 1e-5]}]\n"
        "stages:\n"
        "  train:\n"
        "    matrix: {model: [svm, a/b c], lr: '${rates}', seed: [7], fast: [true]}\n"
        "    cmd: train ${item.model} ${item.lr} ${item.seed} ${item.fast}\n"
        "    outs: ['${key}.pt']\n"
    ).stages
    assert [(stage.name, stage.cmd) for stage in found] == [
        ("train@svm-lr0.1-seed7-fasttrue", "train svm 0.1 7 true"),
        ("train@svm-lr1e-05-seed7-fasttrue", "train svm 1e-05 7 true"),
        ("train@a_b_c-lr0.1-seed7-fasttrue", "train 'a/b c' 0.1 7 true"),
        ("train@a_b_c-lr1e-05-seed7-fasttrue", "train 'a/b c' 1e-05 7 true"),
    ]
    assert found[2].outs[0].path == "a_b_c-lr0.1-seed7-fasttrue.pt"
    assert found[2].axes == {"model": "a/b c", "lr": 0.1, "seed": 7, "fast": True}
    assert {(stage.template, stage.line, stage.cmd_line, stage.outs[0].line) for stage in found} == {("train", 3, 5, 6)}


def test_a_value_alone_keeps_its_type_and_in_a_text_is_text():
    (stage,) = parsed(
        "vars: [{files: [a, 'b c'], yes: true, some: {a.toml: [x]}, n: 2}, 'conf/net.toml:net']\n"
        "stages:\n"
        "  s: {cmd: x, deps: '${files}', always: '${yes}', params: ['${some}', '${net.name}.k'], env: {A: '${n}', B: 'x${yes}'},"
        " outs: ['o-${n}-${files[1]}'], retries: '${n}', wdir: 'd${n}', desc: '\\${n}'}\n"
    ).stages
    assert ([dep.path for dep in stage.deps], stage.always, stage.limits.retries) == (["a", "b c"], True, 2)
    assert [(param.file, param.keys) for param in stage.params] == [("a.toml", ("x",)), ("params.yaml", ("a b.k",))]
    assert (dict(stage.env), stage.outs[0].path, stage.wdir) == ({"A": "2", "B": "xtrue"}, "o-2-b c", "d2")
    assert stage.desc == "${n}"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("x ${v}", "x 'it'\"'\"'s $A'"),
        ('x "${v}"', 'x "it\'s \\$A"'),
        ("x '${v}'", "x 'it'\\''s $A'"),
        ('x "$(y ${v})"', "x \"$(y 'it'\"'\"'s $A')\""),
        ("x # don't\n      y ${lr}", "x # don't\ny 0.1"),
        ("x \\' ${v}", "x \\' 'it'\"'\"'s $A'"),
        ("x ${l}", "x a 'b c' 1"),
        ("x ${m}", "x --a 'b c' --n.x 1 --t --l 1 2"),
        ("x \\${lr} ${a:-1} ${#b} $lr", "x ${lr} ${a:-1} ${#b} $lr"),
        ("${script}", "python train.py --fast"),
        ("x ${script}", "x 'python train.py --fast'"),
    ],
)
def test_a_value_in_a_command_is_one_word_where_it_stands(text, filled):
    variables = """[{v: "it's $A", l: [a, b c, 1], m: {a: b c, n: {x: 1}, t: true, f: false, l: [1, 2]}}]"""
    if text == "${script}":
        assert commands("stages: {s: {cmd: '${script}'}}") == {"s": filled}
    else:
        assert command(text, variables) == filled


def test_variables_may_need_each_other():
    variables = "[{a: '${b.y}', b: {x: '${a}', y: 1}, c: ['${b}', 'z-${a}']}]"
    assert command("x ${c[0].x} ${c[1]}", variables) == "x 1 z-1"


def test_a_stage_has_variables_of_its_own():
    text = (
        "vars: [{root: out, twice: '${lr}${lr}'}]\n"
        "stages:\n"
        "  s: {vars: [{a: '${root}/a', lr: 5}, 'conf/net.toml:depth'], cmd: 'x ${a} ${lr} ${depth} ${twice}'}\n"
        "  t: {matrix: {n: [1, 2]}, vars: [{a: '${root}/${key}', b: ['${a}', x]}], cmd: 'y ${b} ${item.n}', deps: '${b}'}\n"
        "  u: {foreach: [k], do: {vars: [{a: '${item}'}], cmd: '${a} ${lr}'}}\n"
    )
    assert commands(text) == {
        "s": "x out/a 5 18 0.10.1",
        "t@n1": "y out/n1 x 1",
        "t@n2": "y out/n2 x 2",
        "u@k": "k 0.1",
    }


STAGE = "stages: {s: {cmd: x, deps: ['%s']}}"
WRONG = [
    ("stages:\n  s:\n    cmd: x\n    deps:\n      - a\n      - ${rl}", 6, "no variable 'rl'"),
    ("stages: {s: {cmd: 'echo ${HOME}'}}", 1, "no variable 'HOME'"),
    (STAGE % "${item}", 1, "only in stages with 'foreach' or 'matrix'"),
    (STAGE % "${models.ux}", 1, "${models} has no 'ux'"),
    (STAGE % "${mydict.list[3]}", 1, "has no item 3: it has 3"),
    (STAGE % "${lr.x}", 1, "${lr} is '0.1'"),
    (STAGE % "a-${models}", 1, "${models} is a mapping, where text is needed"),
    (STAGE % "${models}", 1, "expected text, found a mapping"),
    ("stages: {s: {cmd: 'x \"${models}\"'}}", 1, "${models} is a mapping, where text is needed"),
    (STAGE % "${a b}", 1, "'${a b}' names no variable"),
    ("vars:\n  - a: ${b}\n    b:\n      c: ${a}\n" + STAGE % "${a}", 2, "in a circle: a <- b <- b.c <- a"),
    ("vars:\n  - {a: 1}\n  - {a: 2}", 3, "'a' is given twice"),
    ("vars: [{a: 1}]\nstages:\n  s:\n    cmd: x\n    vars:\n      - {a: 2}", 6, "'a' is given twice"),
    ("stages:\n  s:\n    vars: [{a: '${b}', b: 1}]\n    cmd: x", 3, "no variable 'b'"),
    (
        f"stages:\n  s:\n    cmd: x\n    vars: [{{{', '.join(f'v{n}: 1' for n in range(51))}}}]",
        4,
        "at most 50 variables",
    ),
    ("vars: [{item: 2}]", 1, "'item' stands for an item"),
    ("vars: {a: 1}", 1, "'vars' must be a list"),
    ("vars: [3]", 1, "expected a file or a mapping, found '3'"),
    ("vars:\n  - none.yaml", 2, "there is no 'none.yaml'"),
    ("vars:\n  - broken.yaml", 2, "cannot read 'broken.yaml' line 3"),
    ("vars:\n  - conf/net.toml:dpth", 2, "there is no 'dpth' in 'conf/net.toml'"),
    (
        "stages:\n  s:\n    foreach:\n      - a/b\n      - a_b\n    do: {cmd: x}",
        5,
        "two items make the same stage, 's@a_b'",
    ),
    (
        "stages:\n  s:\n    matrix: {a: [x, x-y], b: [y-z, z]}\n    cmd: x",
        3,
        "two items make the same stage, 's@x-y-z'",
    ),
    ("stages:\n  s:\n    foreach: []\n    do: {cmd: x}", 3, "'foreach' must be a list or mapping"),
    ("stages:\n  s:\n    foreach: [1]\n    cmd: x", 4, "'cmd' is not known beside 'foreach'"),
    ("stages: {s: {foreach: [1]}}", 1, "the stage 's@1' is not a mapping"),
    ("stages: {s: {matrix: {a: 1}, cmd: x}}", 1, "'a' in 'matrix' must be a name, and a list"),
    (f"stages: {{s: {{foreach: [{'a' * 121}], do: {{cmd: x}}}}}}", 1, "it has 121 characters"),
]


@pytest.mark.parametrize(("text", "line", "reason"), WRONG, ids=[reason for _, _, reason in WRONG])
def test_what_cannot_be_filled_in_is_refused_with_its_line(text, line, reason):
    with pytest.raises(FormatError) as caught:
        parsed(text)
    assert (caught.value.file, caught.value.line) == ("dvlite.yaml", line)
    assert reason in caught.value.reason
    assert caught.value.hint


AXES = ", ".join(f"a{number}: [1, 2, 3, 4, 5]" for number in range(100))
MANY = "[" + ", ".join(map(str, range(6000))) + "]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"stages: {{s: {{matrix: {{{AXES}}}, cmd: x}}}}", "stages, and the file may have 10,000 more"),
        ("stages: {s: {foreach: '${l}', do: {cmd: x}}, t: {foreach: '${l}', do: {cmd: x}}}", "may have 4,000 more"),
        ("stages: {s: {foreach: '${l}', do: {cmd: x, deps: [a, b, c, d, e, f]}}}", "more than 2 MiB"),
    ],
)
def test_a_small_file_makes_a_bounded_number_of_stages(text, reason, monkeypatch):
    monkeypatch.setattr(templates, "_MAX_SIZE", 2 << 20)
    with pytest.raises(FormatError) as caught:
        parse(f"vars: [{{l: {MANY}}}]\n{text}".encode(), "dvlite.yaml")
    assert reason in caught.value.reason


@pytest.mark.parametrize("again", ["'${v%d}${v%d}${v%d}'", "['${v%d}', '${v%d}', '${v%d}']", "'${v%d}'"])
def test_variables_that_multiply_each_other_are_refused(again):
    text = "vars:\n" + "".join(f"  - {{v{at}: {again.replace('%d', str(at + 1))}}}\n" for at in range(60))
    with pytest.raises(FormatError, match=r"more than 32 MiB|deeper than 50 levels"):
        parsed(f"{text}  - {{v60: xxxxxxxx}}\n" + STAGE % "${v0}")


def test_four_times_the_instances_take_four_times_the_work():
    def text(count):
        body = "    cmd: x ${item.a} ${lr}\n    deps: [a, b]\n    outs: ['${key}.o']\n"
        return f"stages:\n  s:\n    matrix: {{a: {[*range(count)]}, b: [1, 2]}}\n{body}"

    assert len(parsed(text(100)).stages) == 200
    assert grows_linearly(parsed, text(25), text(100), times=4)
