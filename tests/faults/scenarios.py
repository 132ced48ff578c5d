"""The commands that are swept, each with the world that it starts from. A new verb is one more entry of SCENARIOS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import proofs, worlds
from tests.faults.worlds import World

OUTPUTS = ("clean.txt", "kept.txt", "model", "metrics.json", "dvlite.lock")  # of which a stopped run may leave a part


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, and what makes its world. `code` is how it leaves without a fault.

    `again` is what is run after a fault where the command itself refuses and says so; `proof` does what shows that the data is safe, and its end is compared too.
    `partial` names what a stopped run may leave neither as it was nor as it will be; one that `notes` leaves with 0 whatever
    happens, and prints a note: git has done its work already. One without `changes` only reads. `nothing_left` is how it leaves where all was done before. `env` and
    `before_again` are what git does: variables that it sets, and what it does before it runs the command again. `seen` names files that git
    may show after a stopped run, though neither before nor after a whole one.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[World], None]
    code: int = 0
    again: tuple[tuple[str, ...], ...] = ()
    proof: Callable[[World], None] | None = None
    where: str = "here"
    durable: bool = True
    partial: tuple[str, ...] = ()
    notes: bool = False
    changes: bool = True
    nothing_left: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    before_again: Callable[[World], None] | None = None
    seen: tuple[str, ...] = ()


SCENARIOS = (
    Scenario("init", ("init",), worlds.plain, partial=(".dvlite",)),
    Scenario("install", ("install",), worlds.tracked),
    Scenario("add (file)", ("add", "data/large"), worlds.initialised, proof=proofs.restores),
    Scenario("add (first)", ("add", "data", "model.bin"), worlds.initialised, proof=proofs.restores),
    Scenario("add (again)", ("add", "data"), worlds.edited),
    Scenario("add -u", ("add", "-u"), worlds.edited, proof=proofs.restores),
    Scenario("add -o", ("add", "data", "-o", "copies/data"), worlds.initialised, proof=proofs.restores, durable=False),
    Scenario("import", ("import", "../here", "data", "-o", "copy"), worlds.beside, where="there", durable=False),
    Scenario("import-url", ("import-url", "../here/data", "copy"), worlds.beside, where="there", durable=False),
    Scenario(
        "update",
        ("update",),
        worlds.imported,
        where="there",
        before_again=worlds.checked_out,  # of two paths, a power cut may empty what was written of the first
        durable=False,
    ),
    Scenario("rm", ("rm", "data", "model.bin"), worlds.tracked),
    Scenario("mv (folder)", ("mv", "data", "moved/data"), worlds.tracked, proof=proofs.restores),
    Scenario("mv (file)", ("mv", "model.bin", "best.bin"), worlds.tracked),
    Scenario("checkout (empty)", ("checkout",), worlds.empty_work_tree, durable=False),
    Scenario("checkout (behind)", ("checkout",), worlds.behind, durable=False),
    Scenario("checkout --rev", ("checkout", "--rev", "HEAD~1"), worlds.two_versions, durable=False),
    Scenario("checkout --force", ("checkout", "--force"), worlds.overwritten, durable=False),
    Scenario("checkout --relink", ("checkout", "--relink"), worlds.to_be_linked, durable=False),
    Scenario("remote add", ("remote", "add", "../store"), worlds.tracked),
    Scenario("remote add --local", ("remote", "add", "--local", "../store"), worlds.tracked),
    Scenario("remote default", ("remote", "default", "backup"), worlds.second_remote),
    Scenario("remote remove", ("remote", "remove", "backup"), worlds.second_remote),
    Scenario("remote trust", ("remote", "trust", "https://minio.example.com"), worlds.tracked),
    Scenario("config", ("config", "transfer.jobs", "4"), worlds.tracked),
    Scenario("push (first)", ("push",), worlds.with_store, proof=proofs.reaches_a_clone),
    Scenario("push (second)", ("push",), worlds.second_to_push, proof=proofs.reaches_a_clone),
    Scenario("push (two remotes)", ("push",), worlds.two_remotes, proof=proofs.reaches_a_clone_of_each),
    Scenario("fetch", ("fetch",), worlds.colleague, where="there", proof=proofs.has_both, durable=False),
    Scenario("pull (second)", ("pull",), worlds.colleague, where="there", durable=False),
    Scenario("pull (first)", ("pull",), worlds.fresh_colleague, where="there", durable=False),
    Scenario(
        "clone",
        ("clone", "here", "there"),
        worlds.to_clone,
        where=".",
        again=(("-C", "there", "install"), ("-C", "there", "pull")),
        durable=False,
    ),
    Scenario("get", ("get", "here", "data", "-o", "copy"), worlds.to_clone, where=".", durable=False),
    Scenario("cache prune", ("cache", "prune", "--pushed"), worlds.pushed),
    Scenario("gc --yes", ("gc", "--yes", "--grace", "0s"), worlds.forgotten, proof=proofs.restores_both),
    Scenario(
        "gc --uncommitted", ("gc", "--uncommitted", "--yes", "--grace", "0s"), worlds.saved, proof=proofs.restores
    ),
    Scenario(
        "gc --remote --yes",
        ("gc", "--remote", "--grace", "0s", "--yes"),
        worlds.forgotten_there,
        proof=proofs.all_reach_a_clone,
    ),
    Scenario("sync", ("sync", "origin", "backup", "--all-commits"), worlds.second_remote, proof=proofs.is_mirrored),
    Scenario(
        "purge",
        ("purge", "model.bin", "data/large", "--reason", "law", "--yes", "--grace", "0s"),
        worlds.pushed,
        proof=proofs.is_purged,
    ),
    Scenario(
        "purge --all-versions",
        ("purge", "data/d0/2", "model.bin", "--all-versions", "--reason", "request 17", "--grace", "0s", "--yes"),
        worlds.to_clone,
        proof=proofs.is_purged_of_all,
    ),
    Scenario("hook pre-commit", ("hook", "pre-commit"), worlds.staged),
    Scenario(
        "hook post-checkout",
        ("hook", "post-checkout", "HEAD~1", "HEAD", "1"),
        worlds.switched,
        durable=False,
        notes=True,
    ),
    Scenario(
        "hook pre-push",
        ("hook", "pre-push", "origin", "git@example.com:team/project.git"),
        worlds.second_to_push,
        proof=proofs.reaches_a_clone,
        env=(("PRE_COMMIT_TO_REF", "HEAD"),),
    ),
    Scenario(
        "merge-driver",
        ("merge-driver", ".merge_file_base", ".merge_file_ours", ".merge_file_theirs", "7", "data.dvlite"),
        worlds.merging,
        proof=proofs.merges,
        durable=False,
        partial=(".merge_file_ours",),
        before_again=worlds.ours_again,
    ),
    Scenario("resolve", ("resolve", "--union"), worlds.conflict, proof=proofs.restores),
    Scenario("resolve --theirs", ("resolve", "--theirs"), worlds.conflict, proof=proofs.restores),
    Scenario("status", ("status",), worlds.edited),
    Scenario("doctor", ("doctor",), worlds.edited),
    *(
        Scenario(words, tuple(words.split()), worlds.edited, changes=False)
        for words in ("diff", "ls -R", "cat HEAD:data/large", "du", "log data", "verify")
    ),
    Scenario("check (first)", ("check",), worlds.demanded),
    Scenario("fsck", ("fsck", "--deep"), worlds.pushed),
    Scenario(
        "stage add", ("stage", "add", "-f", "count", "-d", "raw.txt", "-o", "n", "--", "wc raw.txt > n"), worlds.stages
    ),
    Scenario("repro (first)", ("repro",), worlds.stages, proof=proofs.restores, partial=OUTPUTS),
    Scenario("repro (again)", ("repro",), worlds.ran_once, proof=proofs.restores, partial=OUTPUTS),
    Scenario("repro (edited)", ("repro", "--force"), worlds.ran_and_edited, proof=proofs.restores, partial=OUTPUTS),
    Scenario("repro (run before)", ("repro",), worlds.run_before, proof=proofs.restores, partial=OUTPUTS),
    Scenario("commit", ("commit",), worlds.ran_and_edited, proof=proofs.restores, partial=OUTPUTS),
    Scenario(
        "fsck --repair",
        ("fsck", "--deep", "--repair"),
        worlds.damaged_cache,
        code=1,
        proof=proofs.healed,
        nothing_left=0,
    ),
    Scenario(
        "fsck --repair (history)",
        ("fsck", "--deep", "--repair"),
        worlds.damaged_history,
        code=1,
        proof=proofs.healed_history,
        nothing_left=0,
    ),
    Scenario(
        "fsck --remote --repair",
        ("fsck", "--remote", "--deep", "--repair"),
        worlds.damaged_remote,
        code=1,
        proof=proofs.healed_remote,
        nothing_left=0,
    ),
    *(Scenario(words, (words,), worlds.ran_once, changes=False) for words in ("dag", "params", "metrics")),
    Scenario("runs", ("runs",), worlds.ran_once),
    Scenario("lineage", ("lineage", "model"), worlds.ran_once),
    Scenario("runs tag", ("runs", "tag", "last:train", "best"), worlds.ran_once),
    Scenario("runs note", ("runs", "note", "last:train", "of the first week"), worlds.ran_once),
    Scenario("runs rm", ("runs", "rm", "last:train"), worlds.ran_once),
    Scenario("runs apply", ("runs", "apply", "last:train", "--branch", "best"), worlds.ran_once),
    Scenario("import-dvc", ("import-dvc",), worlds.of_dvc, proof=proofs.restores),
    Scenario("import-lfs", ("import-lfs",), worlds.of_lfs, proof=proofs.restores),
    Scenario("import-lfs (history)", ("import-lfs", "--all-history"), worlds.of_lfs_history, proof=proofs.restores),
    Scenario("export-lfs", ("export-lfs",), worlds.tracked, seen=("data.dvlite", "model.bin.dvlite")),
)
