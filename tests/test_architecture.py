"""The shape of the code (docs/explanation/architecture.md), as tests: what may import what, and who owns which package.

Each rule is a function from a package folder to findings, so that the last tests can break every rule in a small package
of their own and see it found.
"""

import ast
import functools
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "dvlite"

# Bottom up. A module imports only from rows above its own here; within a package (store, formats, ...) modules may import each other.
LAYERS = (
    ("errors",),
    ("progress", "show"),
    ("files", "results"),
    ("oid", "paths"),
    ("formats",),
    ("git",),
    ("store",),
    ("registry",),
    ("repo",),
    ("workspace", "runs"),
    ("clusters", "compare", "exports", "foreign", "lineage", "merge", "pipeline", "serving", "share"),
    ("hooks", "reading"),
    ("tables",),
    ("checks",),
    ("health", "verify"),
    ("moving", "plots", "rerun"),
    ("sweep",),
    ("commands",),
    ("text",),
    ("reports",),
    ("cli",),
    ("api",),
    ("__main__",),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# A module, or all of a package. `subprocess` and `importlib` are not third-party, but dangerous enough to have owners.
OWNERS = {
    "aiohttp": ("serving.load",),
    "blake3": ("oid",),
    "click": ("cli",),
    "distributed": ("pipeline.dask_tasks",),
    "duckdb": ("tables.engine",),
    "botocore": ("store.s3_aws",),
    "fsspec": ("store.fsspec_store", "reading.filesystem", "reading.table_files"),
    "importlib": ("cli.terminal", "pipeline.function_child"),
    "ml_metadata": ("exports.mlmd",),
    "mlflow": ("foreign.mlflow_store",),
    "pandas": ("results",),
    "pathspec": ("repo.ignore",),
    "pyarrow": ("results", "formats.parquet", "tables.arrow", "tables.rewrite"),
    "pyfastcdc": ("store.chunking",),
    "rich": ("cli.terminal",),
    "sqlite3": ("runs.index", "foreign.opened", "tables.sqlite"),
    "subprocess": ("git", "pipeline.process", "pipeline.unit_process", "cli.pager", "plots.draw"),
    "vl_convert": ("plots.draw",),
    "xxhash": ("oid",),
    "yaml": ("formats",),
    "zstandard": ("store.pack", "store.batch"),
}
DISTRIBUTIONS = {
    "ml-metadata": "ml_metadata",
    "mlflow-skinny": "mlflow",
    "pyyaml": "yaml",
    "vl-convert-python": "vl_convert",
    "s3fs": "botocore",  # which comes with it; s3fs is fsspec's way to S3, not ours
}  # where the name to install is not the name to import
LATE_IMPORTS = (
    "show",
    "results",  # for notebooks
    "api",  # as cli
    "__main__",  # it answers Ctrl-C while the rest loads
    "cli",
    "formats.parameters",
    "repo.repository",
    "store.remote",
    "store.s3_settings",
    "commands.checkout",
    "commands.status",
    "commands.hook_commit",
    "commands.hook_follow",
    "commands.hook_push",
    "commands.merge_driver",
    "commands.resolve",
    "commands.runs",
    "commands.verify",
    "workspace.adder",
    "workspace.path_args",
    "workspace.path_status",
    "workspace.workspace",
)  # what they need differs from call to call, and is slow to load
UNIX_ONLY = {
    "ctypes",
    "fcntl",
    "grp",
    "pwd",
    "resource",
    "termios",
    "tty",
}  # never at the top: the package imports anywhere, and fast
ENVIRONMENT = (
    "api",
    "cli",
    "repo.repository",
    "git",
    "reading.filesystem",
    "store.s3_settings",
    "pipeline.dask_tasks",  # on a worker, where there is no command line
)  # the rest is handed what it needs (git hands the user's environment on to git; the variables of the AWS tools are botocore's to read, too)

# Who opens files plainly, and which: all others open without waiting, for a FIFO may stand where a file is expected.
OPENERS = (
    "files",
    "store.cache_writer",  # temporary files of its own
    "runs",  # its own records, by methods that are called so
    "pipeline.executor",  # logs, as the next two
    "pipeline.process",
    "pipeline.outputs",
    "pipeline.environment",  # of the system
    "pipeline.map_journal",  # its own files, in .git
    "pipeline.unit_process",  # /dev/null, as the next
    "pipeline.function_child",
    "pipeline.unit_guard",  # of the system
    "compare",  # versions that were stored or hashed before
    "tables",  # files that were laid out for the engine, and looked at
    "repo.clone_id",  # the id of the machine
    "reports.write",
    "reports.runs_page",  # files of the package
    "reading.filesystem",  # files of a version, by a method that is called so, as the next two
    "reading.table_files",
    "api.open_file",
    "commands.export_croissant",
    "commands.doctor",  # a file of its own
    "moving.lfs_folder",
    "moving.lfs_objects",  # a new file in the folder of git-lfs
    "commands.stage",  # a file of the package
    "cli.main",  # /dev/null
    "api.training_log",  # files of its own
    "cli.options",  # a page in the browser, by a method that is called so
    "formats.mar",  # files in an archive, by a method that is called so, as the next
    "serving.torchserve",
)
READERS = (
    "pipeline.measured_server",  # of the system
    "serving.load_requests",  # with a limit of its own
    "workspace.sparse",  # its own file, in git's folder
    "files",
    "repo.revisions",
    "repo.config_files",
    "repo.attributes",
    "repo.ignore",
    "verify.trees",  # files of any name
    "workspace.backups",  # saved pointers, in .git
    "workspace.delta_scan",  # logs of Delta tables, which may be long
    "repo.clone_id",  # in .git
    "pipeline.over_rows",  # in .git
    "repo.clone_id",  # in .git
    "commands.diff",  # files that git or the user names, as the next two
    "commands.exec_task",  # the file that is named, wherever it is
    "commands.get",
    "share.bring",
    "moving.dvc_project",  # the user's config of DVC, as the next
    "repo.dvc_version",
    "commands.merge_driver",
    "commands.stage",  # the schema
    "commands.try_out",  # a file that the user names
    "commands.export_serving",  # as the last
    "serving.folder",  # files of a place that the user names
)

MOST_LINES = 600
LONG = {"api.project": "a method for each verb, with its flags"}  # module: why it is longer than MOST_LINES
FEWEST_LINES = 40  # below it a module needs two importers, else it goes back to its caller

VAGUE = {
    "base",
    "common",
    "core",
    "data",
    "handle",
    "handler",
    "helper",
    "helpers",
    "info",
    "lib",
    "manager",
    "managers",
}
VAGUE |= {"misc", "shared", "tools", "util", "utils"}

# what a path, a stage or a remote is called, or text made from one for people: no word of a command as it is
_NAMES_OF_WORDS = {"path", "name", "file", "target", "source", "address", "argument", "tracked", "stage", "parent"}
_NAMES_OF_WORDS |= {"display", "quote", "printable", "str", "label", "left", "right", "revision"}
_VERBS = "add|rm|mv|get|ls|log|diff|push|pull|fetch|checkout|repro|resolve|lineage|gc|fsck|purge|sync|runs|verify|stage|config|remote (?:add|remove|set|rename|test|trust)"

# What `import dvlite` shows has the names that its users know.
PUBLIC_TOO = {"Repo": ["api.project", "repo.repository"]}

# STYLE: below the verbs, things are put, got and scanned. `get` is a verb of the command line too; `config` makes a noun.
ORDINARY_NAMES = {"get"}


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package: `store.pack`, and what it holds."""

    name: str
    source: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: `dvlite.store.pack` or `rich.table`; `late` inside a function."""

    name: str
    late: bool
    line: int


@functools.cache  # every rule reads them; a package of a test is at a path of its own
def modules(package: Path) -> list[Module]:
    """Returns every module but the `__init__` files, in a stable order."""
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.name != "__init__.py":
            source = path.read_text(encoding="utf-8")
            name = ".".join(path.relative_to(package).with_suffix("").parts)
            found.append(Module(name, source, ast.parse(source)))
    return found


@functools.cache  # a walk takes longer than what a rule asks of the nodes
def nodes(module: Module) -> list[ast.AST]:
    """Returns every node of a module."""
    return list(ast.walk(module.tree))


@functools.cache
def imports(module: Module) -> list[Import]:
    """Returns what a module imports anywhere, TYPE_CHECKING blocks and functions included."""
    found = []
    waiting: list[tuple[ast.AST, bool]] = [(module.tree, False)]
    for node, late in waiting:
        if isinstance(node, ast.Import):
            found += [Import(alias.name, late, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            found += [Import(f"{source}.{alias.name}", late, node.lineno) for alias in node.names]
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting += [(child, inside) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]
    return found


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """Returns the full name of what a `from` names, relative or not."""
    if not node.level:
        return node.module or ""
    here = ["dvlite", *module.name.split(".")][: -node.level]
    return ".".join([*here, *([node.module] if node.module else [])])


def own(found: Import, names: set[str]) -> str | None:
    """Returns the module of this package that an import means, without `dvlite.`; None for others and for the package root."""
    parts = found.name.split(".")
    if parts[0] != "dvlite":
        return None
    for length in range(len(parts), 1, -1):
        name = ".".join(parts[1:length])
        if name in names:
            return name
    return parts[1] if len(parts) > 1 and parts[1] in RANKS else None


def within(name: str, places: tuple[str, ...]) -> bool:
    """Says whether a module is one of the places, or inside one that is a package."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def edges(package: Path) -> Iterator[tuple[Module, str, int]]:
    """Yields every import of one module of the package by another."""
    found = modules(package)
    names = {module.name for module in found}
    for module in found:
        for imported in imports(module):
            target = own(imported, names)
            if target is not None and target != module.name:
                yield module, target, imported.line


def unplaced_modules(package: Path) -> list[str]:
    return [
        f"{module.name} has no layer: give it one in LAYERS"
        for module in modules(package)
        if module.package not in RANKS
    ]


def imports_that_point_up(package: Path) -> list[str]:
    findings = []
    for module, target, line in edges(package):
        top = target.split(".")[0]
        if top == module.package or module.package not in RANKS:
            continue
        if RANKS.get(top, len(LAYERS)) >= RANKS[module.package]:
            findings.append(f"{module.name}:{line} must not import {target}: it is not below")
    return list(dict.fromkeys(findings))  # one for each line, however many names it imports


def import_cycles(package: Path) -> list[str]:
    graph: dict[str, set[str]] = {}
    for module, target, _ in edges(package):
        graph.setdefault(module.name, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def imports_of_the_package_root(package: Path) -> list[str]:
    """The root names its public face for type checkers alone, and nothing in the package takes that from it: all else would be a cycle."""
    root = Module("__init__", "", ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    names = {module.name for module in modules(package)}
    unseen = {
        node.lineno
        for block in ast.walk(root.tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
    }
    findings = [
        f"__init__:{found.line} imports {found.name}"
        for found in imports(root)
        if found.name.startswith("dvlite.")
        and not (found.line in unseen and within(str(own(found, names)), ("api", "errors")))
    ]
    for module in modules(package):
        findings += [
            f"{module.name}:{found.line} imports {found.name} from the package root"
            for found in imports(module)
            if found.name.startswith("dvlite.") and own(found, names) is None and found.name != "dvlite.__version__"
            if not (package / found.name.removeprefix("dvlite.").replace(".", "/")).is_dir()
        ]
    return findings


def packages_without_their_owner(package: Path) -> list[str]:
    findings = []
    for module in modules(package):
        for found in imports(module):
            top = found.name.split(".")[0]
            if top in OWNERS and not within(module.name, OWNERS[top]):
                if not found.name.startswith(("importlib.metadata", "importlib.resources")):
                    findings.append(f"{module.name}:{found.line} imports {top}: only {', '.join(OWNERS[top])} may")
            elif top not in OWNERS and top != "dvlite" and top not in sys.stdlib_module_names:
                findings.append(f"{module.name}:{found.line} imports {top}, which has no owner: give it one in OWNERS")
    return findings


def late_imports(package: Path) -> list[str]:
    findings = []
    for module in modules(package):
        for found in imports(module):
            top = found.name.split(".")[0]
            if found.late and not (
                within(module.name, LATE_IMPORTS)
                or top in UNIX_ONLY
                or (top in OWNERS and top not in sys.stdlib_module_names and within(module.name, OWNERS[top]))
            ):
                findings.append(f"{module.name}:{found.line} imports {found.name} inside a function")
            if not found.late and top in UNIX_ONLY:
                findings.append(f"{module.name}:{found.line} imports {top} at the top: only Unix has it")
    return findings


def functions_of(module: Module) -> set[str]:
    return {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def verbs(package: Path) -> set[str]:
    """Returns the modules in commands/: each is a verb."""
    return {module.name.split(".")[1] for module in modules(package) if module.package == "commands"}


def verbs_not_defined_once(package: Path) -> list[str]:
    """`commands/add.py` defines `add`, `commands/remote.py` `remote` or `remote_add`...; nothing else in commands or below does."""
    findings = []
    known = verbs(package)
    for module in modules(package):
        defined = functions_of(module)
        if module.package == "commands":
            verb = module.name.split(".")[1].rstrip("_")
            if not any(name.rstrip("_") == verb or name.startswith(f"{verb}_") for name in defined):
                findings.append(f"{module.name} does not define {verb}")
            others = (known & defined) - {verb, module.name.split(".")[1]}
        elif RANKS.get(module.package, len(LAYERS)) < RANKS["commands"]:
            others = (known - ORDINARY_NAMES) & defined
        else:
            others = set()
        findings += [
            f"{module.name} defines {name}, which is the verb of commands/{name}.py" for name in sorted(others)
        ]
    return findings


def verbs_that_import_verbs(package: Path) -> list[str]:
    return [
        f"{module.name}:{line} imports {target}: what both need belongs below"
        for module, target, line in edges(package)
        if module.package == "commands" and target.startswith("commands")
    ]


def missing_docstrings(package: Path) -> list[str]:
    return [
        f"{module.name} does not say what it owns" for module in modules(package) if not ast.get_docstring(module.tree)
    ]


def filled_init_files(package: Path) -> list[str]:
    inits = [path for path in package.rglob("__init__.py") if path.parent != package]
    return [f"{path.relative_to(package)} is not empty" for path in inits if path.read_text(encoding="utf-8").strip()]


def long_modules(package: Path) -> list[str]:
    counts = {module.name: module.source.count("\n") for module in modules(package)}
    long = [
        f"{name} has {count} lines: split it, or give the reason in LONG"
        for name, count in counts.items()
        if count > MOST_LINES
    ]
    stale = [f"{name} is in LONG and needs not be" for name in LONG if counts.get(name, 0) <= MOST_LINES]
    return [finding for finding in long if finding.split()[0] not in LONG] + stale


def slivers(package: Path) -> list[str]:
    importers: dict[str, set[str]] = {}
    for module, target, _ in edges(package):
        importers.setdefault(target, set()).add(module.name)
    return [
        f"{module.name} has {module.source.count(chr(10))} lines and one importer: put it back beside its caller"
        for module in modules(package)
        if module.source.count("\n") < FEWEST_LINES
        and len(importers.get(module.name, ())) < 2
        and module.package not in {"text", "commands", "__main__"}  # one verb, one file
    ]


def classes_of_one_name(package: Path) -> list[str]:
    """One name, one class: who reads `Plan` need not ask which."""
    places: dict[str, list[str]] = {}
    for module in modules(package):
        for node in nodes(module):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module.name)
    return [
        f"{name} is a class in {', '.join(names)}"
        for name, names in places.items()
        if len(names) > 1 and names != PUBLIC_TOO.get(name)
    ]


def vague_names(package: Path) -> list[str]:
    paths = itertools.chain(package.rglob("*.py"), (path for path in package.rglob("*") if path.is_dir()))
    return [
        f"{path.relative_to(package)} says nothing of what it owns" for path in paths if path.stem.strip("_") in VAGUE
    ]


def hidden_imports(package: Path) -> list[str]:
    """Imports by name escape every other rule here."""
    return [
        f"{module.name}:{node.lineno} imports by name"
        for module in modules(package)
        if not within(module.name, OWNERS["importlib"])
        for node in nodes(module)
        if getattr(node, "id", getattr(node, "attr", None)) in {"__import__", "import_module"}
    ]


def markdown_tables(package: Path) -> list[str]:
    """Rows of tables hold names that anyone may have chosen: they are written where all of them are escaped."""
    return [
        f"{module.name}:{node.lineno} writes a row of a Markdown table: text.markdown escapes"
        for module in modules(package)
        if module.package in {"text", "reports", "cli"} and module.name != "text.markdown"
        for node in nodes(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (node.value in {" | ", " |"} or "--|" in node.value or "|--" in node.value)
    ]


def csv_writers(package: Path) -> list[str]:
    """Cells hold texts that anyone may have written: they are written where each goes through `csv_cell`."""
    return [
        f"{module.name}:{node.lineno} writes CSV: exports.table escapes"
        for module in modules(package)
        if module.name != "exports.table"
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and node.attr in {"writer", "DictWriter"}
        and getattr(node.value, "id", "") == "csv"
    ]


def readers_of_the_environment(package: Path) -> list[str]:
    names = {"environ", "environb", "getenv"}
    findings = []
    for module in modules(package):
        if within(module.name, ENVIRONMENT):
            continue
        for node in nodes(module):
            reads = isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os"
            takes = isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names}
            if reads or takes:
                findings.append(f"{module.name}:{node.lineno} reads the environment: let cli or repo hand it over")
    return findings


def is_careful(node: ast.Call) -> bool:
    """Says whether a call of `open` does not wait at a FIFO: its opener or its flags say so, or it is given a descriptor."""
    if any(keyword.arg in {"opener", "closefd"} for keyword in node.keywords):
        return True
    words = set(re.findall(r"\w+", " ".join(map(ast.unparse, node.args[1:2]))))
    return bool(
        words & {"READ", "O_NONBLOCK", "_OPEN", "O_EXCL", "_CREATE", "O_RDWR", "FOLDER_ONLY", "_DIRECTORY"}
    ) or (bool(node.args) and ast.unparse(node.args[0]).startswith("os.open("))


def files_opened_without_an_owner(package: Path) -> list[str]:
    """A file of the work tree comes with a clone: a link to a device or a FIFO may stand in its place, or a file without end."""
    findings = []
    for module in modules(package):
        for node in nodes(module):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            careful = name == "open" and is_careful(node)
            if name in {"read_bytes", "read_text", "open"} and not careful and not within(module.name, OPENERS):
                findings.append(
                    f"{module.name}:{node.lineno} opens a file: Revision.read and files.read_regular do it safely"
                )
            if name == "read_regular" and not within(module.name, READERS):
                findings.append(
                    f"{module.name}:{node.lineno} opens a file of the work tree: Revision.read knows its limit"
                )
    return findings


def reads_that_may_be_short(package: Path) -> list[str]:
    """A file system may read or write less than what it was asked for, without an error: the owners ask again."""
    bare = {"read", "write", "pread", "pwrite", "preadv", "readv", "writev"}
    return [
        f"{module.name}:{node.lineno} reads or writes once: files.read_at, write_at, write_all and read_piece go on"
        for module in modules(package)
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and node.attr in bare
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and not within(
            module.name, ("files", "oid", "pipeline.unit_guard")
        )  # of its own pipes: a script that stands alone
    ]


def listings_of_git_parsed_elsewhere(package: Path) -> list[str]:
    """What `ls-files`, `ls-tree` and `status` print is read in git/ alone."""
    commands = {"ls-files", "ls-tree", "status"}
    return [
        f"{module.name}:{node.lineno} asks git for a listing: Git has a method for it"
        for module in modules(package)
        if not within(module.name, ("git",))
        for node in nodes(module)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "run"
        if node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value in commands
    ]


def objects_read_without_a_limit(package: Path) -> list[str]:
    """An object of a remote may be of any length: `get` is given where to stop."""
    return [
        f"{module.name}:{node.lineno} reads an object without `end=`"
        for module in modules(package)
        for node in nodes(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and re.search(r"(^|[._])(store|remote)$", ast.unparse(node.func.value))
        and not any(keyword.arg == "end" for keyword in node.keywords)
    ]


def decisions_on_wording(package: Path) -> list[str]:
    """What a message or hint says is for people: rewording one must change no behaviour. An error has fields for decisions."""
    searches = {"startswith", "endswith", "partition", "rpartition", "removeprefix", "removesuffix", "find", "index"}
    searches |= {"replace", "split", "rsplit", "count"}

    def is_wording(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in {"message", "hint"}

    findings = []
    for module in modules(package):
        for node in nodes(module):
            inside = isinstance(node, ast.Compare) and any(
                isinstance(operator, ast.In | ast.NotIn) and is_wording(operand)
                for operator, operand in zip(node.ops, node.comparators, strict=True)
            )
            searched = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in searches
                and is_wording(node.func.value)
            )
            if inside or searched:
                findings.append(f"{module.name}:{node.lineno} looks for words in a message: give the error a field")
    return findings


def system_errors_in_messages(package: Path) -> list[str]:
    """Python writes an error of the system as `[Errno 2] No such file or directory: 'x'`: `reason_of` and `os_error` have the words."""
    findings = []
    for module in modules(package):
        for handler in nodes(module):
            if not isinstance(handler, ast.ExceptHandler) or handler.type is None:
                continue
            if "OSError" not in ast.unparse(handler.type):
                continue
            for node in ast.walk(handler):
                value = node.value if isinstance(node, ast.FormattedValue) else None
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "str" and node.args:
                    value = node.args[0]
                if isinstance(value, ast.Name) and value.id == handler.name:
                    findings.append(
                        f"{module.name}:{node.lineno} shows an error of the system as Python does: reason_of"
                    )
    return findings


def unquoted_words_in_commands(package: Path) -> list[str]:
    """Finds paths and names that are put into a command that people copy, and not as a shell takes them: `word` or `Show.word`."""
    command = re.compile(
        rf"(?:\bdvlite (?:{_VERBS})|\bgit (?:add|rm|mv|log|show|diff|config|restore|checkout|check-ignore)|\bmkdir -p) (?:[^;,(]* )?$"
    )
    findings = []
    for module in modules(package):
        for text in (node for node in nodes(module) if isinstance(node, ast.JoinedStr)):
            for before, value in itertools.pairwise(text.values):
                literal = before.value if isinstance(before, ast.Constant) else ""
                if not (command.search(literal) and isinstance(value, ast.FormattedValue)):
                    continue
                last = value.value
                while isinstance(last, ast.Call):
                    last = last.func
                name = last.attr if isinstance(last, ast.Attribute) else last.id if isinstance(last, ast.Name) else ""
                if name in _NAMES_OF_WORDS:
                    findings.append(
                        f"{module.name}:{text.lineno} puts {ast.unparse(value.value)} into a command: word()"
                    )
    return findings


def silent_waits(package: Path) -> list[str]:
    """Whoever waits for a lock says so, and for which process: `waiting=`, or there is no wait."""
    findings = []
    for module in modules(package):
        if module.name == "repo.clone_id":  # held for the writing of 33 bytes
            continue
        for node in nodes(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("lock", "files.lock"):
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if "waiting" not in words and words.get("wait") != "False":
                    findings.append(f"{module.name}:{node.lineno} waits for a lock without a word: waiting=")
    return findings


Rule = Callable[[Path], list[str]]
RULES: list[Rule] = [
    unplaced_modules,
    imports_that_point_up,
    import_cycles,
    imports_of_the_package_root,
    packages_without_their_owner,
    late_imports,
    verbs_not_defined_once,
    verbs_that_import_verbs,
    missing_docstrings,
    filled_init_files,
    long_modules,
    slivers,
    classes_of_one_name,
    vague_names,
    hidden_imports,
    markdown_tables,
    csv_writers,
    readers_of_the_environment,
    decisions_on_wording,
    files_opened_without_an_owner,
    reads_that_may_be_short,
    objects_read_without_a_limit,
    listings_of_git_parsed_elsewhere,
    system_errors_in_messages,
    unquoted_words_in_commands,
    silent_waits,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    findings = rule(PACKAGE)
    assert not findings, "\n".join(findings)


def test_the_page_has_every_layer_from_the_top_down():
    page = (PROJECT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    assert rows == sorted(rows, key=RANKS.__getitem__, reverse=True)


def test_every_dependency_has_an_owner_and_every_owner_is_needed():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    def packages(lines: list[str]) -> set[str]:
        names = {re.split(r"[<>=~! ]", line, maxsplit=1)[0].lower() for line in lines}
        return {DISTRIBUTIONS.get(name, name) for name in names}

    owned = {name for name in OWNERS if name not in sys.stdlib_module_names}
    extras = set().union(*map(packages, project["optional-dependencies"].values()))
    assert packages(project["dependencies"]) <= owned <= packages(project["dependencies"]) | extras


def test_the_command_line_loads_only_click_and_the_standard_library():
    code = "import sys; before = set(sys.modules); import dvlite.cli.main; print(*sorted(set(sys.modules) - before), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    loaded = done.stdout.split()
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"click", "dvlite"}
    assert not foreign
    assert not [name for name in loaded if name.startswith(("dvlite.commands.", "dvlite.store.", "dvlite.text."))]
    assert not {"difflib", "json", "pathlib", "urllib.parse"}.intersection(loaded), "a fifth of the time of --help"


# What follows breaks every rule, in a package of its own: a rule that finds nothing is no rule.

SOUND = {
    "__init__.py": '"""A package."""\n__version__ = "1"\n',
    "errors.py": '"""Errors."""\n',
    "oid.py": '"""Names."""\nfrom blake3 import blake3\nfrom dvlite.errors import X\n',
    "files.py": '"""Files."""\ndef lock():\n    import fcntl\n',
    "store/__init__.py": "",
    "store/index.py": '"""Index."""\nimport dvlite.oid\n',
    "store/pack.py": '"""Packs."""\nfrom dvlite.store import index\nfrom dvlite.oid import Oid\n',
    "store/s3_aws.py": '"""Credentials."""\nimport botocore\n',
    "store/remote.py": '"""Remote."""\ndef connect():\n    from dvlite.store import s3, pack\n',
    "repo/__init__.py": "",
    "repo/repository.py": '"""Repo."""\nimport os\nfrom dvlite import __version__\nfrom dvlite.store.pack import Pack\nHOME = os.environ\n',
    "commands/__init__.py": "",
    "commands/add.py": '"""Add."""\nfrom dvlite.repo.repository import Repo\ndef add(repo):\n    pass\n',
    "commands/remote.py": '"""Remotes."""\ndef remote_add(repo):\n    pass\n',
    "cli/__init__.py": "",
    "cli/main.py": '"""Command line."""\nimport click\ndef main():\n    from dvlite.commands.add import add\n',
}
BREAKS: list[tuple[Rule, str, str]] = [
    (unplaced_modules, "stray.py", '"""Stray."""\n'),
    (imports_that_point_up, "oid.py", '"""x"""\nfrom dvlite.store.pack import Pack\n'),
    (imports_that_point_up, "oid.py", '"""x"""\nfrom dvlite import store\n'),
    (imports_that_point_up, "oid.py", '"""x"""\nfrom . import repo\n'),
    (imports_that_point_up, "store/index.py", '"""x"""\nfrom ..repo.repository import Repo\n'),
    (imports_that_point_up, "store/index.py", '"""x"""\ndef f():\n    import dvlite.repo.repository\n'),
    (imports_that_point_up, "files.py", '"""x"""\nimport dvlite.oid\n'),
    (imports_that_point_up, "formats/pointer.py", '"""x"""\nfrom dvlite.store import pack\n'),
    (
        imports_that_point_up,
        "errors.py",
        '"""x"""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import dvlite.oid\n',
    ),
    (import_cycles, "store/index.py", '"""x"""\nfrom dvlite.store import pack\n'),
    (import_cycles, "store/index.py", '"""x"""\ndef f():\n    from dvlite.store.pack import Pack\n'),
    (imports_of_the_package_root, "__init__.py", '"""x"""\nfrom dvlite.repo.repository import Repo\n'),
    (imports_of_the_package_root, "__init__.py", '"""x"""\nfrom dvlite.errors import Busy\n'),
    (
        imports_of_the_package_root,
        "__init__.py",
        '"""x"""\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n    from dvlite.repo.repository import Repo\n',
    ),
    (imports_of_the_package_root, "cli/main.py", '"""x"""\nfrom dvlite import Repo\n'),
    (packages_without_their_owner, "repo/repository.py", '"""x"""\nimport click\n'),
    (packages_without_their_owner, "store/index.py", '"""x"""\ndef f():\n    from fsspec.core import x\n'),
    (packages_without_their_owner, "repo/repository.py", '"""x"""\nimport numpy\n'),
    (packages_without_their_owner, "commands/add.py", '"""x"""\nfrom subprocess import run\ndef add():\n    pass\n'),
    (late_imports, "repo/remotes.py", '"""x"""\ndef f():\n    import json\n'),
    (late_imports, "store/index.py", '"""x"""\nclass C:\n    def f(self):\n        from dvlite.oid import x\n'),
    (late_imports, "files.py", '"""x"""\nimport fcntl\n'),
    (verbs_not_defined_once, "repo/repository.py", '"""x"""\ndef add():\n    pass\n'),
    (verbs_not_defined_once, "commands/remote.py", '"""x"""\ndef remote():\n    pass\ndef add():\n    pass\n'),
    (verbs_not_defined_once, "commands/push.py", '"""x"""\ndef send():\n    pass\n'),
    (
        verbs_that_import_verbs,
        "commands/remote.py",
        '"""x"""\nfrom dvlite.commands.add import add\ndef remote():\n    pass\n',
    ),
    (missing_docstrings, "repo/repository.py", "import os\n"),
    (filled_init_files, "store/__init__.py", "from dvlite.store.pack import Pack\n"),
    (long_modules, "repo/repository.py", '"""x"""\n' + "x = 1\n" * MOST_LINES),
    (slivers, "store/lonely.py", '"""x"""'),
    (classes_of_one_name, "store/two.py", '"""x"""\nclass A:\n    class A:\n        pass\n'),
    (vague_names, "store/utils.py", '"""x"""\n'),
    (vague_names, "helpers/x.py", '"""x"""\n'),
    (hidden_imports, "repo/repository.py", '"""x"""\n__import__("rich")\n'),
    (hidden_imports, "repo/repository.py", '"""x"""\nimport importlib\nimportlib.import_module("rich")\n'),
    (markdown_tables, "text/add.py", '"""x"""\ndef text(cells):\n    return " | ".join(cells)\n'),
    (csv_writers, "text/add.py", '"""x"""\nimport csv\n\nrows = csv.writer(None)\n'),
    (markdown_tables, "text/add.py", '"""x"""\ndef text(cell):\n    return f"| {cell} |"\n'),
    (readers_of_the_environment, "oid.py", '"""x"""\nimport os\nX = os.environ["X"]\n'),
    (readers_of_the_environment, "oid.py", '"""x"""\nfrom os import getenv\n'),
    (files_opened_without_an_owner, "commands/add.py", '"""x"""\ndef add(path):\n    return path.read_bytes()\n'),
    (files_opened_without_an_owner, "commands/add.py", '"""x"""\ndef add(path):\n    return open(path)\n'),
    (files_opened_without_an_owner, "store/index.py", '"""x"""\ndef f(path):\n    return path.open("rb")\n'),
    (
        files_opened_without_an_owner,
        "store/index.py",
        '"""x"""\nimport os\ndef f(path):\n    return open(os.open(path, os.O_RDONLY), "rb")\n',
    ),
    (files_opened_without_an_owner, "commands/add.py", '"""x"""\ndef add(path):\n    return read_regular(path, 9)\n'),
    (reads_that_may_be_short, "commands/add.py", '"""x"""\nimport os\ndef add(one):\n    return os.pread(one, 9, 0)\n'),
    (listings_of_git_parsed_elsewhere, "repo/x.py", '"""x"""\ndef f(git):\n    return git.run("ls-files", "-z")\n'),
    (objects_read_without_a_limit, "store/index.py", '"""x"""\ndef f(remote):\n    return remote.get("config")\n'),
    (
        objects_read_without_a_limit,
        "store/index.py",
        '"""x"""\ndef f(self):\n    return self._store.get("x", start=1)\n',
    ),
    (decisions_on_wording, "oid.py", '"""x"""\ndef f(error):\n    return "gone" in error.message\n'),
    (
        system_errors_in_messages,
        "oid.py",
        '"""x"""\ndef f():\n    try:\n        pass\n    except (OSError, ValueError) as error:\n        return f"no: {error}"\n',
    ),
    (
        system_errors_in_messages,
        "oid.py",
        '"""x"""\ndef f():\n    try:\n        pass\n    except OSError as error:\n        return str(error)\n',
    ),
    (decisions_on_wording, "oid.py", '"""x"""\ndef f(error):\n    return error.hint.startswith("restore ")\n'),
    (unquoted_words_in_commands, "oid.py", '"""x"""\ndef f(path):\n    return f"dvlite add -f {path}"\n'),
    (unquoted_words_in_commands, "oid.py", '"""x"""\ndef f(show, x):\n    return f"dvlite rm {show.path(x)}"\n'),
    (unquoted_words_in_commands, "oid.py", '"""x"""\ndef f(repo, path):\n    return f"git rm {repo.display(path)}"\n'),
    (
        silent_waits,
        "oid.py",
        '"""x"""\nfrom dvlite.files import lock\ndef f(path):\n    with lock(path):\n        pass\n',
    ),
]


def write_package(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = folder / "dvlite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder / "dvlite"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_package_breaks_no_rule(rule, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "LONG", {})
    monkeypatch.setattr(sys.modules[__name__], "FEWEST_LINES", 0)
    assert rule(write_package(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("rule", "name", "source"), BREAKS, ids=[f"{rule.__name__}-{name}-{n}" for n, (rule, name, _) in enumerate(BREAKS)]
)
def test_each_break_is_found(rule, name, source, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "LONG", {})
    monkeypatch.setattr(sys.modules[__name__], "FEWEST_LINES", 1 if rule is slivers else 0)
    findings = rule(write_package(tmp_path, {**SOUND, name: source}))
    assert len(findings) == 1


def test_every_rule_is_broken_once():
    assert {rule for rule, _, _ in BREAKS} == set(RULES)
