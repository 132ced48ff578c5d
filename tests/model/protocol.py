"""An exhaustive checker of the push and gc protocol: every interleaving of single requests, with crashes and late requests.

The store is linearizable. A client's step is one request; a client may die before any of them, and a PUT of a root or a DELETE that it had
sent may still land at any later time. gc may condemn any set of packs, so that good and bad policies are all covered. What is checked in
every state: each chunk of each promised root lies in a pack that stands. A root is promised when its push reported success.

`broken` names one rule that is left out, to show that the checker would notice (see RULES).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

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

    def chunks(self, without: Names = NOTHING) -> Names:
        return frozenset(chunk for pack in self.packs if pack.name not in without for chunk in pack.chunks)

    def all_condemned(self) -> Names:
        return frozenset(name for _, names in self.condemned for name in names)

    def with_client(self, place: int, client: Client, **changes) -> State:
        clients = (*self.clients[:place], client, *self.clients[place + 1 :])
        return self._replace(clients=clients, **changes)


class Outcome(NamedTuple):
    lost: str  # empty if nothing was
    states: int


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
) -> Outcome:
    """Explores all states from the given start; stops at the first that lost something.

    `forget` drops the first root at any time; without `fresh_names` a pack is named by its content, so that a name can be used again.
    """
    clients = [Client("push", number, "list", wanted) for number, wanted in enumerate(pushers)]
    clients += [Client("gc", number, "condemn") for number in range(gcs)]
    clients += [Client("forget", 0, "go")] if forget else []
    promised = frozenset(root.name for root in roots)
    first = State(frozenset(packs), frozenset(roots), frozenset(), promised, frozenset(), tuple(clients), 0)
    model = _Model(broken, crashes, heals, fresh_names=fresh_names)
    seen, stack = {first}, [first]
    while stack:
        state = stack.pop()
        lost = _lost(state)
        if lost:
            return Outcome(lost, len(seen))
        for following in model.steps(state):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return Outcome("", len(seen))


def _lost(state: State) -> str:
    there = state.chunks()
    names = set()
    for root in state.roots:
        names.add(root.name)
        if root.name in state.promised and not root.chunks <= there:
            return f"{root.name} lacks {sorted(root.chunks - there)}"
    return "" if state.promised <= names else f"{sorted(state.promised - names)} are gone"


class _Model:
    def __init__(self, broken: str, crashes: int, heals: int, *, fresh_names: bool) -> None:
        assert not broken or broken in RULES
        self._fresh_names = fresh_names
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
            if client.step == "ended":
                continue
            if client.kind == "forget":
                roots = frozenset(root for root in state.roots if root.name != "r0")
                yield state.with_client(
                    place, client._replace(step="ended"), roots=roots, promised=state.promised - {"r0"}
                )
                continue
            if state.crashes < self._crashes:
                yield from self._die(state, place, client)
            yield from (self._push if client.kind == "push" else self._collect)(state, place, client)

    def _die(self, state: State, place: int, client: Client) -> Iterator[State]:
        dead, crashes = Client(client.kind, client.number, "ended"), state.crashes + 1
        yield state.with_client(place, dead, crashes=crashes)
        if client.step == "root":
            late = Late("put", f"r{client.number + 1}", client.wanted)
            yield state.with_client(place, dead, crashes=crashes, late=state.late | {late})
        if client.step == "delete":
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
        held = frozenset(chunk for pack in state.packs if pack.name in good for chunk in pack.chunks)
        if me.turn > self._heals:
            return state.with_client(place, me._replace(step="ended"))  # it reports failure, so it promises nothing
        step = "heal" if me.wanted - held else "look"
        return state.with_client(place, me._replace(step=step, work=me.wanted - held, relied=good))

    # --- gc ---

    def _collect(self, state: State, place: int, me: Client) -> Iterator[State]:
        needed = frozenset(chunk for root in state.roots for chunk in root.chunks)
        if me.step == "condemn":
            early = self._broken == "roots after condemning"
            if early and not me.turn:
                yield state.with_client(place, me._replace(wanted=needed, turn=1))
                return
            yield from self._condemn(state, place, me)
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
            yield state.with_client(
                place, Client("gc", number, "roots", NOTHING, names, 10 * me.number + 10, me.relied)
            )
        names = sorted(pack.name for pack in state.packs)
        for size in range(1, len(names) + 1):
            for chosen in map(frozenset, combinations(names, size)):
                following = me._replace(step="roots", work=chosen)
                yield state.with_client(place, following, condemned=state.condemned | {(me.number, chosen)})

    def _compare(self, state: State, place: int, me: Client) -> State:
        missing = (me.wanted - state.chunks(without=me.relied)) & state.chunks()
        if not missing or self._broken == "rescue":
            step = "pardon" if self._broken == "condemn before delete" else "delete"
            return state.with_client(place, me._replace(step=step, relied=NOTHING))
        if me.turn % 10 > self._heals:
            return state.with_client(place, me._replace(step="ended"))  # gives up and deletes nothing
        return state.with_client(place, me._replace(step="rescue", relied=missing))

    def _delete(self, state: State, place: int, me: Client) -> Iterator[State]:
        if not me.work:
            condemned = _without(state, me) if self._broken == "entries stay" else state.condemned
            yield state.with_client(place, me._replace(step="ended"), condemned=condemned)
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


def _without(state: State, me: Client) -> frozenset[tuple[int, Names]]:
    return frozenset(entry for entry in state.condemned if entry[0] != me.number)
