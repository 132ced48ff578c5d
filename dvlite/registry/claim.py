"""How a number is given out: by the git remote, which takes a new tag once. And how this clone learns what others registered.

An entry counts when the git remote has it: its tag is written there first, under a number that nobody has, then here. Of two that are sent
at once a server takes one, and the other is written again under the next number. Without a git remote, this clone's refs decide likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dvlite.errors import DvliteError, UsageError
from dvlite.formats import model_tag
from dvlite.formats.model_tag import HIGHEST, HIGHEST_ORDER, ModelEntry, TagName
from dvlite.git import tags
from dvlite.git.program import Git
from dvlite.git.tags import TAGS, FarTag
from dvlite.registry.models import (
    PATTERNS,
    SEEN,
    THERE,
    ModelVersion,
    Promotion,
    Registry,
    RegistryProblem,
    load,
    note_seen,
)
from dvlite.show import quote, word

_TRIES = 50  # others may register just as fast


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a number, or what it follows; `commit` is where its tag will be."""

    entry: ModelEntry
    commit: str
    message: str


def ask(git: Git, remote: str) -> Registry:
    """Brings what a git remote has, and this clone does not know; returns the registry, with what the git remote lacks as problems.

    One request if there is nothing new. Raises DvliteError if it cannot be asked.
    """
    try:
        far = tags.list_far(git, remote, PATTERNS)
        before = load(git, remote)
        wanted = {
            tag: each
            for tag, each in far.items()
            if model_tag.parse_name(tag) and each.object not in before.known.get(tag, ())
        }
        _fetch(git, remote, wanted)
    except DvliteError as error:
        raise DvliteError(
            f"cannot ask the git remote {quote(remote)} for models: {error.message}", hint=error.hint
        ) from None
    registry = load(git, remote) if _settle(git, far) else before
    note_seen(git, registry)
    lacking = [
        RegistryProblem(
            kind="not there",
            model=name.model,
            tag=str(name),
            message=f"the git remote {quote(remote)} does not have the tag {name}",
            hint=f"deleted there, or never pushed: git push {word(remote)} {word(f'{SEEN}{name}:{TAGS}{name}')}",
        )
        for name in registry.names()
        if str(name) not in far
    ]
    return replace(registry, problems=(*registry.problems, *lacking))


def _fetch(git: Git, remote: str, wanted: Mapping[str, FarTag]) -> None:
    """Fetches tags beside those that are here; in a shallow clone no history comes along, and none that is here is cut off."""
    refs = {tag: f"{THERE}{tag}" for tag in wanted}
    if not refs or not git.is_shallow():
        tags.fetch_tags(git, remote, refs)
        return
    here = git.commit_times(each.commit for each in wanted.values())
    tags.fetch_tags(git, remote, {tag: ref for tag, ref in refs.items() if wanted[tag].commit in here})
    tags.fetch_tags(git, remote, {tag: ref for tag, ref in refs.items() if wanted[tag].commit not in here}, depth=1)


def _settle(git: Git, far: Mapping[str, FarTag]) -> bool:
    """Makes tags of what was fetched and is new here; forgets what the git remote had in place of something and has no more.

    Returns whether there was anything to look at.
    """
    refs = {ref.ref: ref.object for ref in tags.list_refs(git, *(f"{TAGS}{each}" for each in PATTERNS), SEEN, THERE)}
    fetched = {ref.removeprefix(THERE): name for ref, name in refs.items() if ref.startswith(THERE)}
    if not fetched:
        return False
    new = {
        tag: name
        for tag, name in fetched.items()
        if tag in far and f"{TAGS}{tag}" not in refs and f"{SEEN}{tag}" not in refs
    }
    known = {tag for tag in fetched if fetched[tag] in (refs.get(f"{TAGS}{tag}"), refs.get(f"{SEEN}{tag}"))}
    entries = load(git).names()
    tags.create_refs(
        git,
        {
            f"{space}{tag}": name
            for tag, name in new.items()
            if model_tag.parse_name(tag) in entries
            for space in (TAGS, SEEN)
        },
    )
    drop = {
        tag
        for tag in fetched
        if tag in known or tag not in far or (model_tag.parse_name(tag) in entries and tag in new)
    }
    tags.drop_refs(git, (f"{THERE}{tag}" for tag in drop))
    return True


def current(git: Git, remote: str | None) -> Registry:
    """Returns the registry as it is now where numbers are given out: on the git remote, or without one (None) in this clone."""
    if remote is not None:
        return ask(git, remote)
    registry = load(git)
    note_seen(git, registry)
    return registry


def claim(
    git: Git, remote: str | None, draft: Callable[[Registry], Draft | None], known: Registry | None = None
) -> tuple[ModelEntry | None, Registry]:
    """Writes the entry that `draft` makes of the registry as it is now, under the next number; None if it makes none.

    `draft` is called again whenever somebody else was faster. `known` is what `current` returned a moment ago: it is asked for again only if
    it is out of date. Raises DvliteError if the git remote does not take the tag: then there is none.
    """
    for _ in range(_TRIES):
        registry, known = known or current(git, remote), None
        drafted = draft(registry)
        if drafted is None:
            return None, registry
        entry = _numbered(drafted.entry, registry)
        tag = str(entry.name)
        made = tags.make_tag(git, tag, drafted.commit, model_tag.dump(entry, drafted.message))
        if remote is not None and not _taken_by(git, remote, tag, made):
            continue
        if _write_here(git, tag, made) or remote is not None:
            return entry, load(git, remote or "origin")
    raise DvliteError("others register faster than this clone can", hint="try again")


def _numbered(entry: ModelEntry, registry: Registry) -> ModelEntry:
    """Returns an entry with the next free number and all that it follows."""
    name = entry.name
    number = registry.highest(name.model, name.stage) + 1
    while number <= HIGHEST and str(TagName(name.model, name.stage, number)) in registry.known:
        number += 1  # another tag has that name
    if number > HIGHEST:
        raise UsageError(f"{quote(name.model)} has no numbers left", hint="give the model another name")
    model = registry.models.get(name.model)
    newest: list[ModelVersion | Promotion] = []
    if model is not None:
        newest = [*([model.newest] if model.newest else []), *(those[-1] for those in model.stages.values())]
    orders = [0] if model is None else [event.order for event in model.events()]
    return replace(
        entry,
        name=TagName(name.model, name.stage, number),
        order=min(max(orders, default=0) + 1, HIGHEST_ORDER),
        after={event.tag: event.digest for event in newest[: model_tag.MOST_FOLLOWED]},
    )


def _taken_by(git: Git, remote: str, tag: str, made: str) -> bool:
    """Returns whether a git remote has our tag now; False: another has that number. Raises DvliteError if it refuses, or did not answer."""
    try:
        tags.push_tag(git, remote, tag, made)
        return True
    except DvliteError as error:
        try:
            there = tags.list_far(git, remote, [tag]).get(tag)
        except DvliteError:
            raise DvliteError(
                f"whether {quote(remote)} has {tag} now is not known: {error.message}",
                hint="dvlite model list --fetch; then the same command again: what is registered is not registered twice",
            ) from None
        if there is not None:
            return there.object == made
        raise DvliteError(
            f"the git remote {quote(remote)} did not take the tag {tag}: {error.message}",
            hint="nothing is registered; who may make such tags is decided there (protected tags, hooks)",
        ) from None


def _write_here(git: Git, tag: str, made: str) -> bool:
    """Makes the refs of a tag; returns whether they name it now."""
    for ref in (f"{TAGS}{tag}", f"{SEEN}{tag}"):
        try:
            tags.create_refs(git, {ref: made})
        except DvliteError:
            there = [each.object for each in tags.list_refs(git, ref) if each.ref == ref]
            if not there:
                raise
            if there != [made]:
                return False
    return True
