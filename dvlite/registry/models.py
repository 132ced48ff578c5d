"""The models that this clone knows: versions, stages, what is wrong with them, and the version that `model:birds@prod` means.

Read from git's tags, and from the private refs that keep every entry which this clone ever saw: what is lost, moved or replaced later is
noticed by these and by what entries say that they follow. No network, no clock: order is that of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError, FormatError, UsageError
from dvlite.formats import model_tag
from dvlite.formats.model_tag import LIMIT_BYTES, PREFIX, ModelEntry, TagName
from dvlite.formats.pointer import Pointer
from dvlite.git import tags
from dvlite.git.program import Git
from dvlite.git.tags import TAGS, TagRef
from dvlite.oid import Oid
from dvlite.show import closest, quote, some, word

SEEN = "refs/dvlite/models/"  # each entry as this clone saw it first
THERE = "refs/dvlite/models-there/"  # another one that the git remote has in its place
PATTERNS = ("*@v*", "*#*#*")

ProblemKind = Literal["lost", "moved", "replaced", "gap", "changed", "unreadable", "mismatch", "not there"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryProblem:
    """Something about one tag that should not be: `is_harmless` if what the model is is not in doubt."""

    kind: ProblemKind
    model: str
    tag: str
    message: str
    hint: str
    is_harmless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A registered version: `number` of a model, the data at `path`, the run that made it, and the commit that the tag is at.

    `user` and `time` (unix seconds) are what the tag says: not checked, and never what order rests on.
    """

    name: str
    number: int
    path: str
    pointer: Pointer
    run: Oid | None
    commit: str
    order: int
    digest: str  # of the entry
    user: str = ""
    time: int = 0
    message: str = ""

    @property
    def oid(self) -> Oid:
        return self.pointer.oid

    @property
    def tag(self) -> str:
        return f"{self.name}@v{self.number}"

    @property
    def reference(self) -> str:
        return f"{PREFIX}{self.name}@{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The `number`-th time that a version of a model was promoted to a stage, and what it had to meet."""

    name: str
    stage: str
    number: int
    version: int
    version_digest: str
    commit: str
    order: int
    digest: str
    when: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    user: str = ""
    time: int = 0
    message: str = ""

    @property
    def tag(self) -> str:
        return f"{self.name}#{self.stage}#{self.number}"


@dataclass(slots=True)
class Model:
    """A model: its versions by number, and the promotions to each stage, the last one in force."""

    name: str
    versions: dict[int, ModelVersion] = field(default_factory=dict)
    stages: dict[str, list[Promotion]] = field(default_factory=dict)

    @property
    def newest(self) -> ModelVersion | None:
        return self.versions[max(self.versions)] if self.versions else None

    def stages_of(self, number: int) -> list[str]:
        """Returns the stages that a version is in now, sorted."""
        return sorted(stage for stage, those in self.stages.items() if those and those[-1].version == number)

    def events(self) -> list[ModelVersion | Promotion]:
        """Returns what happened, the first first: by what was known when it was written, not by a clock."""
        promotions = (each for those in self.stages.values() for each in those)
        return sorted((*self.versions.values(), *promotions), key=lambda event: (event.order, event.tag))


@dataclass(frozen=True, slots=True)
class Registry:
    """What this clone knows; `unseen` are tags that have no private ref yet, `known` the objects of each tag here, by tag."""

    models: Mapping[str, Model]
    problems: tuple[RegistryProblem, ...]
    unseen: Mapping[str, str]
    known: Mapping[str, frozenset[str]]

    def names(self) -> set[TagName]:
        """Returns the tags that hold an entry."""
        events = (event for model in self.models.values() for event in model.events())
        return {name for event in events if (name := model_tag.parse_name(event.tag)) is not None}

    def highest(self, model: str, stage: str) -> int:
        """Returns the highest number of a model's versions, or of its promotions to a stage, that was ever given out as far as anything here says."""
        names = self.names().union(filter(None, (model_tag.parse_name(problem.tag) for problem in self.problems)))
        return max((name.number for name in names if (name.model, name.stage) == (model, stage)), default=0)

    def labels(self) -> dict[Oid, tuple[str, ...]]:
        """Returns what people call each registered content, and each run that made one: `birds@7 (prod)`."""
        labels: dict[Oid, tuple[str, ...]] = {}
        for model in self.models.values():
            for version in model.versions.values():
                stages = model.stages_of(version.number)
                label = f"{model.name}@{version.number}" + (f" ({', '.join(stages)})" if stages else "")
                for oid in (version.oid, *([version.run] if version.run is not None else [])):
                    labels[oid] = (*labels.get(oid, ()), label)
        return labels

    def problems_of(self, model: str) -> tuple[RegistryProblem, ...]:
        """Returns what is wrong with the tags of a model."""
        return tuple(problem for problem in self.problems if problem.model == model)


@dataclass(frozen=True, slots=True)
class _Read:
    """A tag with its entry and the digest of that; without one, `problem` says why."""

    ref: TagRef
    entry: ModelEntry | None = None
    digest: str = ""
    said: str = ""
    user: str = ""
    time: int = 0
    problem: str = ""


def load(git: Git, remote: str = "origin") -> Registry:
    """Returns all models of this clone; `remote` is the git remote that hints name. Runs git three times, once where there are none."""
    refs = tags.list_refs(git, *(f"{TAGS}{each}" for each in PATTERNS), SEEN, THERE)
    by_tag: dict[TagName, dict[str, TagRef]] = {}
    for ref in refs:
        space = next(each for each in (TAGS, SEEN, THERE) if ref.ref.startswith(each))
        name = model_tag.parse_name(ref.ref.removeprefix(space))
        if name is not None:
            by_tag.setdefault(name, {})[space] = ref
    data = tags.read_tags(git, (ref.object for those in by_tag.values() for ref in those.values()), LIMIT_BYTES)
    read = {name: {space: _read(name, ref, data) for space, ref in those.items()} for name, those in by_tag.items()}
    # A tag that only looks like one of the registry, as a release `app@v2` does, is none of a model.
    read = {name: those for name, those in read.items() if any(each.entry or each.problem for each in those.values())}
    problems = [problem for name in sorted(read) for problem in _problems(name, read[name], word(remote))]
    chosen = {name: each for name in sorted(read) if (each := _first_seen(read[name])) is not None}
    models = {name: Model(name) for name in dict.fromkeys(tag.model for tag in chosen)}
    for name, each in chosen.items():
        _take(models[name.model], name, each)
    problems += _unlike(chosen, read, word(remote)) + [
        problem for model in models.values() for problem in _holes(model, word(remote))
    ]
    problems = list({(each.tag, each.kind): each for each in reversed(problems)}.values())[::-1]
    unseen = {
        str(name): those[TAGS].ref.object
        for name, those in read.items()
        if TAGS in those and SEEN not in those and those[TAGS].entry is not None
    }
    known = {str(name): frozenset(ref.object for ref in those.values()) for name, those in by_tag.items()}
    return Registry(models, tuple(problems), unseen, known)


def references_of(registry: Registry, oid: Oid) -> tuple[str, ...]:
    """Returns the versions of models that have this content: `model:birds@7`."""
    versions = (version for model in registry.models.values() for version in model.versions.values())
    return tuple(version.reference for version in versions if version.oid == oid)


def named_by_refs(git: Git, prefixes: Iterable[str]) -> list[tuple[str, Pointer]]:
    """Returns the paths and versions that entries under some prefixes of refs name, whatever is wrong with them: what must not be lost."""
    names = {}
    for ref in tags.list_refs(git, *prefixes):
        name = model_tag.parse_name(ref.ref.rpartition("/")[2])
        if name is not None and not name.stage and ref.is_annotated:
            names[ref] = name
    data = tags.read_tags(git, (ref.object for ref in names), LIMIT_BYTES)
    entries = (_read(name, ref, data).entry for ref, name in names.items())
    return list(dict.fromkeys((each.path, each.pointer) for each in entries if each is not None and each.pointer))


def note_seen(git: Git, registry: Registry) -> None:
    """Keeps what this clone sees for the first time. Raises DvliteError where git cannot write."""
    tags.create_refs(git, {f"{SEEN}{tag}": name for tag, name in registry.unseen.items()})


# --- one version ---


def is_reference(text: str) -> bool:
    """Returns whether a word is written as a model is: whether there is one, `version_named` decides."""
    return text.startswith(PREFIX)


def version_named(git: Git, text: str) -> ModelVersion:
    """Returns the version that `birds@7`, `birds@prod` or `birds` (the newest) means, with or without `model:`.

    Raises UsageError for what is not registered, DvliteError for a version that is in doubt: lost, or replaced by another model.
    """
    return find_version(load(git), text)


def model_named(registry: Registry, name: str) -> Model:
    """Returns a model. Raises UsageError if this clone knows none of that name."""
    model_tag.check_name(name, "model")
    model = registry.models.get(name)
    if model is None:
        close = closest(name, registry.models)
        known = f"did you mean {PREFIX}{close}?" if close else f"models: {some(sorted(registry.models))}"
        hint = known if registry.models else "dvlite model add NAME PATH; of a git remote: dvlite model list --fetch"
        raise UsageError(f"there is no model {quote(name)} in this clone", hint=hint)
    return model


def find_version(registry: Registry, text: str) -> ModelVersion:
    """Returns the same out of a registry that was read."""
    name, number, stage = model_tag.parse_reference(text)
    model = model_named(registry, name)
    names: list[str] = []
    if stage:
        promotions = model.stages.get(stage)
        if not promotions:
            hint = (
                f"its stages: {some(sorted(model.stages))}" if model.stages else f"dvlite model promote {name} {stage}"
            )
            raise UsageError(f"no version of {quote(name)} was promoted to {quote(stage)}", hint=hint)
        names, number = [promotions[-1].tag, *_missing_tags(registry, model, stage)], promotions[-1].version
    newest = model.newest
    number = number or (newest.number if newest is not None else 0)
    version = model.versions.get(number)
    names.append(f"{name}@v{number}")
    in_doubt = [each for each in registry.problems if each.tag in names and not each.is_harmless]
    if in_doubt:
        raise DvliteError(f"{PREFIX}{name}@{stage or number} is in doubt: {in_doubt[0].message}", hint=in_doubt[0].hint)
    if version is None:
        numbers = [str(each) for each in sorted(model.versions, reverse=True)]
        raise UsageError(
            f"{quote(name)} has no version {number} in this clone",
            hint=f"versions: {some(numbers)}; of a git remote: dvlite model list --fetch",
        )
    return version


def _missing_tags(registry: Registry, model: Model, stage: str) -> list[str]:
    """Returns later promotions to a stage that other entries name and that are not here: then the last one here may not be in force."""
    last = model.stages[stage][-1].number
    names = ((problem.tag, model_tag.parse_name(problem.tag)) for problem in registry.problems)
    return [
        tag for tag, name in names if name and (name.model, name.stage) == (model.name, stage) and name.number > last
    ]


# --- reading ---


def _read(name: TagName, ref: TagRef, data: Mapping[str, bytes]) -> _Read:
    tag = data.get(ref.object)
    if tag is None or not ref.commit:
        return _Read(ref)
    user, time = tags.tagger(tag)
    try:
        entry, said = model_tag.parse(tag, name)
    except FormatError as error:
        return _Read(ref, problem=error.message if model_tag.has_entry(tag) else "")
    return _Read(ref, entry, entry.digest, said, user, time)


def _first_seen(of_tag: Mapping[str, _Read]) -> _Read | None:
    return next((of_tag[space] for space in (SEEN, TAGS, THERE) if space in of_tag and of_tag[space].entry), None)


def _take(model: Model, name: TagName, read: _Read) -> None:
    entry, commit = read.entry, read.ref.commit
    assert entry is not None
    if entry.pointer is not None:
        model.versions[name.number] = ModelVersion(
            name=name.model,
            number=name.number,
            path=entry.path,
            pointer=entry.pointer,
            run=entry.run,
            commit=commit,
            order=entry.order,
            digest=read.digest,
            user=read.user,
            time=read.time,
            message=read.said,
        )
        return
    promotion = Promotion(
        name=name.model,
        stage=name.stage,
        number=name.number,
        version=entry.version,
        version_digest=entry.version_digest,
        commit=commit,
        order=entry.order,
        digest=read.digest,
        when=entry.when,
        checks=entry.checks,
        user=read.user,
        time=read.time,
        message=read.said,
    )
    model.stages.setdefault(name.stage, []).append(promotion)


# --- what is wrong ---


def _problems(name: TagName, of_tag: Mapping[str, _Read], remote: str) -> Iterator[RegistryProblem]:
    """Yields what is wrong with a tag alone: lost, moved, replaced by another, unreadable."""
    tag, here, seen, there = str(name), of_tag.get(TAGS), of_tag.get(SEEN), of_tag.get(THERE)
    first = _first_seen(of_tag)
    if here is None and seen is not None:
        yield _problem(name, "lost", f"the tag {tag} is gone here", restore(tag, remote))
    if here is not None and here.problem:
        yield _problem(name, "unreadable", here.problem, f"git show {tag}")
    elif here is not None and seen is not None and here.ref.object != seen.ref.object:
        believe = f"to believe what is there now: git update-ref {word(SEEN + tag)} {word(TAGS + tag)}"
        yield _differing(name, here, seen, f"the tag {tag}", f"as it was: git show {word(SEEN + tag)}; {believe}")
    if there is not None and first is not None and first is not there:
        believe = f"to believe it: git fetch -f {remote} tag {word(tag)}; git update-ref {word(SEEN + tag)} {word(TAGS + tag)}"
        hint = f"what it has: git show {word(THERE + tag)}; {believe}"
        yield _differing(name, there, first, f"the tag {tag} on the git remote", hint)


def restore(tag: str, remote: str) -> str:
    """Returns the commands that bring a tag back which this clone saw: here, and on a git remote."""
    return (
        f"to restore it: git update-ref {word(TAGS + tag)} {word(SEEN + tag)}; "
        f"on the git remote: git push {remote} {word(f'{SEEN}{tag}:{TAGS}{tag}')}"
    )


def _differing(name: TagName, now: _Read, was: _Read, what: str, hint: str) -> RegistryProblem:
    if now.entry is not None and now.digest == was.digest:
        commit = now.ref.commit[:8]
        return _problem(
            name, "moved", f"{what} moved to the commit {commit}; it is the same version", hint, harmless=True
        )
    if name.stage:
        return _problem(name, "replaced", f"{what} is another promotion than this clone saw first", hint)
    return _problem(name, "replaced", f"{what} is another model than this clone saw first", hint)


def _unlike(chosen: Mapping[TagName, _Read], read: Mapping[TagName, object], remote: str) -> list[RegistryProblem]:
    """Returns where entries do not fit each other: what one follows is not here, or was replaced; what one promotes is another model."""
    found: dict[tuple[TagName, str], RegistryProblem] = {}
    for name, each in chosen.items():
        assert each.entry is not None
        for tag, digest in each.entry.after.items():
            followed = model_tag.parse_name(tag)
            assert followed is not None
            other = chosen.get(followed)
            if other is None and followed not in read:
                message = f"the tag {tag} is not here, and {name} was written after it"
                found.setdefault((followed, "gap"), _problem(followed, "gap", message, _elsewhere(tag, remote)))
            elif other is not None and other.digest != digest:
                message = f"the tag {tag} is not the one that {name} was written after"
                found.setdefault((followed, "changed"), _problem(followed, "changed", message, _elsewhere(tag, remote)))
        if name.stage:
            version = chosen.get(TagName(name.model, "", each.entry.version))
            if version is None:
                message = f"{name} promotes version {each.entry.version}, which is not here"
                hint = _elsewhere(f"{name.model}@v{each.entry.version}", remote)
                found[name, "mismatch"] = _problem(name, "mismatch", message, hint)
            elif version.digest != each.entry.version_digest:
                message = f"{name} promotes another model than the one that is version {each.entry.version} here"
                found[name, "mismatch"] = _problem(name, "mismatch", message, f"git show {word(str(name))}")
    return list(found.values())


def _holes(model: Model, remote: str) -> Iterator[RegistryProblem]:
    """Yields the numbers of versions and promotions that are missing below the highest."""
    rows = [("", sorted(model.versions))]
    rows += [(stage, [each.number for each in those]) for stage, those in model.stages.items()]
    for stage, numbers in rows:
        for before, after in zip([0, *numbers], numbers, strict=False):
            if after > before + 1:
                first, last = TagName(model.name, stage, before + 1), TagName(model.name, stage, after - 1)
                names = f"the tag {first} is" if first == last else f"the tags {first} to {last} are"
                yield _problem(
                    first,
                    "gap",
                    f"{names} not here, and {TagName(model.name, stage, after)} is",
                    _elsewhere(str(first), remote),
                )


def _elsewhere(tag: str, remote: str) -> str:
    push = f"git push {remote} {word(f'{SEEN}{tag}:{TAGS}{tag}')}"
    return f"dvlite model list --fetch; if the git remote lost it, in a clone that saw it: {push}"


def _problem(name: TagName, kind: ProblemKind, message: str, hint: str, *, harmless: bool = False) -> RegistryProblem:
    return RegistryProblem(kind=kind, model=name.model, tag=str(name), message=message, hint=hint, is_harmless=harmless)
