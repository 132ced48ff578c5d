"""An exhaustive checker of stretches: recipes that name a piece of a chunk, while pushes, collectors and purges come and go.

`protocol` explores chunks that are taken whole; here a file is a set of letters, a chunk one or several of them, and a recipe takes letters
from chunks: a new version takes what it shares with an earlier one from where that recipe has it, and sends the rest as a chunk. A step is
one request, a look at everything one too. A client may die before any step. A collector may condemn any set of packs. Looked for, in every
state: each version that a push reported and a root names has a recipe that can be read; and once a purge has reported, no pack has a letter
of the purged version that no other has.

`broken` names one rule that is left out, to show that the checker would notice (see RULES).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from tests.model.explorer import Outcome, explore

Names = frozenset[str]
Letters = frozenset[str]
NOTHING: Names = frozenset()

RULES = {
    "push": "a push relies on the packs that it wrote, and not on those of stretches",
    "walk": "gc takes a version for safe while the pack of one of its pieces stands",
    "same bytes": "gc takes a version for safe if its letters stand in any packs, whatever its recipes say",
    "cut": "gc copies a chunk as it is stored, of which only a stretch is needed",
    "leftovers": "a purge asks one recipe of the file which chunks have to go, and looks for these by their oids",
}


class Pack(NamedTuple):
    name: str
    chunk: Letters  # packs of several chunks show nothing more


class Piece(NamedTuple):
    pack: str
    taken: Letters


class Recipe(NamedTuple):
    version: int
    pieces: frozenset[Piece]

    @property
    def packs(self) -> Names:
        return frozenset(piece.pack for piece in self.pieces)


class Client(NamedTuple):
    """A pusher, a gc or a purge of a version. `work`: packs condemned; `pieces`: of the recipe that is being written; `relied`: packs."""

    kind: str
    number: int
    step: str
    version: int = -1
    relied: Names = NOTHING
    work: Names = NOTHING
    pieces: frozenset[Piece] = frozenset()
    made: tuple[Pack, ...] = ()
    turn: int = 0
    wanted: frozenset[int] = frozenset()


class State(NamedTuple):
    packs: frozenset[Pack]
    recipes: frozenset[Recipe]
    roots: frozenset[int]
    promised: frozenset[int]
    clients: tuple[Client, ...]
    condemned: Names = NOTHING
    purged: frozenset[int] = frozenset()  # of which a purge has reported that nothing is left
    crashes: int = 0

    def usable(self) -> Names:
        return frozenset(pack.name for pack in self.packs) - self.condemned

    def reads(self, recipe: Recipe, without: Names = NOTHING) -> bool:
        chunks = {pack.name: pack.chunk for pack in self.packs if pack.name not in without}
        return all(piece.taken <= chunks.get(piece.pack, NOTHING) for piece in recipe.pieces)

    def of(self, version: int) -> list[Recipe]:
        return sorted((r for r in self.recipes if r.version == version), key=lambda r: sorted(map(str, r.pieces)))

    def reliable(self, version: int) -> Recipe | None:
        """Returns the recipe that a look takes: the first that needs no condemned pack."""
        return next((recipe for recipe in self.of(version) if self.reads(recipe, self.condemned)), None)

    def with_client(self, place: int, client: Client, **changes) -> State:
        return self._replace(clients=(*self.clients[:place], client, *self.clients[place + 1 :]), **changes)


@dataclass(frozen=True, slots=True)
class World:
    """What there is at the start; every version with a root was reported."""

    files: Mapping[int, str]
    packs: Sequence[Pack]
    recipes: Sequence[Recipe]
    roots: frozenset[int]
    pushers: Sequence[int] = ()
    gcs: int = 1
    purges: Sequence[int] = ()
    drops: frozenset[int] = frozenset()  # roots that may fall at any time
    condemns: int = 9  # packs that a gc condemns at most
    copies: int = 3  # that a gc makes before it gives up


def check(world: World, *, broken: str = "") -> Outcome:
    """Explores all states from the start of a world; stops at the first that lost something."""
    model = _Model(world, broken)
    return explore(model.start(), model.steps, model.lost)


class _Model:
    def __init__(self, world: World, broken: str) -> None:
        assert not broken or broken in RULES
        self._world, self._broken = world, broken
        self._files = {version: frozenset(letters) for version, letters in world.files.items()}

    def start(self) -> State:
        world = self._world
        clients = [Client("push", number, "look", version) for number, version in enumerate(world.pushers)]
        clients += [Client("gc", number, "condemn") for number in range(world.gcs)]
        clients += [Client("purge", number, "condemn", version) for number, version in enumerate(world.purges)]
        return State(frozenset(world.packs), frozenset(world.recipes), world.roots, world.roots, tuple(clients))

    def lost(self, state: State) -> str:
        for version in sorted((state.promised & state.roots).difference(self._world.purges)):
            if not any(map(state.reads, state.of(version))):
                return f"version {version}, which was reported and has a root, cannot be read"
        for version in state.purged:
            others = NOTHING.union(*(self._files[each] for each in self._files if each != version))
            left = [pack.name for pack in state.packs if pack.chunk & self._files[version] - others]
            if left:
                return f"pack {min(left)} has bytes of version {version} after its purge"
        return ""

    def steps(self, state: State) -> Iterator[State]:
        for version in self._world.drops & state.roots & state.promised:
            yield state._replace(roots=state.roots - {version}, promised=state.promised - {version})
        for place, me in enumerate(state.clients):
            if me.step == "ended":
                continue
            if not state.crashes:
                yield state.with_client(place, _ended(me), crashes=1)
            yield from (self._push if me.kind == "push" else self._collect)(state, place, me)

    # --- push ---

    def _push(self, state: State, place: int, me: Client) -> Iterator[State]:
        if me.step == "look":
            yield state.with_client(place, self._plan(state, me))
        elif me.step == "pack":
            yield state.with_client(place, me._replace(step="recipe", made=()), packs=state.packs.union(me.made))
        elif me.step == "recipe":
            recipes = state.recipes | {Recipe(me.version, me.pieces)}
            yield state.with_client(place, me._replace(step="root", pieces=frozenset()), recipes=recipes)
        elif me.step == "root":
            yield state.with_client(place, me._replace(step="again"), roots=state.roots | {me.version})
        elif not me.relied & state.condemned:
            yield state.with_client(place, _ended(me), promised=state.promised | {me.version})
        elif me.turn < 2:
            yield state.with_client(place, me._replace(step="look", turn=me.turn + 1, relied=NOTHING))
        else:
            yield state.with_client(place, _ended(me))  # it reports failure

    def _plan(self, state: State, me: Client) -> Client:
        """What is there is relied on; else what the newest earlier version has too is taken from there, and the rest is sent."""
        there = state.reliable(me.version)
        if there:
            return me._replace(step="root", relied=there.packs)
        bases = (state.reliable(version) for version in sorted(self._files, reverse=True) if version < me.version)
        base = next((recipe for recipe in bases if recipe), None)
        letters = self._files[me.version]
        shared = {Piece(p.pack, p.taken & letters) for p in base.pieces if p.taken & letters} if base else set()
        fresh = letters.difference(*(piece.taken for piece in shared))
        made = (Pack(f"p{me.number}.{me.turn}", fresh),) if fresh else ()
        pieces = shared | {Piece(pack.name, pack.chunk) for pack in made}
        relied = {pack.name for pack in made} if self._broken == "push" else {piece.pack for piece in pieces}
        return me._replace(step="pack", pieces=frozenset(pieces), made=made, relied=frozenset(relied))

    # --- gc and purge ---

    def _collect(self, state: State, place: int, me: Client) -> Iterator[State]:
        if me.step == "condemn":
            for chosen in self._chosen(state, me):
                following = me._replace(step="roots", work=chosen)
                yield state.with_client(place, following, condemned=state.condemned | chosen)
            if me.kind == "purge" and not self._leaving(state, me):
                yield state.with_client(place, _ended(me), purged=state.purged | {me.version})
        elif me.step == "roots":
            wanted = state.roots.difference(self._world.purges)
            yield state.with_client(place, me._replace(step="compare", wanted=wanted))
        elif me.step == "compare":
            yield state.with_client(place, self._compare(state, me))
        elif me.step == "copy":
            yield state.with_client(place, me._replace(step="recipe", made=()), packs=state.packs.union(me.made))
        elif me.step == "recipe":
            made = Recipe(min(me.wanted), me.pieces)
            following = me._replace(step="roots", pieces=frozenset(), wanted=frozenset())
            yield state.with_client(place, following, recipes=state.recipes | {made})
        elif me.work:
            name = min(me.work)
            packs = frozenset(pack for pack in state.packs if pack.name != name)
            yield state.with_client(place, me._replace(work=me.work - {name}), packs=packs)
        else:
            purged = {me.version} if me.kind == "purge" else set[int]()
            yield state.with_client(place, _ended(me), purged=state.purged | purged)

    def _chosen(self, state: State, me: Client) -> Iterator[Names]:
        if me.kind == "purge":
            yield from filter(None, (self._leaving(state, me),))
            return
        names = sorted(pack.name for pack in state.packs)
        for size in range(1, min(len(names), self._world.condemns) + 1):
            yield from map(frozenset, combinations(names, size))

    def _leaving(self, state: State, me: Client) -> Names:
        """Returns the packs that a purge condemns: all of which something is not needed, whatever that is."""
        needed: dict[str, Letters] = {}
        for version in state.roots.difference(self._world.purges):
            recipe = state.reliable(version)
            for piece in recipe.pieces if recipe else ():
                needed[piece.pack] = needed.get(piece.pack, NOTHING) | piece.taken
        standing = [pack for pack in state.packs if self._broken != "leftovers" or pack.name in state.usable()]
        if self._broken == "leftovers":
            recipe = state.reliable(me.version)
            names = recipe.packs if recipe else NOTHING
            chunks = {pack.chunk for pack in standing if pack.name in names}
            standing = [pack for pack in standing if pack.chunk in chunks]
        return frozenset(pack.name for pack in standing if pack.chunk != needed.get(pack.name, NOTHING))

    def _compare(self, state: State, me: Client) -> Client:
        for version in sorted(me.wanted):
            readable = [recipe for recipe in state.of(version) if state.reads(recipe)]
            if readable and not self._stays(state, version):
                if me.turn >= self._world.copies:
                    return _ended(me)  # gives up and deletes nothing
                return self._copied(state, me, readable[0])
        return me._replace(step="delete", wanted=frozenset())

    def _stays(self, state: State, version: int) -> bool:
        """Returns whether gc takes a version for safe."""
        usable = state.usable()
        if self._broken == "walk":
            return any(recipe.packs & usable for recipe in state.of(version))
        if self._broken == "same bytes":
            stands = NOTHING.union(*(pack.chunk for pack in state.packs if pack.name in usable))
            return self._files[version] <= stands
        return state.reliable(version) is not None

    def _copied(self, state: State, me: Client, recipe: Recipe) -> Client:
        """Copies what is needed of chunks in condemned packs, as chunks of their own, and names these in a new recipe."""
        chunks = {pack.name: pack.chunk for pack in state.packs}
        pieces, made = set(), []
        for number, piece in enumerate(sorted(recipe.pieces, key=lambda piece: piece.pack)):
            name = f"{me.kind}{me.number}.{me.turn}.{number}"
            if piece.pack not in state.condemned:
                pieces.add(piece)
                continue
            made.append(Pack(name, chunks[piece.pack] if self._broken == "cut" else piece.taken))
            pieces.add(Piece(name, piece.taken))
        return me._replace(
            step="copy",
            made=tuple(made),
            pieces=frozenset(pieces),
            turn=me.turn + 1,
            wanted=frozenset({recipe.version}),
        )


def _ended(me: Client) -> Client:
    return Client(me.kind, me.number, "ended")
