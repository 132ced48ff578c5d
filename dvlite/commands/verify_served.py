"""`dvlite verify --served`: whether what a server reads is what dvlite wrote, byte by byte; of a running server, what it says of itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from dvlite.errors import DvliteError, ObjectCorrupt, PartlyDone, UsageError
from dvlite.git.program import without_credentials
from dvlite.lineage.context import open_context
from dvlite.lineage.provenance import Provenance
from dvlite.oid import Oid, parse_oid
from dvlite.progress import Progress
from dvlite.registry.models import Registry, load, references_of
from dvlite.repo.repository import Repo
from dvlite.results import Result
from dvlite.serving import ask
from dvlite.serving.check import UNCHECKED, ServedFinding
from dvlite.serving.look import SeenVersion, check_seen
from dvlite.serving.opened import looked_at
from dvlite.show import Show, count, quote, short_oid, some

Known = Literal["known", "unknown", "not asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """One version: what is not as dvlite wrote it, and whether this clone knows its digest (not asked outside of one).

    Of a running server, `bytes_seen` is false, and `findings` compare what it says with what this clone knows.
    """

    server: str
    model: str
    version: int | None
    digest: str
    place: str
    registered: str = ""  # the name in a registry that it says to have
    is_served: bool | None = None
    files: int = 0
    size_bytes: int = 0
    bytes_seen: bool = True
    known: Known = "not asked"
    known_as: str = ""  # a path
    models: tuple[str, ...] = ()  # what the registry of this clone calls it: model:birds@7
    findings: tuple[ServedFinding, ...] = ()
    problem: str = ""  # why it could not be checked


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifyServedResult(Result):
    """What stands at a place. A pass: all bytes were read, and are those that dvlite wrote."""

    schema: ClassVar[str] = "dvlite.verify-served/1"
    place: str
    models: tuple[VerifiedModel, ...] = ()
    expected: str | None = None  # the digest that it had to be
    elapsed_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(one.bytes_seen and not one.findings and not one.problem for one in self.models)

    def failure(self, _show: Show) -> DvliteError | None:
        """Returns what was changed, or else what could not be checked."""
        every = [finding for one in self.models for finding in one.findings]
        findings = [finding for finding in every if finding.kind not in UNCHECKED]
        if findings:
            more = f"; {count(len(findings) - 1, 'more finding')}" if len(findings) > 1 else ""
            return ObjectCorrupt(
                f"{findings[0].message}{more}",
                hint="do not serve it: find out who wrote there, and export the model to a new place",
            )
        problems = [one.problem for one in self.models if one.problem]
        if problems:
            return PartlyDone(f"could not check {some(problems, 1)}", hint="see above")
        if every:
            hint = "run the export again: it does the rest"
            if every[0].kind == "compiled":
                hint = "remove it, and start the server with PYTHONDONTWRITEBYTECODE=1"
            return PartlyDone(f"could not check all: {every[0].message}", hint=hint)
        if not all(one.bytes_seen for one in self.models):
            return PartlyDone(
                "the bytes were not seen: a running server only says what it serves",
                hint="where they are: dvlite verify --served DIR, s3://... or X.mar",
            )
        return None


def verify_served(
    repo: Repo | None,
    place: str,
    *,
    digest: str | None = None,
    environ: Mapping[str, str],
    progress: Progress,
) -> VerifyServedResult:
    """Reads every byte of the models at a place (a folder, an archive, s3://), and of what their servers follow; asks a running server (a URL).

    With `digest`, the one model there has to be that. Needs no clone; in one, digests that it does not know are reported. Raises
    UsageError for a place without a model of dvlite, PartlyDone for a server that does not answer.
    """
    started = time.monotonic()
    if digest is not None and parse_oid(digest)[0] not in ("blake3", "manifest"):
        raise UsageError(
            f"{quote(digest)} is not the digest of a model", hint="it is manifest:<64 hex> or blake3:<64 hex>"
        )
    if ask.is_url(place):
        claims = ask.ask(place, environ.get(ask.TOKEN, ""))
        models = [_of_claim(claim, without_credentials(place)) for claim in claims]
    else:
        with looked_at(place, repo, environ) as seen:
            models = [_checked(one, progress) for one in seen]
    if digest is not None:
        models = list(_expected(models, digest))
    if repo is not None:
        models = list(_known_here(repo, models, environ, progress))
    strangers = [one for one in models if one.known == "unknown"]
    return VerifyServedResult(
        place=without_credentials(place),
        models=tuple(models),
        expected=digest,
        elapsed_seconds=time.monotonic() - started,
        warnings=tuple(
            f"this clone knows no version {short_oid(one.digest)} of {quote(one.model)}: no run and no pointer names it"
            for one in strangers
        ),
    )


def _checked(seen: SeenVersion, progress: Progress) -> VerifiedModel:
    model = seen.held.model
    return VerifiedModel(
        server=seen.server,
        model=seen.held.name,
        version=seen.held.number or None,
        digest="" if model is None else model.digest,
        place=seen.shown,
        registered="" if model is None else model.registered,
        is_served=seen.is_served,
        files=0 if model is None else len(model.files),
        size_bytes=0 if model is None else model.size_bytes,
        findings=tuple(check_seen(seen, progress)),
    )


def _of_claim(claim: ask.ServedClaim, place: str) -> VerifiedModel:
    return VerifiedModel(
        server=claim.server,
        model=claim.model,
        version=claim.version,
        digest=claim.digest or claim.digits,
        place=place,
        registered=claim.registered,
        is_served=True,
        bytes_seen=False,
        problem=f"{quote(claim.model)}: {claim.problem}" if claim.problem else "",
    )


def _expected(models: list[VerifiedModel], digest: str) -> Iterator[VerifiedModel]:
    """Yields the models, those that are served with a finding where they are not the one that is wanted."""
    follows = [one for one in models if one.is_served is not False]
    for one in models:
        is_it = one.digest == digest or (
            not one.bytes_seen and one.digest and digest.partition(":")[2].startswith(one.digest)
        )
        if one in follows and not is_it:
            named = one.digest or "nothing that is known"
            message = f"{quote(one.model)} is {named}, and should be {digest}"
            finding = ServedFinding(kind="digest", path=one.place, message=message)
            yield replace(one, findings=(*one.findings, finding))
        else:
            yield one


def _known_here(
    repo: Repo, models: list[VerifiedModel], environ: Mapping[str, str], progress: Progress
) -> Iterator[VerifiedModel]:
    """Yields the models with what this clone knows of their digests."""
    registry = load(repo.git)
    with open_context(repo, None, environ, progress) as context:
        provenance = Provenance(context)
        for one in models:
            if not one.digest:
                yield one
                continue
            whole = (
                [Oid(one.digest)]
                if ":" in one.digest
                else [
                    *context.index.objects(one.digest),
                    *provenance.pointers_starting(one.digest),
                ]
            )
            path = next((path for oid in whole if (path := _known_as(provenance, oid)) is not None), None)
            known: Known = "unknown" if path is None else "known"
            references = tuple(name for oid in whole for name in references_of(registry, oid))
            yield replace(_as_registered(one, registry, whole), known=known, known_as=path or "", models=references)


def _as_registered(one: VerifiedModel, registry: Registry, oids: Sequence[Oid]) -> VerifiedModel:
    """Returns a model with a finding if it says to be a registered version, and the registry here has another content under that number."""
    model = registry.models.get(one.registered)
    version = None if model is None else model.versions.get(one.version or 0)
    if version is None or version.oid in oids:
        return one
    message = f"{quote(one.model)} says that it is {version.reference}, which is {version.oid} in this clone"
    return replace(one, findings=(*one.findings, ServedFinding(kind="digest", path=one.place, message=message)))


def _known_as(provenance: Provenance, oid: Oid) -> str | None:
    """Returns a path that content has, or had, in this clone; None for content that is not known."""
    named = provenance.named(oid)
    made = provenance.makers([oid]).get(oid, ())
    inside = provenance.listings.anywhere(oid)
    return named.path if named is not None else made[-1][1] if made else inside[0].path if inside else None
