"""The table of damage: each kind of it, in each place, with one source left that could heal it, as `fsck --repair` leaves it.

    python -m tests.faults.repairs [pytest arguments, as -n 2]

runs the matrix of tests/commands/test_fsck.py and prints how many kinds of damage were healed, how many were only named, with who may
have the data and what to run, and how many needed nothing. What `fsck` does not find, or leaves in another way, has failed.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

import pytest

_CASE = re.compile(r"test_damage_(on_a_remote|in_a_clone)_is_found_and_healed\[(\w+)-([\w ]+)-(\w+)\]")
_STORES = {"on_a_remote": "remote", "in_a_clone": "clone"}


class Table:
    """Collects the outcome of each case, by store, place and source."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], dict[str, Counter[str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = _CASE.search(report.nodeid)
        if case is None or not (report.when == "call" or report.failed):
            return
        outcome = str(dict(report.user_properties).get("outcome", "")) if report.passed else "failed"
        sources = self.cells.setdefault((_STORES[case[1]], case[3]), {})
        sources.setdefault(case[4], Counter())[outcome] += 1

    def lines(self) -> list[str]:
        """Returns the table as Markdown."""
        sources = list(dict.fromkeys(source for of_place in self.cells.values() for source in of_place))
        lines = [f"| damaged | {' | '.join(sources)} |", "|---|" + "---|" * len(sources)]
        for (store, place), of_place in self.cells.items():
            cells = (of_place.get(source, Counter()) for source in sources)
            shown = (", ".join(f"{count} {outcome}" for outcome, count in sorted(cell.items())) for cell in cells)
            lines.append(f"| {store}: {place} | {' | '.join(shown)} |")
        return lines


def main() -> int:
    table = Table()
    arguments = ["-q", "--no-header", "-k", "is_found_and_healed", "tests/commands/test_fsck.py", *sys.argv[1:]]
    code = pytest.main(arguments, plugins=[table])
    print("\n".join(table.lines()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
