"""The words of `remote add`, `list`, `remove`, `default`, `trust` and `test`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.remote import (
    RemoteAddResult,
    RemoteChangeResult,
    RemoteListResult,
    RemoteRow,
    RemoteTestResult,
    RemoteTrustResult,
)
from dvlite.show import Show, printable, size_text, word
from dvlite.text.style import table

RemoteResult = RemoteAddResult | RemoteListResult | RemoteChangeResult | RemoteTrustResult | RemoteTestResult


def text(result: RemoteResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    if isinstance(result, RemoteListResult):
        yield from _list(result, show)
    elif isinstance(result, RemoteTestResult):
        yield from _test(result, show)
    elif not show.quiet:
        if isinstance(result, RemoteAddResult):
            yield from _add(result, show)
        elif isinstance(result, RemoteChangeResult):
            yield from _change(result, show)
        else:
            yield f"{'Already trusted' if result.already else 'Trusted'}: {printable(result.place)}"
            if result.config_path and not result.already:
                yield f"written to {printable(result.config_path)}"


def _add(result: RemoteAddResult, show: Show) -> Iterator[str]:
    facts = []
    if result.state == "unreachable":
        facts.append(f"unreachable ({result.problem})" if result.problem else "unreachable")
    elif result.state != "unchecked":
        facts += ["reachable", "empty" if result.state == "empty" else "has data"]
    if result.writable is not None:
        facts.append("writable" if result.writable else "read-only")
    if result.region:
        facts.append(f"region {result.region}")
    if result.latency_seconds is not None:
        facts.append(f"{result.latency_seconds * 1000:.0f} ms")
    if result.state != "unreachable" and result.problem:
        facts.append(result.problem)
    yield _named(result.remote) + (": " + ", ".join(facts) if facts else "")
    name = "" if result.remote.default else f" -r {word(result.remote.name)}"
    if result.state == "unreachable":
        yield from show.staged(result.staged, result.unstaged)
        yield from show.next_step(f"dvlite remote test {word(result.remote.name)}")
    elif result.staged or result.unstaged:
        yield from show.next_commit(result.staged, result.unstaged, f"; dvlite push{name}")
    else:  # in a file that is not git's
        yield from show.next_step(f"dvlite push{name}")


def _list(result: RemoteListResult, show: Show) -> Iterator[str]:
    if not result.remotes:
        if not show.quiet:
            yield "No remote is configured."
            yield from show.next_step("dvlite remote add s3://BUCKET/PREFIX")
        return
    for remote in result.remotes:
        yield _named(remote) + (
            "" if remote.trusted else "  not trusted: dvlite remote trust " + printable(remote.name)
        )
        if show.verbose:
            for key, value in sorted(remote.options.items()):
                yield f"  {printable(key)} = {printable(value)}"
            if remote.source:
                yield f"  from {printable(remote.source)}"


def _change(result: RemoteChangeResult, show: Show) -> Iterator[str]:
    name = printable(result.name)
    default = ", ".join(map(printable, result.defaults))
    if result.action == "renamed":
        yield f"Renamed remote: it is called {name} now"
    elif result.action == "default":
        yield f"Default {'remotes' if len(result.defaults) > 1 else 'remote'}: {default or name}"
    else:
        yield f"Removed remote {name} (its data is untouched)" + (
            f"; default is now {default}" if default and result.default_changed else ""
        )
    yield from show.staged(result.staged, result.unstaged)


def _test(result: RemoteTestResult, show: Show) -> Iterator[str]:
    yield f"{printable(result.name)} = {printable(result.url)}"
    yield from table(
        (
            (
                show.style("green", "ok    ") if check.ok else show.style("red", "failed"),
                check.name,
                f"{check.elapsed_seconds * 1000:.0f} ms",
                check.detail,
            )
            for check in result.checks
        ),
        indent="  ",
    )
    rates = (("up", result.upload_bytes_per_second), ("down", result.download_bytes_per_second))
    known = [f"{size_text(round(rate))}/s {way}" for way, rate in rates if rate is not None]
    if known:
        yield "  " + ", ".join(known)


def _named(remote: RemoteRow) -> str:
    return f"{printable(remote.name)} = {printable(remote.url)}" + (" (default)" if remote.default else "")
