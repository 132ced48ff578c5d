"""The GitHub Action and the shell recipe, run as a service would: in a shallow clone, with files for the environment of steps.

What only the service can do is not run: `uses` steps, and installing from a registry (dvlite is on PATH here).
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dvlite.cli.check import hook as command

PROJECT = Path(__file__).parent.parent.parent
ACTION = yaml.safe_load((PROJECT / "action.yml").read_text())
RECIPE = PROJECT / "examples" / "ci" / "verify.sh"


@dataclass
class Job:
    """One job: what its steps leave behind, and what they printed."""

    folder: Path
    clone: Path
    path: str
    code: int = 0
    printed: str = ""

    def file(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def run(self, **inputs):
        """Runs the action with these inputs, as far as a step fails."""
        values = {name: given["default"] for name, given in ACTION["inputs"].items()} | inputs
        outputs, environ = {}, self.environ()
        for step in ACTION["runs"]["steps"]:
            if "run" not in step or not holds(step.get("if"), values):
                continue
            own = {name: expand(value, values, outputs) for name, value in step.get("env", {}).items()}
            folder = self.clone / expand(step.get("working-directory", "."), values, outputs)
            (self.folder / "output").write_text("")
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(shell, cwd=folder, env=environ | own, capture_output=True, text=True)
            self.printed += done.stdout + done.stderr
            outputs[step.get("id")] = dict(line.split("=", 1) for line in self.file("output").splitlines())
            environ |= dict(line.split("=", 1) for line in self.file("env").splitlines())
            environ["PATH"] = os.pathsep.join([*reversed(self.file("path").splitlines()), self.path])
            self.code = done.returncode
            if self.code:
                break
        return outputs

    def environ(self):
        files = {
            "GITHUB_ENV": "env",
            "GITHUB_OUTPUT": "output",
            "GITHUB_PATH": "path",
            "GITHUB_STEP_SUMMARY": "summary",
        }
        return {
            **os.environ,
            **{name: str(self.folder / file) for name, file in files.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(PROJECT),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "PATH": self.path,
        }


def expand(text, inputs, outputs):
    """Puts in what stands in `${{ }}`; fails for a name that there is not."""

    def value(found):
        kind, *names = found[1].split(".")
        return inputs[names[0]] if kind == "inputs" else outputs[names[0]][names[2]]

    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text)


def holds(condition, inputs):
    if condition is None:
        return True
    words = re.sub(r"inputs\.([\w-]+)", lambda found: repr(inputs[found[1]]), condition)
    return eval(words.replace("&&", " and ").replace("||", " or "))


@pytest.fixture
def job(project, program, tmp_path):
    """Returns a job in a shallow clone of a repository whose data is on its remote."""
    subprocess.run(["git", "clone", "-q", "--depth", "1", project.root.as_uri(), tmp_path / "clone"], check=True)
    folder = tmp_path / "job"
    (folder / "temp").mkdir(parents=True)
    return Job(folder, tmp_path / "clone", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_the_action_is_a_composite_one_whose_names_all_exist():
    assert ACTION["runs"]["using"] == "composite"
    steps = ACTION["runs"]["steps"]
    assert all(step["shell"] == "bash" for step in steps if "run" in step)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert all("description" in given and "default" in given for given in ACTION["inputs"].values())
    named = set(re.findall(r"inputs\.([\w-]+)", (PROJECT / "action.yml").read_text()))
    assert named == set(ACTION["inputs"])


def test_no_step_puts_an_input_into_its_script():
    assert not [step["name"] for step in ACTION["runs"]["steps"] if "${{" in step.get("run", "")]


def test_a_commit_that_is_as_it_must_be_passes(job):
    outputs = job.run(remote="true")
    assert job.code == 0, job.printed
    assert outputs["verify"]["exit-code"] == "0"
    reports = Path(outputs["setup"]["reports"])
    assert sorted(path.name for path in reports.iterdir()) == ["verify.html", "verify.md", "verify.xml"]
    assert job.file("summary").startswith("<!-- dvlite verify -->\n### ✅")
    assert "complete on origin" in job.printed


def test_a_finding_fails_the_step_after_all_is_reported(job):
    (job.clone / "params.yaml").write_text("lr: 0.2\n")
    outputs = job.run(args="--offline sort count")
    assert (job.code, outputs["verify"]["exit-code"]) == (1, "1")
    assert "::error file=dvlite.lock,line=" in job.printed
    assert "param-changed" in job.file("summary")


@pytest.mark.parametrize("rerun", ["true", "sort count"])
def test_it_runs_the_stages_again_with_data_of_the_remote(job, rerun):
    job.run(rerun=rerun)
    assert job.code == 0, job.printed
    assert "Reproduced: 2 identical" in job.printed
    assert not (job.clone / "sorted.txt").exists()


def test_it_pulls_what_later_steps_need(job):
    job.run(pull="sorted.txt")
    assert job.code == 0, job.printed
    assert (job.clone / "sorted.txt").read_text() == "1\n2\n3\n"
    assert not (job.clone / "count.txt").exists()


def test_a_wrong_argument_fails_without_a_report_of_an_earlier_run(job):
    reports = job.folder / "temp/dvlite/reports"
    reports.mkdir(parents=True)
    (reports / "verify.md").write_text("of another run")
    job.run(args="--nonsense")
    assert job.code == 2
    assert not job.file("summary")


def test_inputs_of_several_lines_are_read_to_their_end(job):
    job.run(pull="sorted.txt\n  count.txt data/raw.txt\n", args="--offline\nsort\n--annotations", rerun="sort\ncount\n")
    assert job.code == 0, job.printed
    assert (job.clone / "count.txt").exists()
    assert "Reproduced: 2 identical" in job.printed


@pytest.mark.parametrize("name", ["args", "rerun", "pull", "remote"])
def test_an_input_is_never_run_as_a_command(job, name):
    mark = job.folder / "run"
    job.run(**{name: f"$(touch {mark}) `touch {mark}`; touch {mark} && '"})
    assert job.code
    assert not mark.exists()


def fake_python(folder, version, program):
    """Makes a python3 that says it is of this version, and that makes environments whose pip writes down what it is told to install."""
    folder.mkdir()
    pip = f'#!/bin/sh\nshift\nprintf "%s\\n" "$@" > {folder}/installed\n'
    (folder / "pip").write_text(pip)
    (folder / "python3").write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} -c "import sys; sys.version_info = {version}; $(echo "$2" | cut -d";" -f2)"; fi\n'
        f'mkdir -p "$3/bin" && cp {folder}/pip "$3/bin/pip" && ln -s {program} "$3/bin/dvlite"\n'
    )
    for name in ("pip", "python3"):
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


@pytest.mark.parametrize(("version", "installed"), [("", str(PROJECT)), ("1.2.3", "dvlite==1.2.3")])
def test_dvlite_is_installed_apart_and_put_on_the_path_of_later_steps(job, program, tmp_path, version, installed):
    job.path = fake_python(tmp_path / "fake", (3, 12), program)
    job.run(version=version, remote="true")
    assert job.code == 0, job.printed
    assert (tmp_path / "fake/installed").read_text().splitlines()[-1] == installed
    assert "complete on origin" in job.printed


def test_a_version_is_never_run_as_a_command(job, program, tmp_path):
    job.path = fake_python(tmp_path / "fake", (3, 12), program)
    mark = tmp_path / "run"
    version = f"$(touch {mark}) `touch {mark}`; touch {mark} && '"
    job.run(version=version)
    assert (tmp_path / "fake/installed").read_text().splitlines()[-1] == f"dvlite=={version}"
    assert not mark.exists()


def test_a_python_that_is_too_old_is_told(job, program, tmp_path):
    job.path = fake_python(tmp_path / "fake", (3, 10), program)
    job.run()
    assert job.code == 1
    assert "::error title=dvlite::python3 is older than 3.11: put actions/setup-python before this step" in job.printed


def snippets():
    """Yields the blocks of YAML in the page about CI."""
    page = (PROJECT / "docs/how-to/ci.md").read_text()
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        yield yaml.safe_load(textwrap.dedent(block))


def steps_in(node):
    """Yields every step of a workflow, or of a part of one."""
    if isinstance(node, dict) and "uses" in node:
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from steps_in(each)


def test_the_page_gives_the_action_only_what_it_takes():
    steps = [step for snippet in snippets() for step in steps_in(snippet)]
    ours = [step for step in steps if "dvlite" in step["uses"]]
    assert len(ours) >= 2
    for step in ours:
        assert set(step.get("with", {})) <= set(ACTION["inputs"])
    page = (PROJECT / "docs/how-to/ci.md").read_text()
    assert set(re.findall(r"steps\.dvlite\.outputs\.([\w-]+)", page)) <= set(ACTION["outputs"])
    assert set(
        re.findall(r"^\| `([\w-]+)` \|", page.partition("| input |")[2].partition("\n\n")[0], re.MULTILINE)
    ) == set(ACTION["inputs"])


def test_the_page_puts_no_text_of_others_into_a_script():
    scripts = [
        step["run"]
        for snippet in snippets()
        if isinstance(snippet, dict)
        for step in snippet.get("steps", ())
        if "run" in step
    ]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def run_recipe(job, *args, path=None):
    environ = job.environ() | {"DVLITE_REPORTS": str(job.folder / "reports")}
    environ = {name: value for name, value in environ.items() if not name.startswith("GITHUB_")}
    return subprocess.run(
        ["bash", RECIPE, *args],
        cwd=job.clone,
        env=environ | ({"PATH": path} if path else {}),
        capture_output=True,
        text=True,
    )


def test_the_recipe_verifies_and_leaves_reports(job):
    done = run_recipe(job, "--remote")
    assert done.returncode == 0, done.stderr
    assert "verified; reports:" in done.stdout
    assert len(list((job.folder / "reports").iterdir())) == 3


def test_the_recipe_leaves_with_what_verify_leaves_with(job):
    (job.clone / "params.yaml").write_text("lr: 0.2\n")
    done = run_recipe(job)
    assert done.returncode == 1
    assert "verify has findings" in done.stdout
    assert "param-changed" in (job.folder / "reports/verify.xml").read_text()


def test_the_recipe_points_to_no_reports_that_are_not_there_and_explains_a_shallow_clone(job):
    done = run_recipe(job, "--range", "HEAD~1..HEAD")
    assert done.returncode == 2
    first, last = done.stdout.splitlines()
    assert first == "dvlite verify exited with 2; no reports were written"
    assert last.startswith("the clone is shallow")
    assert "git fetch --unshallow" in done.stderr


def test_the_recipe_says_what_to_set_where_dvlite_is_not_installed(job, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bash", "git"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    done = run_recipe(job, path=str(tmp_path / "bin"))
    assert done.returncode == 2
    assert "DVLITE_INSTALL" in done.stderr


def test_the_hooks_of_the_framework_are_those_of_dvlite_each_at_its_own_moment():
    hooks = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text())

    known = command.params[0].type.choices
    assert [hook["entry"] for hook in hooks] == [f"dvlite hook {name}" for name in known]
    assert all(hook["stages"] == [hook["entry"].split()[-1]] for hook in hooks)
    assert not [hook["id"] for hook in hooks if hook["pass_filenames"] or not hook["always_run"]]
