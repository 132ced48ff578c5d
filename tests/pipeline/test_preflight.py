"""A command that plainly cannot run is named before anything runs; one that may run is left alone."""

import pytest

from dvlite.errors import FormatError
from dvlite.pipeline.preflight import require_command, require_folder
from tests.pipeline.stages_of import stages_of

ENVIRON = {"PATH": "/usr/bin:/bin"}


def stage_of(cmd, wdir="."):
    indented = cmd.replace("\n", "\n      ")
    (stage,) = stages_of(f"stages:\n  a:\n    wdir: {wdir}\n    cmd: |\n      {indented}\n")
    return stage


@pytest.mark.parametrize(
    "cmd",
    [
        "ls -l",
        "A=1 B=2 ls",
        "set -x\nls",
        "if true; then ls; fi",
        "for i in 1 2; do ls; done",
        "{ ls; }",
        "(ls)",
        "$TOOL run",
        '"my tool" run',
        "~/bin/tool",
        "f() { ls; }; f",
        "f () { ls; }\nf",
        "function f { ls; }; f",
        "./run.sh",
        "bin/made-by-a-stage --fast",
        "# a comment\nls",
        "! ls",
        "[[ -e x ]]",
        "> out",
        "ls; no-such-program",
        "ls>out",
    ],
)
def test_command_that_may_run_is_left_alone(tmp_path, cmd):
    (tmp_path / "run.sh").touch()
    require_command(stage_of(cmd), tmp_path, ENVIRON, ["bin"])


@pytest.mark.parametrize("cmd", ["pyhton train.py", "A=1 pyhton", "./run.hs", "src/no.sh", "/usr/bin/pyhton x"])
def test_command_that_is_not_there_is_named_with_its_line(tmp_path, cmd):
    with pytest.raises(FormatError, match=r"cannot use 'dvlite.yaml' line 4: the command '.*' of a is not found"):
        require_command(stage_of(cmd), tmp_path, ENVIRON, ["bin"])


def test_program_of_the_stage_folder_is_looked_for_there(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w/run.sh").touch()
    require_command(stage_of("./run.sh", "w"), tmp_path, ENVIRON, [])
    with pytest.raises(FormatError):
        require_command(stage_of("./run.sh"), tmp_path, ENVIRON, [])


def test_folder_must_be_there_or_be_made(tmp_path):
    with pytest.raises(FormatError, match="line 2: the folder 'w' that a runs in does not exist"):
        require_folder(stage_of("ls", "w"), tmp_path, [])
    require_folder(stage_of("ls", "w/x"), tmp_path, ["w"])
    require_folder(stage_of("ls"), tmp_path, [])
