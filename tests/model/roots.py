"""An exhaustive checker of what keeps a pushed version alive: commits, amends, branches, pushes and collections in several clones.

Coarser than `protocol`: there each request is a step; here a push and a gc are single steps, since publish-then-look makes them so. A
commit names versions. A root is a clone's claim on the versions of one push; its age is 0 when young, 1 after 14 days, 2 after 90. A
clone whose newest root has age 2 is taken for gone. Looked for, at every collection that drops data:

A  the push of a clone reported it, and that clone, which is awake, can reach it (a ref, HEAD or index of a worktree names it);
B  the push of some clone reported it, and a ref of a git server names it.

`broken` names one rule that is changed, to show that the checker would notice (see RULES).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from typing import NamedTuple

from tests.model.explorer import Outcome

Numbers = frozenset[int]
NONE: Numbers = frozenset()

RULES = {
    "a root for each commit": "a push writes no root if any clone has one of these versions; it falls if its commit cannot be reached here",
    "roots of others suffice": "a push writes no root if another clone's names these versions and its commit can be reached here",
    "others after 14 days": "roots of other clones fall as early as one's own",
    "no fetch": "gc does not ask the git server",
    "after the prune": "gc judges only by what its own fetch left",
    "one id": "a copied repository keeps its id",
    "without a commit": "any clone judges a root that has no commit",
    "push drops too": "a push drops the clone's old roots, without asking the git server",
    "one worktree": "a clone judges by the worktree that it runs in",
    "client clocks": "ages are by clocks that may be wrong",
    "no renewal": "a clone that is awake does not renew its newest root",
    "each root": "a root is judged by its own age, not by that of its clone's newest",
    "one git server": "gc asks one git server where there are two, a project and its fork",
}


class Commit(NamedTuple):
    parent: int | None
    names: Numbers


class Tree(NamedTuple):
    """A worktree: its HEAD and, if something is staged, the versions that its index names."""

    head: int
    index: Numbers | None = None


class Clone(NamedTuple):
    refs: Numbers  # commits of its branches and tracking refs
    trees: tuple[Tree, ...]
    known: Numbers  # commits in its object database


class Root(NamedTuple):
    clone: int
    commit: int | None
    names: Numbers
    age: int = 0


class State(NamedTuple):
    commits: tuple[Commit, ...]
    servers: frozenset[tuple[int, int, int]]  # branches: server, the clone that owns it, commit
    clones: tuple[Clone, ...]
    backups: tuple[Clone | None, ...]
    roots: frozenset[Root] = frozenset()
    data: Numbers = NONE
    reported: frozenset[tuple[int, int, bool]] = frozenset()  # clone, version, is the clone awake?

    def with_clone(self, place: int, clone: Clone, **changes) -> State:
        return self._replace(clones=(*self.clones[:place], clone, *self.clones[place + 1 :]), **changes)


@dataclass(frozen=True, slots=True)
class World:
    """What there is; `commits` are those made after the first one."""

    clones: int = 2
    versions: int = 1
    commits: int = 2
    worktrees: int = 1
    fork: bool = False  # the last clone has a git server of its own
    backups: bool = False
    shared: bool = (
        False  # clone 0 has committed version 1 and pushed it, data and commit, and clone 1 has fetched the commit
    )


def check(world: World, depth: int, *, broken: str = "") -> Outcome:
    """Explores all states up to so many steps away; stops at the first collection that lost something."""
    model = _Model(world, broken)
    first = _start(world)
    seen, level = {first}, [(first, ())]
    for _ in range(depth):
        following_level = []
        for state, way in level:
            for step, following in model.steps(state):
                if state.data - following.data:
                    lost = model.lost(state, following)
                    if lost:
                        return Outcome(lost, len(seen), (*way, step))
                if following not in seen:
                    seen.add(following)
                    following_level.append((following, (*way, step)))
        level = following_level
    return Outcome("", len(seen))


def _start(world: World) -> State:
    trees = (Tree(0),) * world.worktrees
    clones = (Clone(NONE, trees, frozenset({0})),) * world.clones
    state = State((Commit(None, NONE),), frozenset(), clones, (None,) * world.clones)
    if not world.shared:
        return state
    one, both = frozenset({1}), frozenset({0, 1})
    state = state.with_clone(0, Clone(one, (Tree(1), *trees[1:]), both)).with_clone(1, Clone(one, trees, both))
    return state._replace(
        commits=(*state.commits, Commit(0, one)),
        servers=frozenset({(0, 0, 1)}),
        roots=frozenset({Root(0, 1, one)}),
        data=one,
        reported=frozenset({(0, 1, True)}),
    )


def _subsets(names: Iterable[int]) -> Iterator[Numbers]:
    members = sorted(names)
    return map(frozenset, chain.from_iterable(combinations(members, size) for size in range(1, len(members) + 1)))


class _Model:
    def __init__(self, world: World, broken: str) -> None:
        self._world, self._broken = world, broken

    # --- what is reachable ---

    def _closure(self, state: State, commits: Iterable[int]) -> Numbers:
        reached: set[int] = set()
        todo = list(commits)
        while todo:
            commit = todo.pop()
            if commit not in reached:
                reached.add(commit)
                parent = state.commits[commit].parent
                todo += [] if parent is None else [parent]
        return frozenset(reached)

    def _names(self, state: State, commits: Iterable[int]) -> Numbers:
        return frozenset(name for commit in self._closure(state, commits) for name in state.commits[commit].names)

    def _reached(self, state: State, place: int, trees: int | None = None) -> Numbers:
        clone = state.clones[place]
        return clone.refs | {tree.head for tree in clone.trees[:trees]}

    def _named_here(self, state: State, place: int, trees: int | None = None) -> Numbers:
        staged = (tree.index or NONE for tree in state.clones[place].trees[:trees])
        return self._names(state, self._reached(state, place, trees)).union(*staged)

    def lost(self, before: State, after: State) -> str:
        on_servers = self._names(before, (commit for _, _, commit in before.servers))
        for place, version, awake in before.reported:
            if version in before.data - after.data:
                if awake and version in self._named_here(before, place):
                    return f"clone {place}, which is awake, reaches version {version}, and its push reported it"
                if version in on_servers:
                    return f"a ref of a git server names version {version}, which a push reported"
        return ""

    # --- steps ---

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        for place in range(self._world.clones):
            yield from self._of_clone(state, place)
            for number in range(self._world.worktrees):
                yield from self._of_tree(state, place, number)
        if any(root.age == 0 for root in state.roots):
            aged = frozenset(root._replace(age=max(root.age, 1)) for root in state.roots)
            yield "14 days pass", state._replace(roots=aged)

    def _of_clone(self, state: State, place: int) -> Iterator[tuple[str, State]]:
        clone, server = state.clones[place], self._server(place)
        mine = {branch for branch in state.servers if branch[:2] == (server, place)}
        if mine:
            yield f"the branch of {place} is deleted on the git server", state._replace(servers=state.servers - mine)
        yield f"{place} fetches from git", self._fetch(state, place)
        if state.roots:
            yield f"{place} collects", self._collect(state, place)
        if any(root.clone == self._id(place) for root in state.roots):
            yield f"{place} pulls data", self._renew(state, place)
            roots = frozenset(root._replace(age=2) if root.clone == self._id(place) else root for root in state.roots)
            asleep = frozenset((who, name, awake and who != place) for who, name, awake in state.reported)
            yield f"{place} sleeps for 90 days", state._replace(roots=roots, reported=asleep)
        if self._world.backups:
            backups = list(state.backups)
            backup, backups[place] = backups[place], clone
            if backup is None:
                yield f"{place} is backed up", state._replace(backups=tuple(backups))
            elif backup != clone:
                yield f"{place} is put back", state.with_clone(place, backup)

    def _of_tree(self, state: State, place: int, number: int) -> Iterator[tuple[str, State]]:
        clone = state.clones[place]
        tree = clone.trees[number]
        head = state.commits[tree.head]

        def moved(head: int, index: Numbers | None = None, known: Numbers = NONE) -> Clone:
            trees = (*clone.trees[:number], Tree(head, index), *clone.trees[number + 1 :])
            return clone._replace(trees=trees, known=clone.known | known)

        new = len(state.commits)
        if tree.index is None:
            for names in _subsets(range(1, self._world.versions + 1)):
                if names != head.names:
                    yield f"{place} stages {set(names)}", state.with_clone(place, moved(tree.head, names))
            for commit in (clone.refs | {0}) - {tree.head}:
                yield f"{place} checks out c{commit}", state.with_clone(place, moved(commit))
        else:
            yield f"{place} unstages", state.with_clone(place, moved(tree.head))
        if new <= self._world.commits and (tree.index is not None or tree.head):
            names = head.names if tree.index is None else tree.index
            for verb, parent in (("commits", tree.head), *([("amends", head.parent)] if tree.head else [])):
                changed = moved(new, known=frozenset({new}))
                commits = (*state.commits, Commit(parent, names))
                yield f"{place} {verb} {set(names)} as c{new}", state.with_clone(place, changed, commits=commits)
        for names in _subsets(head.names if tree.index is None else tree.index):
            yield f"{place} pushes {set(names)}", self._push(state, place, tree.head, names)
        branch = (self._server(place), place, tree.head)
        if tree.head and branch not in state.servers:
            servers = frozenset(other for other in state.servers if other[:2] != branch[:2]) | {branch}
            ahead = clone._replace(refs=clone.refs | {tree.head})
            yield f"{place} pushes c{tree.head} with git", state.with_clone(place, ahead, servers=servers)

    def _server(self, place: int) -> int:
        return int(self._world.fork and place == self._world.clones - 1)

    def _id(self, place: int) -> int:
        return 0 if self._broken == "one id" else place

    def _fetch(self, state: State, place: int, servers: tuple[int, ...] | None = None) -> State:
        asked = (self._server(place),) if servers is None else servers
        tips = frozenset(commit for server, _, commit in state.servers if server in asked)
        clone = state.clones[place]
        return state.with_clone(place, clone._replace(refs=tips, known=clone.known | self._closure(state, tips)))

    def _renew(self, state: State, place: int) -> State:
        """Its clone talks to the remote: if even its newest root is older than 30 days, that one is written again."""
        roots = state.roots
        own = [root for root in roots if root.clone == self._id(place)]
        if own and self._broken != "no renewal" and min(root.age for root in own) == 2:
            newest = max(own, key=lambda root: sorted(root.names))  # any: they are equally old here
            roots = roots - {newest} | {newest._replace(age=0)}
        claimed = {name for root in own for name in root.names}
        awake = frozenset((who, name, on or (who == place and name in claimed)) for who, name, on in state.reported)
        return state._replace(roots=roots, reported=awake)

    def _push(self, state: State, place: int, head: int, names: Numbers) -> State:
        state = self._renew(state, place)
        reach = self._closure(state, self._reached(state, place))
        new: Root | None = Root(self._id(place), head if state.commits[head].names == names else None, names)
        if self._broken == "a root for each commit":
            covered = {name for root in state.roots for name in root.names}
            new = None if names <= covered else Root(place, head, names)
        elif self._broken == "roots of others suffice" and any(
            root.names >= names and root.commit in reach for root in state.roots
        ):
            new = None
        roots = state.roots
        if self._broken == "push drops too":
            needed = self._named_here(state, place)
            roots = frozenset(
                root for root in roots if root.clone != self._id(place) or root.age == 0 or root.names & needed
            )
        if new is not None:
            roots = frozenset(root for root in roots if root[:3] != new[:3]) | {new}
        reported = frozenset(row for row in state.reported if row[0] != place or row[1] not in names)
        state = state._replace(roots=roots, reported=reported | {(place, name, True) for name in names})
        return state._replace(data=frozenset(name for root in roots for name in root.names))

    def _collect(self, state: State, place: int) -> State:
        trees = 1 if self._broken == "one worktree" else None
        before = self._named_here(state, place, trees)
        if self._broken not in ("no fetch", "a root for each commit"):
            every = (0, 1) if self._world.fork and self._broken != "one git server" else None
            state = self._fetch(state, place, every)
        needed = self._named_here(state, place, trees)
        if self._broken != "after the prune":
            needed |= before
        keep = {root for root in state.roots if not self._falls(state, place, root, needed)}
        claimed = {name for root in keep for name in root.names}
        if self._broken != "a root for each commit":
            keep |= {Root(self._id(place), None, frozenset({name})) for name in (needed & state.data) - claimed}
        data = frozenset(name for root in keep for name in root.names) & state.data
        reported = state.reported
        if self._broken not in ("a root for each commit", "roots of others suffice", "one id"):
            # Its own roots gone, by its own gc or while it slept, a clone reports it no more: the next push looks, and says so.
            own = {(root.clone, name) for root in keep for name in root.names}
            reported = frozenset(row for row in reported if row[:2] in own)
        return state._replace(roots=frozenset(keep), data=data, reported=frozenset(r for r in reported if r[1] in data))

    def _falls(self, state: State, place: int, root: Root, needed: Numbers) -> bool:
        known = root.commit is not None and root.commit in state.clones[place].known
        age = 2 if self._broken == "client clocks" else root.age
        if self._broken == "a root for each commit":
            return known and root.commit not in self._closure(state, self._reached(state, place)) and age >= 1
        if root.names & needed:
            return False
        if root.clone == self._id(place) or (self._broken == "without a commit" and root.commit is None):
            return age >= 1
        if self._broken not in ("client clocks", "each root"):  # its newest root shows when its clone was awake
            age = min(other.age for other in state.roots if other.clone == root.clone)
        return known and age >= (1 if self._broken == "others after 14 days" else 2)
