"""The words of `bench serve`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.bench_serve import BenchLevel, BenchServeResult
from dvlite.show import Show, count, printable, short_oid, size_text, value_text, word
from dvlite.text.style import table


def text(result: BenchServeResult, show: Show) -> Iterator[str]:
    """Yields the lines of the result."""
    for model in result.models:
        yield f"Serving {printable(model.path)} ({short_oid(model.oid)})"
    if result.cold_start_seconds is not None:
        yield f"cold start: {result.cold_start_seconds:.2f} s to the first good answer"
    has_memory = any(level.peak_rss_bytes is not None for level in result.levels)
    has_cost = any(level.cost_per_million is not None for level in result.levels)
    titles = ["connections", "requests", "errors", "per second", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms"]
    titles += [*(["memory"] if has_memory else []), *(["cost/million"] if has_cost else []), "run"]
    yield from table([titles, *(_row(level, has_memory=has_memory, has_cost=has_cost) for level in result.levels)])
    for level in result.levels:
        for kind, number in level.figures.errors.items():
            yield f"errors at {count(level.figures.connections, 'connection')}: {number:,} x {kind}"
        if level.figures.samples < level.figures.good:
            yield f"percentiles at {level.figures.connections}: of a random {level.figures.samples:,} good answers"
    names = [level.run for level in result.levels if level.run]
    if names:
        compare = f"dvlite runs compare {word(names[0])} {word(names[-1])}"
        yield from show.next_step(compare if len(names) > 1 else f"dvlite runs show {word(names[0])}")


def _row(level: BenchLevel, *, has_memory: bool, has_cost: bool) -> list[str]:
    figures = level.figures
    times = (figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms, figures.max_ms)
    row = [f"{figures.connections}", f"{figures.requests:,}", f"{sum(figures.errors.values()):,}"]
    row += [f"{figures.throughput:,.1f}", *("-" if time is None else f"{time:.2f}" for time in times)]
    if has_memory:
        row.append("-" if level.peak_rss_bytes is None else size_text(level.peak_rss_bytes))
    if has_cost:
        row.append("-" if level.cost_per_million is None else value_text(level.cost_per_million))
    return [*row, level.run or "-"]
