"""An exhaustive checker of the push and gc protocol: every interleaving of single requests, with crashes and late requests.

The store is linearizable. A client's step is one request; a client may die before any of them, and a PUT of a root or a DELETE that it had
sent may still land at any later time. gc may condemn any set of packs, so that good and bad policies are all covered. What is checked in
every state: each chunk of each promised root lies in a pack that stands, unless it was purged. A root is promised when its push reported success.

Besides, if asked for: condemned lists are merged; a day passes, before which no condemned pack is deleted, so that what a reader found in a
pack that was not condemned is there for a day; a chunk is purged, and is then in no pack that stood when its purge condemned, and in none
that the purge made. A push or gc that looked before the tombstone may put it once more.

`broken` names one rule that is left out, to show that the checker would notice (see RULES).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from tests.model.explorer import Outcome, explore

Names = frozenset[str]
NOTHING: Names = frozenset()

RULES = {
    "second look": "push reports success without looking at condemned/ again",
    "fresh listing": "the second look is answered from memory",
    "entries stay": "gc removes its condemned entry when it is done",
    "condemn before delete": "gc removes its condemned entry before it deletes the packs",
    "roots after condemning": "gc lists the roots before it condemns",
    "all entries": "gc ignores what other gcs condemned",
    "rescue": "gc does not copy what is still needed",
    "merged before deleted": "condemned lists are deleted before the merged one is put",
    "exactly those read": "a merger deletes all lists that stand, not those that it read",
    "grace": "gc deletes what was condemned less than a day ago",
    "condemned before the roots": "gc deletes packs that others condemned after it listed the roots",
    "tombstone first": "a purge condemns and deletes before it puts its tombstone",
    "purged is not needed": "gc copies what was purged with the rest",
    "beside what is purged": "a purge deletes packs without copying what else is in them",
}


class Pack(NamedTuple):
    name: str
    chunks: Names


class Client(NamedTuple):
    """A pusher or a gc. `wanted`: chunks of the root, or those that roots need; `work`: chunks to upload, or packs condemned."""

    kind: str
    number: int
    step: str
    wanted: Names = NOTHING
    work: Names = NOTHING
    turn: int = 0
    relied: Names = NOTHING
    seen: Names = (
        NOTHING  # of a gc: the packs condemned before it listed the roots; of a purge: all packs when it condemned
    )
    target: Names = NOTHING  # what a purge is for


class Late(NamedTuple):
    """A request that outlives its sender."""

    kind: str
    name: str
    chunks: Names = NOTHING


class State(NamedTuple):
    packs: frozenset[Pack]
    roots: frozenset[Pack]  # a root has a name and chunks, as a pack has
    condemned: frozenset[tuple[int, Names]]
    promised: Names
    late: frozenset[Late]
    clients: tuple[Client, ...]
    crashes: int
    old: Names = NOTHING  # packs that were condemned over a day ago
    purged: Names = NOTHING

    def chunks(self, without: Names = NOTHING) -> Names:
        return frozenset(chunk for pack in self.packs if pack.name not in without for chunk in pack.chunks)

    def all_condemned(self) -> Names:
        return frozenset(name for _, names in self.condemned for name in names)

    def with_client(self, place: int, client: Client, **changes) -> State:
        clients = (*self.clients[:place], client, *self.clients[place + 1 :])
        return self._replace(clients=clients, **changes)


def check(
    pushers: Sequence[Names],
    gcs: int,
    packs: Sequence[Pack],
    roots: Sequence[Pack],
    *,
    forget: bool = False,
    broken: str = "",
    crashes: int = 1,
    heals: int = 2,
    fresh_names: bool = True,
    days: int = 0,
    readers: Sequence[Names] = (),
    mergers: int = 0,
    purges: Names = NOTHING,
) -> Outcome:
    """Explores all states from the given start; stops at the first that lost something.

    `forget` drops the first root at any time; without `fresh_names` a pack is named by its content, so that a name can be used again. With
    `days`, a gc deletes only what was condemned before so many passed; without, at once. `purges` is a chunk that is purged at any time.
    """
    clients = [Client("push", number, "list", wanted) for number, wanted in enumerate(pushers)]
    clients += [Client("gc", number, "condemn") for number in range(gcs)]
    clients += [Client("forget", 0, "go")] if forget else []
    clients += [Client("day", number, "go") for number in range(days)]
    clients += [Client("read", number, "list", wanted) for number, wanted in enumerate(readers)]
    clients += [Client("merge", number, "read") for number in range(mergers)]
    step = "condemn" if broken == "tombstone first" else "tombstone"
    clients += [Client("purge", 50, step, target=purges)] if purges else []
    promised = frozenset(root.name for root in roots)
    condemned = frozenset({(9, frozenset("Z"))} if mergers else ())  # of a collection that is over
    first = State(frozenset(packs), frozenset(roots), condemned, promised, frozenset(), tuple(clients), 0)
    model = _Model(broken, crashes, heals, fresh_names=fresh_names, has_grace=days > 0)
    return explore(first, model.steps, _lost)


def _lost(state: State) -> str:
    there = state.chunks() | state.purged
    for client in state.clients:
        if client.step == "torn":
            return "a reader met a pack that is gone"
        if client.kind == "purge" and client.step == "done":
            left = [pack.name for pack in state.packs if pack.chunks & state.purged]
            if client.seen.intersection(left) or any(name.startswith("g50.") for name in left):
                return f"{sorted(state.purged)} was purged and stands in {sorted(left)}"
    names = set()
    for root in state.roots:
        names.add(root.name)
        if root.name in state.promised and not root.chunks <= there:
            return f"{root.name} lacks {sorted(root.chunks - there)}"
    return "" if state.promised <= names else f"{sorted(state.promised - names)} are gone"


class _Model:
    def __init__(self, broken: str, crashes: int, heals: int, *, fresh_names: bool, has_grace: bool) -> None:
        assert not broken or broken in RULES
        self._fresh_names, self._has_grace = fresh_names, has_grace
        self._broken, self._crashes, self._heals = broken, crashes, heals

    def steps(self, state: State) -> Iterator[State]:
        """Yields every state that one request leads to."""
        for late in state.late:
            rest = state._replace(late=state.late - {late})
            if late.kind == "put":
                yield rest._replace(roots=state.roots | {Pack(late.name, late.chunks)})
            else:
                yield rest._replace(packs=frozenset(pack for pack in state.packs if pack.name != late.name))
        for place, client in enumerate(state.clients):
            if client.step in ("ended", "done"):
                continue
            if client.kind == "day":
                if not any(
                    each.kind == "read" and each.step == "get" for each in state.clients
                ):  # none reads for a day
                    yield state.with_client(place, client._replace(step="ended"), old=state.all_condemned())
                continue
            if client.kind == "forget":
                roots = frozenset(root for root in state.roots if root.name != "r0")
                yield state.with_client(
                    place, client._replace(step="ended"), roots=roots, promised=state.promised - {"r0"}
                )
                continue
            if state.crashes < self._crashes:
                yield from self._die(state, place, client)
            yield from self._kinds[client.kind](state, place, client)

    @property
    def _kinds(self):
        return {
            "push": self._push,
            "gc": self._collect,
            "purge": self._purge,
            "read": self._read,
            "merge": self._merge,
        }

    def _die(self, state: State, place: int, client: Client) -> Iterator[State]:
        dead, crashes = Client(client.kind, client.number, "ended"), state.crashes + 1
        yield state.with_client(place, dead, crashes=crashes)
        if client.step == "root":
            late = Late("put", f"r{client.number + 1}", client.wanted)
            yield state.with_client(place, dead, crashes=crashes, late=state.late | {late})
        if client.step == "delete" and client.kind != "merge":
            late_deletes = {Late("delete", name) for name in client.work}
            yield state.with_client(place, dead, crashes=crashes, late=state.late | late_deletes)

    # --- push ---

    def _push(self, state: State, place: int, me: Client) -> Iterator[State]:
        if me.step == "list":
            usable: dict[str, str] = {}
            for pack in sorted(state.packs):
                if pack.name not in state.all_condemned():
                    for chunk in pack.chunks:
                        usable.setdefault(chunk, pack.name)
            me = me._replace(wanted=me.wanted - state.purged)
            relied = frozenset(usable[chunk] for chunk in me.wanted if chunk in usable)
            needed = frozenset(chunk for chunk in me.wanted if chunk not in usable)
            yield state.with_client(place, me._replace(step="upload" if needed else "root", work=needed, relied=relied))
        elif me.step in ("upload", "heal"):
            name = f"p{me.number}.{me.turn}" if self._fresh_names else "X" + "".join(sorted(me.work))
            following = "root" if me.step == "upload" else "look"
            me = me._replace(step=following, work=NOTHING, turn=me.turn + 1, relied=me.relied | {name})
            yield state.with_client(place, me, packs=state.packs | {Pack(name, state.clients[place].work)})
        elif me.step == "root":
            name = f"r{me.number + 1}"
            blind = self._broken == "second look"
            promised = state.promised | {name} if blind else state.promised
            me = me._replace(step="ended" if blind else "look")
            yield state.with_client(place, me, roots=state.roots | {Pack(name, me.wanted)}, promised=promised)
        elif me.step == "look":
            yield self._look_again(state, place, me)

    def _look_again(self, state: State, place: int, me: Client) -> State:
        condemned = NOTHING if self._broken == "fresh listing" else state.all_condemned()
        good = me.relied - condemned
        if good == me.relied:
            promised = state.promised | {f"r{me.number + 1}"}
            return state.with_client(place, me._replace(step="ended"), promised=promised)
        held = frozenset(chunk for pack in state.packs if pack.name in good for chunk in pack.chunks) | state.purged
        if me.turn > self._heals:
            return state.with_client(place, me._replace(step="ended"))  # it reports failure, so it promises nothing
        step = "heal" if me.wanted - held else "look"
        return state.with_client(place, me._replace(step=step, work=me.wanted - held, relied=good))

    # --- gc ---

    def _collect(self, state: State, place: int, me: Client) -> Iterator[State]:
        needed = frozenset(chunk for root in state.roots for chunk in root.chunks)
        if self._broken != "purged is not needed":
            needed -= state.purged
        if me.step == "condemn":
            early = self._broken == "roots after condemning"
            if early and not me.turn:
                yield state.with_client(place, me._replace(wanted=needed, turn=1))
                return
            yield from self._condemn(state, place, me)
        elif me.step == "seen":
            yield state.with_client(place, me._replace(step="roots", seen=state.all_condemned()))
        elif me.step == "roots":
            wanted = me.wanted if self._broken == "roots after condemning" else needed
            yield state.with_client(place, me._replace(step="entries", wanted=wanted))
        elif me.step == "entries":
            others = NOTHING if self._broken == "all entries" else state.all_condemned()
            yield state.with_client(place, me._replace(step="packs", relied=others | me.work))
        elif me.step == "packs":
            yield self._compare(state, place, me)
        elif me.step == "rescue":  # `relied` are the chunks to copy; they must still be readable
            made = {Pack(f"g{me.number}.{me.turn}", me.relied)} if me.relied <= state.chunks() else set()
            me = me._replace(step="entries", turn=me.turn + 1, relied=NOTHING)
            yield state.with_client(place, me, packs=state.packs | made)
        elif me.step == "pardon":
            yield state.with_client(place, me._replace(step="delete"), condemned=_without(state, me))
        elif me.step == "delete":
            yield from self._delete(state, place, me)

    def _condemn(self, state: State, place: int, me: Client) -> Iterator[State]:
        for number, names in state.condemned:  # finish what another gc began
            step = "seen" if self._has_grace else "roots"
            yield state.with_client(place, Client("gc", number, step, NOTHING, names, 10 * me.number + 10, me.relied))
        names = sorted(pack.name for pack in state.packs)
        for size in range(1, len(names) + 1):
            for chosen in map(frozenset, combinations(names, size)):
                following = me._replace(step="seen" if self._has_grace else "roots", work=chosen)
                yield state.with_client(place, following, condemned=state.condemned | {(me.number, chosen)})

    def _compare(self, state: State, place: int, me: Client) -> State:
        missing = (me.wanted - state.chunks(without=me.relied)) & state.chunks()
        if not missing or self._broken == "rescue":
            step = "pardon" if self._broken == "condemn before delete" else "delete"
            if self._has_grace:
                seen = state.all_condemned() if self._broken == "condemned before the roots" else me.seen
                me = me._replace(work=seen if self._broken == "grace" else seen & state.old)
            return state.with_client(place, me._replace(step=step, relied=NOTHING))
        if me.turn % 10 > self._heals:
            return state.with_client(place, me._replace(step="ended"))  # gives up and deletes nothing
        return state.with_client(place, me._replace(step="rescue", relied=missing))

    def _delete(self, state: State, place: int, me: Client) -> Iterator[State]:
        if not me.work:
            condemned = _without(state, me) if self._broken == "entries stay" else state.condemned
            yield state.with_client(place, me._replace(step=self._after(me)), condemned=condemned)
            return
        name = min(me.work)
        packs = frozenset(pack for pack in state.packs if pack.name != name)
        me = me._replace(work=me.work - {name})
        yield state.with_client(place, me, packs=packs)
        if (
            state.crashes < self._crashes and packs != state.packs
        ):  # timed out and repeated: the first is still on its way
            late = state.late | {Late("delete", name)}
            yield state.with_client(place, me, packs=packs, late=late, crashes=state.crashes + 1)

    def _after(self, me: Client) -> str:
        if me.kind != "purge":
            return "ended"
        return "late tombstone" if self._broken == "tombstone first" else "done"

    # --- the others ---

    def _purge(self, state: State, place: int, me: Client) -> Iterator[State]:
        """Puts a tombstone, condemns every pack that has the chunk, and goes on as a gc does."""
        if me.step in ("tombstone", "late tombstone"):
            step = "condemn" if me.step == "tombstone" else "done"
            yield state.with_client(place, me._replace(step=step), purged=state.purged | me.target)
        elif me.step == "condemn":
            chosen = frozenset(pack.name for pack in state.packs if pack.chunks & me.target)
            every = frozenset(pack.name for pack in state.packs)
            step = "delete" if self._broken == "beside what is purged" else "roots"
            me = me._replace(step=step, work=chosen, seen=every)
            condemned = state.condemned | ({(me.number, chosen)} if chosen else set())
            yield state.with_client(place, me, condemned=condemned)
        else:
            yield from self._collect(state, place, me)

    def _read(self, state: State, place: int, me: Client) -> Iterator[State]:
        """Looks where its chunks lie, and takes them from there; what only condemned packs have may go meanwhile: then it looks again."""
        if me.step == "list":
            usable = sorted(pack for pack in state.packs if pack.name not in state.all_condemned())
            found = {chunk: pack.name for pack in usable for chunk in pack.chunks & me.wanted}
            yield state.with_client(place, me._replace(step="get", relied=frozenset(found.values())))
        else:
            is_whole = me.relied <= {pack.name for pack in state.packs}
            yield state.with_client(place, me._replace(step="ended" if is_whole else "torn"))

    def _merge(self, state: State, place: int, me: Client) -> Iterator[State]:
        """Puts one list for those that it read, and deletes these; `relied` are their names, `work` the packs."""
        numbers = frozenset(str(number) for number, _ in state.condemned)
        is_early = self._broken == "merged before deleted"
        if me.step == "read":
            following = ("delete" if is_early else "put") if numbers else "ended"
            yield state.with_client(place, me._replace(step=following, relied=numbers, work=state.all_condemned()))
        elif me.step == "put":
            condemned = state.condemned | {(100 + me.number, me.work)}
            yield state.with_client(place, me._replace(step="ended" if is_early else "delete"), condemned=condemned)
        elif me.step == "delete":
            gone = numbers - {str(100 + me.number)} if self._broken == "exactly those read" else me.relied
            condemned = frozenset(entry for entry in state.condemned if str(entry[0]) not in gone)
            yield state.with_client(place, me._replace(step="put" if is_early else "ended"), condemned=condemned)


def _without(state: State, me: Client) -> frozenset[tuple[int, Names]]:
    return frozenset(entry for entry in state.condemned if entry[0] != me.number)
