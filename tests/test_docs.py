"""The documentation is true: links resolve, tables equal the code, and what the tutorial shows is what happens.

A block marked `console` in the pages of EXECUTED is run: lines that start with `$ ` are commands (`> ` continues one), the lines after
them what they print, on either stream. Blocks of one page run in order in one shell, in an empty folder. If any output is shown, all of
it is, with `...` for what varies: inside a line for any text, alone on a line for any lines. `[exit 1]` at the end of the output is the
exit code, where it is not 0. A command without output shown may print anything. Runs of spaces compare as one.

Blocks marked `python` that have `>>> ` run between them as doctests, in one Python in the folder that the shell is in then; `...` in what
is shown stands for any text.
"""

import contextlib
import doctest
import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvlite import errors
from dvlite.commands.merge_driver import MergeDriverResult
from dvlite.formats import config
from tests.result_types import json_names, results_and_rows

PROJECT = Path(__file__).parent.parent
DOCS = PROJECT / "docs"
PACKAGE = PROJECT / "dvlite"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *PROJECT.glob("examples/*/README.md"), PROJECT / "README.md", PROJECT / "CHANGELOG.md"]
)
EXECUTED = [
    *sorted(DOCS.glob("tutorial*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
    DOCS / "reference" / "json.md",
    DOCS / "reference" / "python.md",
    PROJECT / "README.md",
]
WITH_PACKAGES = {
    "delta-tables.md": ("deltalake", "pyarrow")
}  # pages that are run where these are installed, with the long tests
TEXT_SUFFIXES = {".md", ".py", ".sh", ".toml", ".yaml", ".yml", ".txt", ".json", ""}

WITHOUT_CLASS = {0, 4, 5, 70, 130}  # exit codes that no error class stands for: success, pipelines, bugs, interrupts
STORE_FORMATS = ("pack", "index")  # modules of the store that own an on-disk format
# Parts of formats, no file of their own.
NO_FORMATS = (
    "delta_log",  # not ours, as the next two
    "dvc_files",
    "dvc_pipeline",
    "source",  # a block of a pointer
    "checks",  # of a pipeline file, as the next
    "comparator",
    "event_file",
    "git_objects",  # git's, as the next
    "lfs_attributes",
    "lfs_transfer",
    "manifest_parts",
    "map_stage",  # a part of the pipeline file
    "mar",  # of TorchServe
    "parquet",
    "pbtxt",  # of protobuf
    "plots",
    "protobuf",
    "strict_fields",
    "strict_json",
    "shell_text",
    "table_formats",
    "strict_yaml",
    "tables",  # of the pipeline file
    "templates",
    "wandb_log",
    "yaml_edit",
)


def named(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(path: Path) -> set[str]:
    """Returns the anchors of a page's headings, made as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_internal_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_relative_to(PROJECT), f"{target} leaves the project"
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(path), f"{target}: no such heading"


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [PROJECT / "README.md", DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)", without_code(page.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z]+:", target) and (page.parent / target).is_file():
                waiting.append((page.parent / target).resolve())
    assert not {named(page) for page in PAGES} - {named(page) for page in seen}


def error_classes() -> dict[str, int]:
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.DvliteError)
    ]
    return {cls.__name__: cls.exit_code for cls in classes}


def test_exit_codes_in_the_docs_are_those_of_the_errors():
    text = sections(DOCS / "reference" / "exit-codes.md")["Exit codes"]
    rows = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", text, flags=re.MULTILINE)
    documented = {name: int(code) for code, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert documented == error_classes()
    assert {int(code) for code, _ in rows} == {*error_classes().values(), *WITHOUT_CLASS}


def verbs() -> Iterator[tuple[str, object]]:
    """Yields every command line without its arguments, `dvlite remote add`, with click's command for it."""
    click = pytest.importorskip("click")
    from dvlite.cli import main

    def walk(group, words: str) -> Iterator[tuple[str, object]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None or command.hidden:
                continue
            if isinstance(command, click.Group):
                yield from walk(command, f"{words} {name}")
                continue
            yield f"{words} {name}", command

    yield from walk(main.app, "dvlite")


def commands() -> Iterator[tuple[str, set[str]]]:
    """Yields every command line with the flags that it does not share with all others."""
    click = pytest.importorskip("click")
    from dvlite.cli import options as frame

    common = {flag for option in frame.COMMON for flag in option.opts} | {"--help", "-h"}
    for words, command in verbs():
        options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        yield words, {flag for option in options for flag in option.opts} - common


def test_exit_codes_of_each_command_in_the_docs_are_those_of_its_help():
    text = sections(DOCS / "reference" / "exit-codes.md")["Codes of each command"]
    rows = re.findall(r"^\| `(dvlite [^`]+)` \| ([\d, ]*)\|$", text, flags=re.MULTILINE)
    documented = {name: [int(code) for code in re.findall(r"\d+", codes)] for name, codes in rows}
    assert documented == {words: sorted(command.codes) for words, command in verbs()}


def sections(page: Path) -> dict[str, str]:
    """Returns the text below each heading of a page, by the heading without backticks."""
    parts = re.split(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {parts[i].replace("`", ""): parts[i + 1] for i in range(1, len(parts), 2)}


def table_rows(text: str) -> list[str]:
    """Returns the first cell of every row of the tables in a text."""
    return re.findall(r"^\| (.+?) \|", text, flags=re.MULTILINE)


def test_every_command_and_flag_is_in_the_reference_and_no_other():
    found = sections(DOCS / "reference" / "cli.md")
    documented = {
        name: {flag for cell in table_rows(text) for flag in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", cell)}
        for name, text in found.items()
        if name.startswith("dvlite ")
    }
    assert documented == dict(commands())


def command_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yields the command lines of dvlite in a page, and whether each stands in a block, where none is a mere name."""
    for number, part in enumerate(re.split(r"^ *```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            code = re.sub(r"\\\n(?:> )?|(?:^|\s)#.*$", " ", part, flags=re.MULTILINE)
            code = re.sub(
                r'"SELECT [^"\n]*"|\'[a-z]+[<>][^\'\n]*\'', lambda quoted: re.sub(r"[()<>;|&]", "_", quoted[0]), code
            )
            code = "\n".join(re.split(r"&&|\|\|?|;|\$\(|\)", code))
            found = re.findall(r"^ *(?:\$ |(?:- )?run: )?(?:[A-Z_]+=\S* )*dvlite (.*)$", code, flags=re.MULTILINE)
        else:
            found = re.findall(r"`(?:[A-Z_]+=\S* )*dvlite (?![\d-]+ )([^`|]*)[^`]*`", part)
        yield from ((line.partition(">")[0], bool(number % 2)) for line in found)


def unparsed(line: str, *, whole: bool) -> str:
    """Parses a command line without running it; returns what is wrong with it. Names of verbs stand alone if not `whole`."""
    click = pytest.importorskip("click")
    from dvlite.cli import main

    words = [word for word in shlex.split(line) if word != "..."]
    group, context = main.app, None
    try:
        while isinstance(group, click.Group):
            context = group.make_context(group.name, words, parent=context, obj={})
            words = [*context._protected_args, *context.args]
            _, group, words = group.resolve_command(context, words)
        group.make_context(group.name, words, parent=context)
    except click.exceptions.Exit:  # --help, --version
        return ""
    except click.MissingParameter as error:
        return error.format_message() if whole else ""
    except (click.UsageError, errors.UsageError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", sorted({*PAGES} - {PROJECT / "CHANGELOG.md"}), ids=named)
def test_every_command_line_in_a_page_is_one(page, capsys):
    lines = command_lines(page.read_text(encoding="utf-8"))
    findings = [f"dvlite {line}: {wrong}" for line, whole in lines if (wrong := unparsed(line, whole=whole))]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("`dvlite rm` and `dvlite push -j 4`", True),
        ("`dvlite push --jbos 4`", False),
        ("`dvlite runs tga`", False),
        ("```console\n$ dvlite rm\n```", False),
        ("```sh\ncd x && dvlite rm data | head -1  # -x\n```", True),
        ("```sh\nX=1 dvlite rm \\\n  --keap data\n```", False),
        ("```yaml\n      - run: dvlite verify --remot\n```", False),
        ("```yaml\n      - run: dvlite verify --remote > out\n```", True),
    ],
)
def test_a_wrong_command_line_is_noticed(text, right):
    assert [not unparsed(line, whole=whole) for line, whole in command_lines(text)][-1] == right


def test_every_field_of_every_result_is_in_the_reference_and_no_other():
    found = sections(DOCS / "reference" / "json.md")
    for cls in results_and_rows():
        # A format has a page of its own; git runs the driver; an inlined class is part of the one that holds it.
        if cls.__module__.startswith("dvlite.formats.") or cls is MergeDriverResult or hasattr(cls, "INLINE"):
            continue
        heading = getattr(cls, "schema", cls.__name__)
        assert heading in found, f"docs/reference/json.md has no heading for {heading}"
        documented = [cell.strip("`") for cell in table_rows(found[heading]) if cell.startswith("`")]
        assert documented == json_names(cls), heading


def test_every_method_of_the_python_api_is_in_the_reference_as_it_is():
    import dvlite

    def shown(name: str, function: object) -> str:
        signature = inspect.signature(function)
        arguments = [
            each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name != "self"
        ]
        return f"{name}{signature.replace(parameters=arguments, return_annotation=signature.empty)}"

    methods = {name: method for name, method in vars(dvlite.Repo).items() if not name.startswith("_")}
    wanted = {f"repo.{name}": shown(f"repo.{name}", method) for name, method in methods.items()}
    functions = {name: getattr(dvlite, name) for name in dvlite.__all__ if name[0].islower()}
    wanted |= {f"dvlite.{name}": shown(f"dvlite.{name}", function) for name, function in functions.items()}
    wanted["dvlite.Repo"] = shown("dvlite.Repo", dvlite.Repo)
    found = sections(DOCS / "reference" / "python.md")
    documented = {name: re.search(r"```python\n(.*?)\n```", found.get(name, ""), flags=re.DOTALL) for name in wanted}
    lines = {name: block and " ".join(block[1].split()) for name, block in documented.items()}
    assert {name: line and line.replace("( ", "(").replace(", )", ")") for name, line in lines.items()} == wanted
    assert not [name for name, text in found.items() if name in wanted and ">>> " not in text], "without an example"


def test_every_setting_and_variable_is_in_the_reference():
    text = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    keys = {cell.strip("`") for cell in table_rows(sections(DOCS / "reference" / "config.md")["Keys"]) if "`" in cell}
    patterns = {"remotes.NAME.url", "remotes.NAME.OPTION"}
    assert keys == {*config._VALUES, *patterns}
    assert not [name for name in config.ENVIRONMENT_KEYS if f"| `{name}` |" not in text]


def formats() -> list[str]:
    modules = [
        path.stem for path in sorted((PACKAGE / "formats").glob("*.py")) if path.stem not in ("__init__", *NO_FORMATS)
    ]
    return modules + [name for name in STORE_FORMATS if (PACKAGE / "store" / f"{name}.py").exists()]


@pytest.mark.parametrize("name", formats())
def test_every_format_has_its_page(name):
    assert (DOCS / "reference" / "formats" / f"{name.replace('_', '-')}.md").exists()


def test_every_page_that_the_code_names_exists():
    for path in [*PACKAGE.rglob("*.py"), *(PROJECT / "benchmarks").rglob("*.py")]:
        for name in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
            assert (PROJECT / name).exists(), f"{named(path)} names {name}"


def test_no_page_or_source_names_a_machine():
    forbidden = [f"/{name}/" for name in ("work", "root")] + ["pypi" + ".org", "python" + "hosted"]
    findings = []
    for folder in ("", ".ci", "benchmarks", "docs", "dvlite", "examples", "tests"):
        paths = (PROJECT / folder).rglob("*") if folder else PROJECT.iterdir()
        for path in paths:
            if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
                text = path.read_text(encoding="utf-8", errors="replace")
                findings += [f"{named(path)} names {word}" for word in forbidden if word in text]
    assert not findings, "\n".join(findings)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, with the output that is shown for it."""

    line: int
    command: str
    shown: tuple[str, ...]
    exit_code: int


def steps(text: str) -> list[Step]:
    """Returns the commands of every `console` block of a page."""
    found, inside, command, shown, at = [], False, None, [], 0

    def finish():
        if command is not None:
            code = re.fullmatch(r"(.*?)\s*\[exit (\d+)\]", shown[-1]) if shown else None
            lines = [*shown[:-1], *([code[1]] if code[1] else [])] if code else shown
            found.append(Step(at, command, tuple(lines), int(code[2]) if code else 0))

    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            finish()
            inside, command, shown = line.strip() == "```console", None, []
        elif not inside or (line.startswith("# ") and command is None):
            continue
        elif line.startswith("$ "):
            finish()
            command, shown, at = line[2:], [], number
        elif line.startswith("> ") and not shown and command is not None:
            command += f"\n{line[2:]}"
        else:
            shown.append(line)
    return found


def pattern(shown: tuple[str, ...]) -> re.Pattern[str]:
    """Returns what the output has to match: `...` stands for any text in a line, or alone for any lines."""
    parts = []
    for line in shown:
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            pieces = [r"[ \t]+".join(map(re.escape, re.split(r"[ \t]+", piece))) for piece in line.strip().split("...")]
            parts.append(r"[ \t]*" + r".*".join(pieces) + r"[ \t]*\n")
    return re.compile("".join(parts))


def execute(text: str, folder: Path, *, most_seconds: int = 120) -> list[str]:
    """Runs a page's commands in one shell and returns where what happened is not what is shown."""
    wanted = steps(text)
    mark = "dvlite-docs-step-ended"
    script = "".join(f"{step.command}\nprintf '\\n{mark} %d\\n' \"$?\"\n" for step in wanted)
    done = subprocess.run(
        ["bash", "--norc"],
        input=script,
        cwd=folder,
        env=dict(os.environ),  # without it, C's own, where readline puts the size of a terminal
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=most_seconds,
    )
    ended = re.split(rf"^{mark} (\d+)\n", done.stdout, flags=re.MULTILINE)
    findings = []
    for number, step in enumerate(wanted):
        if 2 * number + 1 >= len(ended):
            return [*findings, f"line {step.line}: the shell ended before `{step.command}` did"]
        output, code = ended[2 * number].removesuffix("\n"), int(ended[2 * number + 1])
        output = output if output.endswith("\n") or not output else f"{output}\n"
        if code != step.exit_code:
            findings.append(
                f"line {step.line}: `{step.command}` left with {code}, not {step.exit_code}, and printed:\n{output}"
            )
        elif step.shown and not pattern(step.shown).fullmatch(output):
            shown = "\n".join(step.shown)
            findings.append(f"line {step.line}: `{step.command}` is shown to print:\n{shown}\nit printed:\n{output}")
    return findings


def execute_both(text: str, folder: Path) -> list[str]:
    """Runs a page with commands and Python; returns where what happened is not what is shown."""
    findings: list[str] = []
    names: dict[str, object] = {}
    lines: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    noted = folder / "shell-is-in"
    where = folder / "page"
    where.mkdir()
    for block in re.finditer(r"^```(console|python)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if block[1] == "console":
            findings += execute(f"```console\n{block[2]}$ pwd -P > {noted}\n```", where)
            where = Path(noted.read_text().strip())
        elif ">>> " in block[2]:
            examples = doctest.DocTestParser().get_doctest(
                block[2], {}, f"line {text[: block.start()].count(chr(10))}", None, 0
            )
            examples.globs = names  # shared by all blocks
            with contextlib.chdir(where):
                runner.run(examples, out=lines.append, clear_globs=False)
    return [*findings, *lines]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.long if page.name in WITH_PACKAGES else ()) for page in EXECUTED],
    ids=named,
)
def test_what_the_page_shows_is_what_happens(page, tmp_path, on_path):
    for package in WITH_PACKAGES.get(page.name, ()):
        pytest.importorskip(package)
    text = page.read_text(encoding="utf-8")
    if not steps(text):
        pytest.skip("no console blocks in this page")
    if page.name == "tables.md":
        pytest.importorskip("duckdb", reason="duckdb is not installed")
    findings = (
        execute_both(text, tmp_path) if re.search(r"^>>> ", text, flags=re.MULTILINE) else execute(text, tmp_path)
    )
    assert not findings, "\n".join(findings)


TRUE_PAGE = """\
# A page
```console
$ mkdir birds && cd birds
$ printf 'one\\ntwo   files\\n3.14 s\\n' > out; cat out
one
two files
... s
$ cat out
one
...
$ pwd | sed 's|.*/||'
birds
$ cat nothing
cat: ...nothing...
[exit 1]
$ printf 'no newline'
no newline
$ printf '%s\\n' a \\
> b
a
b
```
```sh
$ exit 9
```
"""


def test_a_true_page_has_no_findings(tmp_path):
    assert execute(TRUE_PAGE, tmp_path) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("... s\n", "... min\n"),
        ("one\n...\n", "two\n...\n"),
        ("one\n...\n", "one\n"),
        ("\nbirds\n", "\ngulls\n"),
        ("[exit 1]\n", ""),
        ("[exit 1]", "[exit 2]"),
        ("$ cat out", "$ exit 0\n$ cat out"),
    ],
)
def test_a_page_that_is_not_true_is_found_out(right, wrong, tmp_path):
    changed = (
        TRUE_PAGE.replace(right, wrong, 1) if right in TRUE_PAGE else TRUE_PAGE.replace("\nbirds\n", "\ngulls\n", 1)
    )
    assert changed != TRUE_PAGE
    assert execute(changed, tmp_path)
