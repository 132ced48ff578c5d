"""The words of `repro --to`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.repro_to import ReproToResult
from dvlite.show import Show, count, printable, size_text, word

_SUBMIT = {"k8s": "kubectl apply -f", "swarm": "docker stack deploy --resolve-image never -c", "slurm": "sbatch"}


def text(result: ReproToResult, show: Show) -> Iterator[str]:
    """Yields the job, as it is given to the cluster; or, if it was written to a file, what was given out and the next command."""
    if result.text:
        yield result.text.rstrip("\n")
        return
    if show.quiet:
        return
    if not result.stages:
        yield "Nothing to give out." if result.waiting or result.here_only else "Everything is up to date."
        return
    tasks = count(sum(stage.tasks for stage in result.stages), "task")
    names = ", ".join(printable(stage.stage) for stage in result.stages)
    sent = (
        f"; {count(result.uploaded_files, 'file')}, {size_text(result.uploaded_bytes)} uploaded"
        if result.uploaded_files
        else ""
    )
    yield f"Gave out {tasks} of {names} to {printable(result.remote)}{sent}."
    for file in result.files:
        end = " dvlite" if result.to == "swarm" else ""
        yield from show.next_step(f"{_SUBMIT[result.to]} {word(file)}{end}")
    yield from show.next_step("dvlite task collect")
