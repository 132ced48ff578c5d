"""Which objects of a cache the clones that use it need, and by which of their rules: what `gc` and `cache prune` plan with."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping

from dvlite.errors import ObjectCorrupt
from dvlite.formats.snapshot import VersionId
from dvlite.oid import FILE, Digest
from dvlite.share.needs import IN_USE, NAMED, OF_RUNS, RUN, SAVED_COPY, GcPart, Needs, Unnamed
from dvlite.show import count
from dvlite.store import cache_sweep
from dvlite.store.cache import Cache
from dvlite.store.cache_sweep import Amount, Verdict
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST
from dvlite.store.reachable import Marks

UNNAMED = "that nothing names"
_OTHER = "of other kinds"
_PLURALS = {RUN: "runs", SAVED_COPY: "saved copies"}


class Judgement:
    """Says of each object whether one of several clones needs it, by which of its rules, or why not; `given_up` is needed no more."""

    def __init__(self, cache: Cache, needs: list[Needs], given_up: frozenset[Unnamed] = frozenset()) -> None:
        self._cache, self._marks, self._verdicts = cache, Marks(cache), list[Verdict]()
        by_rule: dict[str, list[VersionId]] = {NAMED: [], IN_USE: []}
        dropped: dict[str, list[VersionId]] = {}
        for each in needs:
            for version, rule in each.kept_by.items():
                by_rule.setdefault(rule, []).append(version)
            for version, rules in each.dropped.items():
                dropped.setdefault(f"dropped by {rules}", []).append(version)
        by_rule[OF_RUNS] = [
            version for each in needs for version in (*each.listings, *((FILE, one) for one in each.files))
        ]
        for rule, versions in by_rule.items():
            self._mark((True, rule), versions)
        for unnamed in (unnamed for each in needs for unnamed in each.unnamed if unnamed not in given_up):
            self._mark((True, unnamed.what), unnamed.versions)
        self.absent = len(self._marks.absent)  # nodes of what is needed: what they list is not known
        with contextlib.suppress(ObjectCorrupt):  # said so only for a part of it then
            for rule, versions in dropped.items():
                self._mark((False, rule), versions)
            for unnamed in given_up:
                self._mark((False, unnamed.what), unnamed.versions)

    def _mark(self, verdict: Verdict, versions: Iterable[VersionId]) -> None:
        self._verdicts.append(verdict)
        for version in versions:
            self._marks.add(version, len(self._verdicts) - 1)

    def of(self, kind: int, digest: Digest) -> Verdict:
        if kind not in (KIND_FILE, KIND_MANIFEST):
            return True, _OTHER
        if kind == KIND_FILE and digest in self._cache.purged:
            return False, cache_sweep.PURGED
        marked = self._marks.files.get(digest) if kind == KIND_FILE else self._marks.nodes.get(digest)
        return (False, UNNAMED) if marked is None else self._verdicts[marked]

    def parts(self, amounts: Mapping[str, Amount], digests: Iterable[Digest], *, kept: bool) -> tuple[GcPart, ...]:
        """Returns amounts, by reason, as rows with the largest first; runs and saved copies are counted by those of their files in `digests`."""
        marks = (
            set(map(self._marks.files.get, digests)) if not _PLURALS.keys().isdisjoint(amounts) else set[int | None]()
        )
        verdicts = (self._verdicts[mark] for mark in marks if mark is not None)
        sources = Counter(reason for is_kept, reason in verdicts if is_kept is kept)
        rows = sorted(amounts.items(), key=lambda row: -row[1].size_bytes)
        return tuple(
            GcPart(
                reason=f"of {count(sources[what], what, _PLURALS[what])} that no commit names"
                if what in _PLURALS
                else what,
                objects=each.objects,
                size_bytes=each.size_bytes,
            )
            for what, each in rows
        )
