"""Entries of the model registry in messages of tags: what is refused."""

import json

import pytest

from dvlite.errors import FormatError, UsageError
from dvlite.formats import model_tag

ENTRY = {"dvlite_model": 1, "model": "fish", "version": 1, "path": "x", "oid": "blake3:" + "0" * 64, "size": 1}
ENTRY |= {"order": 1, "after": {}}
NAME = model_tag.TagName("fish", "", 1)


def tag(body):
    return b"tag fish@v1\ntagger x <a@b> 9 +0000\n\nfish\n\nas it was\n\n" + json.dumps(body, indent=1).encode() + b"\n"


def test_an_entry_and_what_the_user_wrote_are_read():
    entry, said = model_tag.parse(tag(ENTRY), NAME)
    assert (entry.path, entry.order, said) == ("x", 1, "as it was")


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../../x"},
        {"path": "/x"},
        {"path": "x\x1b[31m", "after": {"fish@v0": "x"}},
        {"after": {"birds@v1": "0" * 64}},
        {"version": 2},
        {"version": True},
        {"model": "birds"},
        {"oid": "blake3:0"},
        {"size": -1},
        {"order": 2**60},
        {"executable": 1},
        {"run": "blake3:" + "0" * 64},
        {"dvlite_model": 2},
    ],
    ids=str,
)
def test_a_hostile_entry_is_refused(change):
    with pytest.raises(FormatError) as refused:
        model_tag.parse(tag(ENTRY | change), NAME)
    assert "\x1b" not in refused.value.message


@pytest.mark.parametrize(
    "name", ["birds@v0", "birds@v01", "Birds@v1", "birds@v9999999999", "birds#prod", "a/b@v1", "birds@1"]
)
def test_other_tags_are_none_of_the_registry(name):
    assert model_tag.parse_name(name) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("birds", ("birds", None, "")),
        ("model:birds@7", ("birds", 7, "")),
        ("birds@v7", ("birds", 7, "")),
        ("birds@prod", ("birds", None, "prod")),
    ],
)
def test_references_are_split(text, parts):
    assert model_tag.parse_reference(text) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("birds@0", "no version or stage behind '@'"),
        ("birds@99999999999", "no version or stage behind '@'"),
        ("birds@", "no version or stage behind '@'"),
        ("a/b", "'a/b' cannot be the name of a model"),
        ("b" * 300, "cannot be the name of a model"),
        ("birds@latest", "cannot be the name of a stage"),
    ],
)
def test_bad_references_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        model_tag.parse_reference(text)
