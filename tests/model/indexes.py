"""An exhaustive checker of index objects: a push that merges small ones against a gc that takes condemned packs out of them.

A chunk is readable if some index object has a row for it whose pack stands. What is checked in every state: the chunks of promised roots
are readable. `replace` is the rule of the design (PUT a replacement for exactly the index objects that were listed, then delete exactly
those); without it gc deletes every index object that names a condemned pack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explorer import explore

Row = tuple[str, str]  # chunk, pack


class State(NamedTuple):
    packs: frozenset[str]
    indexes: frozenset[tuple[str, frozenset[Row]]]
    roots: frozenset[tuple[str, frozenset[str]]]
    condemned: frozenset[str]
    promised: frozenset[str]
    gc: tuple
    push: tuple

    def readable(self) -> frozenset[str]:
        return frozenset(chunk for _, rows in self.indexes for chunk, pack in rows if pack in self.packs)


START = State(
    packs=frozenset("XY"),
    indexes=frozenset({("i0", frozenset({("a", "X"), ("b", "Y")}))}),
    roots=frozenset({("r0", frozenset("b"))}),
    condemned=frozenset(),
    promised=frozenset({"r0"}),
    gc=("condemn",),
    push=("list",),
)


def check(*, replace: bool, fresh_look: bool = False, merge: bool = True) -> str:
    """Returns what became unreadable, or nothing. Pack X is garbage; the push wants chunk c, new, and b, which is in Y."""

    def steps(state: State) -> Iterator[State]:
        yield from _collect(state, replace=replace, fresh_look=fresh_look)
        yield from _push(state, merge=merge)

    return explore(START, steps, _lost).lost


def _lost(state: State) -> str:
    for name, chunks in state.roots:
        if name in state.promised and not chunks <= state.readable():
            return f"{name} lacks {sorted(chunks - state.readable())}"
    return ""


def _naming_condemned(state: State) -> frozenset[str]:
    return frozenset(name for name, rows in state.indexes if any(pack in state.condemned for _, pack in rows))


def _collect(state: State, *, replace: bool, fresh_look: bool) -> Iterator[State]:
    step = state.gc[0]
    if step == "condemn":
        yield state._replace(condemned=state.condemned | {"X"}, gc=("roots",))
    elif step == "roots":
        yield state._replace(gc=("rescue", frozenset(chunk for _, chunks in state.roots for chunk in chunks)))
    elif step == "rescue":
        held = {"X": {"a"}, "Y": {"b"}, "P": {"c"}}
        available = {chunk for pack in state.packs - state.condemned for chunk in held.get(pack, ())}
        missing = state.gc[1] & {"a"} - available
        indexes = state.indexes | ({("ig", frozenset((chunk, "G") for chunk in missing))} if missing else set())
        yield state._replace(packs=state.packs | ({"G"} if missing else set()), indexes=indexes, gc=("list",))
    elif step == "list":
        listed = _naming_condemned(state)
        kept = frozenset(
            row for name, rows in state.indexes if name in listed for row in rows if row[1] not in state.condemned
        )
        added = {("ir", kept)} if replace and kept else set()
        yield state._replace(indexes=state.indexes | added, gc=("drop", listed))
    elif step == "drop":
        dropped = _naming_condemned(state) if fresh_look else state.gc[1]
        indexes = frozenset(index for index in state.indexes if index[0] not in dropped)
        yield state._replace(indexes=indexes, gc=("delete",))
    elif step == "delete":
        yield state._replace(packs=state.packs - state.condemned, gc=("ended",))


def _push(state: State, *, merge: bool) -> Iterator[State]:
    step = state.push[0]
    if step == "list":
        yield state._replace(push=("pack", state.indexes))
    elif step == "pack":
        yield state._replace(packs=state.packs | {"P"}, push=("index", state.push[1]))
    elif step == "index":
        merged = state.push[1] if merge else frozenset()
        rows = frozenset({("c", "P")}).union(*(rows for _, rows in merged))
        yield state._replace(indexes=state.indexes | {("im", rows)}, push=("drop", merged))
    elif step == "drop":
        merged = {name for name, _ in state.push[1]}
        yield state._replace(indexes=frozenset(i for i in state.indexes if i[0] not in merged), push=("root",))
    elif step == "root":
        yield state._replace(roots=state.roots | {("r1", frozenset("bc"))}, push=("look",))
    elif step == "look":
        well = not state.condemned & {"P", "Y"}
        yield state._replace(promised=state.promised | ({"r1"} if well else set()), push=("ended",))
