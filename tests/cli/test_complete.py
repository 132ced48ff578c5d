"""What a shell is offered when a user asks it to complete a command."""

import pytest

from dvlite.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_dvlite(invoke, shell):
    assert f"_DVLITE_COMPLETE={shell}_complete" in invoke("completion", shell, check=True).stdout


def test_completion_offers_verbs_options_and_files(invoke):
    def offered(words: str, position: int) -> list[str]:
        env = {"COMP_WORDS": words, "COMP_CWORD": str(position), main.COMPLETE: "bash_complete"}
        return invoke(env=env, check=True).stdout.split()

    assert offered("dvlite checko", 1) == ["plain,checkout"]
    assert "plain,--update" in offered("dvlite add --", 2)
    assert offered("dvlite add da", 2) == ["file,da"]
    assert offered("dvlite --json remote tr", 3) == ["plain,trust"]
    assert offered("dvlite runs t", 2) == ["plain,tag"]
    assert offered("dvlite lineage mo", 2) == ["file,mo"]
    assert offered("dvlite runs --sta", 2) == ["plain,--stage", "plain,--status"]


def test_completion_offers_names_of_the_repository(git_repo, invoke, monkeypatch):
    (git_repo / ".dvlite").mkdir()
    (git_repo / ".dvlite" / "config.yaml").write_text("")
    monkeypatch.chdir(git_repo)

    def offered(words: str) -> list[str]:
        env = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), main.COMPLETE: "bash_complete"}
        return invoke(env=env, check=True).stdout.split()

    assert offered("dvlite repro ") == ["file,"]  # nothing that cannot be read is an error
    invoke("remote", "add", "backup", "../store", check=True)
    (git_repo / "dvlite.yaml").write_text("stages: {train: {cmd: x, outs: [o]}}\n")
    assert offered("dvlite push -r ") == offered("dvlite remote test b") == ["plain,backup"]
    assert offered("dvlite checkout --rev m") == ["plain,main"]
    assert offered("dvlite repro t") == ["plain,train", "file,t"]
    assert offered("dvlite config transfer.j") == ["plain,transfer.jobs"]
    assert offered("dvlite runs show ") == ["plain,last"]
