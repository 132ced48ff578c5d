"""An exhaustive checker of delta records: chunks whose base lies in another pack, while pushes and collectors come and go.

`protocol` explores chunks that stand alone; here version n of a file is one chunk, stored whole or against the chunk of an earlier
version, and a recipe names the places of the chunk, of its base, of the base of that, and so on to a whole one. A step is one request,
a look at everything one too. A client may die before any step. A collector may condemn any set of packs. Looked for, in every state: each
version that a push reported and a root names has a recipe that can be read, by at most `limit` bases.

`broken` names one rule that is left out, to show that the checker would notice (see RULES).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from tests.model.explorer import Outcome, explore

Names = frozenset[str]
Place = tuple[str, int]  # the pack, and the version whose chunk it is
Chain = tuple[Place, ...]  # a chunk, its base, ... to a whole one
NOTHING: Names = frozenset()

RULES = {
    "push": "a push relies on the packs of chunks, and not on those of bases",
    "note": "a note of what is complete names the packs of chunks, and not those of bases",
    "walk": "gc asks whether the packs of chunks stand, and not those of bases",
    "moved base": "gc writes no recipe for a chunk whose base stands in another pack than its recipe says",
    "direct bases": "a recipe names the base of a chunk, and not the base of that base",
    "depth": "a writer does not count the bases below a base",
    "any copy": "gc points to any copy of a base, however many bases that has",
}


class Pack(NamedTuple):
    """A pack of one or several chunks: version -> depth, that of a whole chunk is 0."""

    name: str
    depths: frozenset[tuple[int, int]]

    def depth(self, version: int) -> int | None:
        return dict(self.depths).get(version)


class Recipe(NamedTuple):
    version: int
    chain: Chain


class Client(NamedTuple):
    """A pusher of a version or a gc. `work`: packs condemned; `chain`, `depth`: what is being written; `relied`: packs, or those of a note."""

    kind: str
    number: int
    step: str
    version: int = 0
    relied: Names = NOTHING
    work: Names = NOTHING
    chain: Chain = ()
    depth: int = 0
    turn: int = 0
    wanted: frozenset[int] = frozenset()


class State(NamedTuple):
    packs: frozenset[Pack]
    recipes: frozenset[Recipe]
    roots: frozenset[int]
    promised: frozenset[int]
    clients: tuple[Client, ...]
    condemned: Names = NOTHING
    crashes: int = 0

    def depth(self, place: Place) -> int | None:
        """Returns the depth of a chunk that stands at a place."""
        return next((pack.depth(place[1]) for pack in self.packs if pack.name == place[0]), None)

    def usable(self) -> Names:
        return frozenset(pack.name for pack in self.packs) - self.condemned

    def with_client(self, place: int, client: Client, **changes) -> State:
        return self._replace(clients=(*self.clients[:place], client, *self.clients[place + 1 :]), **changes)


@dataclass(frozen=True, slots=True)
class World:
    """What there is at the start; every version with a root was reported. `noted`: versions that a pusher has a note of."""

    packs: Sequence[Pack]
    recipes: Sequence[Recipe]
    roots: frozenset[int]
    pushers: Sequence[int] = ()
    noted: frozenset[int] = frozenset()
    gcs: int = 1
    drops: frozenset[int] = frozenset()  # roots that may fall at any time
    limit: int = 2
    condemns: int = 9  # packs that a gc condemns at most
    copies: int = 4  # that a gc makes before it gives up


def check(world: World, *, broken: str = "") -> Outcome:
    """Explores all states from the start of a world; stops at the first that lost something."""
    model = _Model(world, broken)
    return explore(model.start(), model.steps, model.lost)


def _packs(chain: Chain) -> Names:
    return frozenset(name for name, _ in chain)


class _Model:
    def __init__(self, world: World, broken: str) -> None:
        assert not broken or broken in RULES
        self._world, self._broken = world, broken

    def start(self) -> State:
        world = self._world
        clients = [Client("push", number, "look", version) for number, version in enumerate(world.pushers)]
        for number, version in enumerate(world.pushers):
            if version in world.noted:
                chain = next(recipe.chain for recipe in world.recipes if recipe.version == version)
                note = _packs(chain[:1] if self._broken == "note" else chain)
                clients[number] = clients[number]._replace(relied=note)
        clients += [Client("gc", number, "condemn") for number in range(world.gcs)]
        recipes = frozenset(self._recipe(recipe.version, recipe.chain) for recipe in world.recipes)
        return State(frozenset(world.packs), recipes, world.roots, world.roots, tuple(clients))

    def _recipe(self, version: int, chain: Chain) -> Recipe:
        return Recipe(version, chain[:2] if self._broken == "direct bases" else chain)

    # --- what can be read ---

    def lost(self, state: State) -> str:
        for version in sorted(state.promised & state.roots):
            if not any(self._reads(state, recipe) for recipe in state.recipes if recipe.version == version):
                return f"version {version}, which was reported and has a root, cannot be read"
        return ""

    def _reads(self, state: State, recipe: Recipe, without: Names = NOTHING) -> bool:
        chain = self._whole(state, recipe.chain)
        depths = [state.depth(place) for place in chain]
        if None in depths or _packs(chain) & without:
            return False
        return depths[-1] == 0 and 0 not in depths[:-1] and len(chain) - 1 <= self._world.limit

    def _whole(self, state: State, chain: Chain) -> Chain:
        """Returns a chain to its end: that of its last base is in another recipe, if recipes have direct bases only."""
        while self._broken == "direct bases" and state.depth(chain[-1]):
            ends = [r.chain for r in sorted(state.recipes) if len(r.chain) > 1 and r.chain[0] == chain[-1]]
            if not ends or len(chain) > self._world.limit:
                break
            chain = (*chain, ends[0][1])
        return chain

    # --- steps ---

    def steps(self, state: State) -> Iterator[State]:
        for version in self._world.drops & state.roots & state.promised:
            yield state._replace(roots=state.roots - {version}, promised=state.promised - {version})
        for place, me in enumerate(state.clients):
            if me.step == "ended":
                continue
            if not state.crashes:
                yield state.with_client(place, Client(me.kind, me.number, "ended"), crashes=1)
            yield from (self._push if me.kind == "push" else self._collect)(state, place, me)

    def _push(self, state: State, place: int, me: Client) -> Iterator[State]:
        if me.step == "look":
            yield state.with_client(place, self._plan(state, me))
        elif me.step == "pack":
            name = f"p{me.number}.{me.turn}"
            made = Pack(name, frozenset({(me.version, me.depth)}))
            me = me._replace(step="recipe", chain=((name, me.version), *me.chain), depth=0)
            yield state.with_client(place, me, packs=state.packs | {made})
        elif me.step == "recipe":
            relied = _packs(me.chain[:1] if self._broken == "push" else me.chain)
            recipes = state.recipes | {self._recipe(me.version, me.chain)}
            yield state.with_client(place, me._replace(step="root", relied=relied, chain=()), recipes=recipes)
        elif me.step == "root":
            yield state.with_client(place, me._replace(step="again"), roots=state.roots | {me.version})
        elif not me.relied & state.condemned:
            ended = Client(me.kind, me.number, "ended")
            yield state.with_client(place, ended, promised=state.promised | {me.version})
        elif me.turn < 2:
            yield state.with_client(place, me._replace(step="look", turn=me.turn + 1, relied=NOTHING))
        else:
            yield state.with_client(place, Client(me.kind, me.number, "ended"))  # it reports failure

    def _plan(self, state: State, me: Client) -> Client:
        """What is there is relied on, a note first; else the chunk is written, against the newest earlier version that can be relied on."""
        if me.relied and me.relied <= state.usable():
            return me._replace(step="root")
        reliable = [r for r in sorted(state.recipes, reverse=True) if self._reads(state, r, state.condemned)]
        for recipe in reliable:
            if recipe.version == me.version:
                return me._replace(step="root", relied=_packs(recipe.chain))
        bases = [recipe for recipe in reliable if recipe.version < me.version]
        chain = bases[0].chain if bases else ()
        depth = 1 + (state.depth(chain[0]) or 0) if chain else 0
        if depth > self._world.limit and self._broken != "depth":
            chain, depth = (), 0
        return me._replace(step="pack", chain=chain, depth=depth, relied=NOTHING)

    # --- gc ---

    def _collect(self, state: State, place: int, me: Client) -> Iterator[State]:
        if me.step == "condemn":
            names = sorted(pack.name for pack in state.packs)
            for size in range(1, min(len(names), self._world.condemns) + 1):
                for chosen in map(frozenset, combinations(names, size)):
                    following = me._replace(step="roots", work=chosen)
                    yield state.with_client(place, following, condemned=state.condemned | chosen)
        elif me.step == "roots":
            yield state.with_client(place, me._replace(step="compare", wanted=state.roots))
        elif me.step == "compare":
            yield state.with_client(place, self._compare(state, me))
        elif me.step == "copy":
            yield from self._copy(state, place, me)
        elif me.step == "recipe":
            recipes = state.recipes | {self._recipe(me.version, me.chain)}
            yield state.with_client(place, me._replace(step="roots", chain=(), version=0), recipes=recipes)
        elif not me.work:
            yield state.with_client(place, Client(me.kind, me.number, "ended"))
        else:
            name = min(me.work)
            packs = frozenset(pack for pack in state.packs if pack.name != name)
            yield state.with_client(place, me._replace(work=me.work - {name}), packs=packs)

    def _compare(self, state: State, me: Client) -> Client:
        for version in sorted(me.wanted):
            recipes = [recipe for recipe in sorted(state.recipes) if recipe.version == version]
            readable = [recipe for recipe in recipes if self._reads(state, recipe)]
            if readable and not any(self._stays(state, recipe) for recipe in recipes):
                if me.turn >= self._world.copies:
                    return Client(me.kind, me.number, "ended")  # gives up and deletes nothing
                chain = self._whole(state, readable[0].chain)
                return me._replace(step="copy", version=version, chain=chain, turn=me.turn + 1, wanted=frozenset())
        return me._replace(step="delete", wanted=frozenset())

    def _stays(self, state: State, recipe: Recipe) -> bool:
        """Returns whether gc takes a version for safe by one of its recipes."""
        usable = state.usable()
        if self._broken == "walk":
            return recipe.chain[0][0] in usable
        if self._broken == "moved base":
            stands = {version for pack in state.packs if pack.name in usable for version, _ in pack.depths}
            return recipe.chain[0][0] in usable and all(version in stands for _, version in recipe.chain)
        if self._broken in ("direct bases", "any copy"):
            return _packs(recipe.chain) <= usable
        return self._reads(state, recipe, state.condemned)

    def _copy(self, state: State, place: int, me: Client) -> Iterator[State]:
        """Copies what lies in condemned packs as it is stored, or points to another copy of it with fewer bases than the record before."""
        usable = state.usable()
        if any(state.depth(each) is None for each in me.chain):  # another gc deleted it: look again
            yield state.with_client(place, me._replace(step="roots", chain=(), version=0))
            return
        name = f"g{me.number}.{me.turn}"
        chain: list[Place] = []
        moved: set[tuple[int, int]] = set()
        for i, each in enumerate(me.chain):
            depth = state.depth(each) or 0
            if each[0] in usable:
                chain.append(each)
                continue
            above = state.depth(me.chain[i - 1]) or 0 if i else depth + 1
            other = self._other_copy(state, each[1], above)
            if other:
                chain += other
                break
            chain.append((name, each[1]))
            moved.add((each[1], depth))
        packs = state.packs | ({Pack(name, frozenset(moved))} if moved else set())
        yield state.with_client(place, me._replace(step="recipe", chain=tuple(chain)), packs=packs)

    def _other_copy(self, state: State, version: int, above: int) -> Chain:
        usable = state.usable()
        for recipe in sorted(state.recipes):
            for i, each in enumerate(recipe.chain):
                ends = recipe.chain[i:]
                is_there = each[1] == version and _packs(ends) <= usable and state.depth(ends[-1]) == 0
                if is_there and (self._broken == "any copy" or (state.depth(each) or 0) < above):
                    return ends
        return ()
