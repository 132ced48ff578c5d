"""Annotated tags: listed with what they point at, read within a limit, made, and exchanged with a git remote one by one.

A tag that is somewhere is never replaced by what this module does: git's servers take a new name or refuse, and so do refs here. Knows
nothing of what a message says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dvlite.errors import DvliteError
from dvlite.git.output import is_commit_id
from dvlite.git.program import Git, without_credentials

TAGS = "refs/tags/"
_AT_ONCE = 500  # refs on a command line
_TAGGER = re.compile(rb"^tagger (.*) <[^<>\n]*> ([0-9]{1,18}) ([+-][0-9]{4})$", re.MULTILINE)


class TagRef(NamedTuple):
    """A ref, the object that it names, and the commit behind that ('' if it is none); `is_annotated`: the object is a tag."""

    ref: str
    object: str
    commit: str
    is_annotated: bool


class FarTag(NamedTuple):
    """A tag as a git remote has it; `commit` is what it leads to."""

    object: str
    commit: str


def list_refs(git: Git, *patterns: str) -> list[TagRef]:
    """Returns the refs that match one of some patterns, with one run of git."""
    form = "--format=%(refname)%00%(objecttype) %(objectname) %(*objecttype) %(*objectname)"
    rows = []
    for line in git.run("for-each-ref", form, *patterns).decode("utf-8", "surrogateescape").splitlines():
        ref, _, rest = line.partition("\0")
        words = rest.split()
        kinds = dict(zip(words[::2], words[1::2], strict=True))
        rows.append(TagRef(ref, words[1], kinds.get("commit", ""), words[0] == "tag"))
    return rows


def read_tags(git: Git, objects: Iterable[str], limit_bytes: int) -> dict[str, bytes]:
    """Returns the bytes of tag objects; those above the limit, and what is no tag, are left out. Runs git twice."""
    wanted = "".join(f"{name}\n" for name in dict.fromkeys(objects))
    rows = git.run("cat-file", "--batch-check", stdin=wanted.encode()).decode().splitlines() if wanted else []
    small = [words[0] for words in map(str.split, rows) if words[1:2] == ["tag"] and int(words[2]) <= limit_bytes]
    with git.blob_reader() as reader:
        return {name: reader.read_object(name)[1] for name in small}


def tagger(tag: bytes) -> tuple[str, int]:
    """Returns who made a tag, and when by their clock in unix seconds; '' and 0 if it does not say."""
    match = _TAGGER.search(tag.partition(b"\n\n")[0])
    return ("", 0) if match is None else (match[1].decode("utf-8", "replace"), int(match[2]))


def make_tag(git: Git, name: str, commit: str, message: str) -> str:
    """Writes a tag object that no ref names yet; returns its name. Raises DvliteError if git does not know who the user is."""
    who = git.run("var", "GIT_COMMITTER_IDENT").decode("utf-8", "surrogateescape").strip()
    text = f"object {commit}\ntype commit\ntag {name}\ntagger {who}\n\n{message}"
    return git.run("mktag", stdin=text.encode("utf-8", "surrogateescape")).decode().strip()


def list_far(git: Git, remote: str, patterns: Sequence[str]) -> dict[str, FarTag]:
    """Returns the tags that a git remote has now, by name. Raises DvliteError, without credentials, if it does not answer."""
    output = _asked(git, "ls-remote", "--quiet", "--", remote, *(f"{TAGS}{pattern}" for pattern in patterns))
    objects: dict[str, str] = {}
    peeled: dict[str, str] = {}
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        name, _, ref = line.partition("\t")
        if is_commit_id(name) and ref.startswith(TAGS):
            (peeled if ref.endswith("^{}") else objects)[ref.removeprefix(TAGS).removesuffix("^{}")] = name
    return {tag: FarTag(name, peeled.get(tag, name)) for tag, name in objects.items()}


def fetch_tags(git: Git, remote: str, wanted: Mapping[str, str], *, depth: int | None = None) -> None:
    """Fetches tags into refs, `{tag: ref}`; nothing else changes. `depth`: so many commits of each, as a shallow clone has them."""
    options = ["--quiet", "--no-tags", "--refmap=", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc"]
    options += [] if depth is None else [f"--depth={depth}"]
    specs = [f"+{TAGS}{tag}:{ref}" for tag, ref in wanted.items()]
    for start in range(0, len(specs), _AT_ONCE):
        _asked(git, "fetch", *options, "--", remote, *specs[start : start + _AT_ONCE])


def push_tag(git: Git, remote: str, name: str, tag: str) -> None:
    """Gives a git remote a tag object under a new name, with the commits that it lacks. Raises DvliteError with its reason if it refuses."""
    _asked(git, "push", "--quiet", "--no-verify", "--", remote, f"{tag}:{TAGS}{name}")


def create_refs(git: Git, refs: Mapping[str, str]) -> None:
    """Makes new refs, all or none. Raises DvliteError if one of them is there."""
    lines = "".join(f"create {ref} {name}\n" for ref, name in refs.items())
    if lines:
        git.run("update-ref", "--stdin", stdin=lines.encode())


def drop_refs(git: Git, refs: Iterable[str]) -> None:
    """Removes refs; those that are not there are passed over."""
    lines = "".join(f"delete {ref}\n" for ref in refs)
    if lines:
        git.run("update-ref", "--stdin", stdin=lines.encode())


def _asked(git: Git, *arguments: str) -> bytes:
    try:
        return git.run(*arguments)
    except DvliteError as error:
        raise DvliteError(without_credentials(error.message), hint=error.hint) from None
