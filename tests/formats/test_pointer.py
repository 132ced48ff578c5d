"""Pointer files: exact bytes, exact round trips, and a clear line for everything else."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import FormatError
from dvlite.formats import pointer
from dvlite.formats.pointer import Pointer
from dvlite.formats.source import ImportSource
from dvlite.oid import Digest

GOLDEN = Path(__file__).parent.parent / "golden"
DIGEST = Digest(bytes(range(32)))
HEX = DIGEST.hex()
META = "meta:\n  # ours\n  source: https://example.com/é\n  tags: [a, b]\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OF_REPOSITORY = ImportSource(
    repository="git@example.com:acme/birds",
    path="data/r\u00e9sum\u00e9 \udcff",
    revision="main",
    commit=COMMIT,
    oid=f"manifest:{HEX}",
)
OF_URL = ImportSource(
    url="https://example.com/birds.csv",
    etag='"5f0c"',
    version="3/L4",
    modified="Mon, 30 Nov 2026 11:00:00 GMT",
    size="12",
    oid=f"blake3:{HEX}",
)
GOLDENS = {
    "pointer-file": Pointer("file", DIGEST, 12),
    "pointer-executable": Pointer("file", DIGEST, 0, executable=True),
    "pointer-directory": Pointer("directory", DIGEST, 2**63 - 1, files=384211),
    "pointer-meta": Pointer("directory", DIGEST, 5, files=1, meta=META),
    "pointer-imported": Pointer("directory", DIGEST, 5, files=1, meta=META, source=OF_REPOSITORY),
    "pointer-url": Pointer("file", DIGEST, 12, executable=True, source=OF_URL),
}
GOOD = f"dvlite: 1\nkind: file\noid: blake3:{HEX}\nsize: 12\n"
TREE = f"dvlite: 1\nkind: directory\noid: manifest:{HEX}\nsize: 12\nfiles: 3\n"


@pytest.mark.parametrize("name", GOLDENS)
def test_a_pointer_has_exactly_these_bytes(name):
    golden = (GOLDEN / f"{name}.dvlite").read_bytes()
    assert pointer.dump(GOLDENS[name]) == golden
    assert pointer.parse(golden, "x.dvlite") == GOLDENS[name]


pointers = st.builds(
    lambda kind, digest, size, files, executable, meta, source: Pointer(
        kind,
        Digest(digest),
        size,
        files if kind == "directory" else 1,
        executable=executable and kind == "file",
        meta="meta:\n" + "".join(f"  {line}\n" for line in meta) if meta else "",
        source=source,
    ),
    st.sampled_from(["file", "directory"]),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.booleans(),
    st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), max_size=4),
    st.none() | st.builds(ImportSource, url=st.text(min_size=1), etag=st.text(), oid=st.just(f"blake3:{HEX}")),
)


@given(pointers)
def test_a_pointer_reads_back_as_it_was(made):
    assert pointer.parse(pointer.dump(made), "x.dvlite") == made


def test_the_order_of_lines_does_not_matter():
    lines = TREE.splitlines(keepends=True)
    assert pointer.parse("".join(reversed(lines)).encode(), "x.dvlite") == pointer.parse(TREE.encode(), "x.dvlite")


def test_what_the_user_wrote_below_meta_survives_a_new_version():
    known = pointer.parse((GOOD + META).encode(), "x.dvlite")
    again = Pointer("file", Digest(bytes(32)), 3, meta=known.meta)
    assert pointer.dump(again).decode().endswith(META)


BLOCK = f'source:\n  repository: "../birds"\n  commit: "{COMMIT}"\n  oid: "blake3:{HEX}"\n'
# name -> (bytes, what the error must say); the numbers are those of the checklist in docs/explanation
HOSTILE = {
    "21 hash too short": (GOOD.replace(HEX, HEX[:-1]), "line 3: 'blake3:"),
    "21 hash too long": (GOOD.replace(HEX, HEX + "0"), "line 3"),
    "21 hash in upper case": (GOOD.replace(HEX, HEX.upper()), "line 3"),
    "21 path in the hash": (GOOD.replace(HEX, "../" + HEX[3:]), "line 3"),
    "22 unknown algorithm": (GOOD.replace("blake3:", "md5:"), "line 3"),
    "22 unknown version": (GOOD.replace("dvlite: 1", "dvlite: 2"), "line 1: version '2'"),
    "22 padded version": (GOOD.replace("dvlite: 1", "dvlite: 01"), "line 1"),
    "22 a directory's id in a file": (GOOD.replace("blake3:", "manifest:"), "line 3: a file cannot have an oid"),
    "22 a run's id": (GOOD.replace("blake3:", "run:"), "line 3"),
    "23 negative size": (GOOD.replace("size: 12", "size: " + "-1"), "line 4: 'size' must be a whole number"),
    "23 size of 2^63": (GOOD.replace("size: 12", "size: " + str(2**63)), "line 4"),
    "23 infinite size": (GOOD.replace("size: 12", "size: " + "1e999"), "line 4"),
    "23 NaN": (GOOD.replace("size: 12", "size: " + "NaN"), "line 4"),
    "23 quoted size": (GOOD.replace("size: 12", "size: " + '"10"'), "line 4"),
    "23 boolean size": (GOOD.replace("size: 12", "size: " + "true"), "line 4"),
    "23 octal size": (GOOD.replace("size: 12", "size: " + "0o17"), "line 4"),
    "23 size with underscores": (GOOD.replace("size: 12", "size: " + "1_000"), "line 4"),
    "23 size in other digits": (GOOD.replace("size: 12", "size: " + "١٢"), "line 4"),
    "23 missing size": (GOOD.replace("size: 12\n", ""), "'size' is missing"),
    "23 missing oid": (GOOD.replace(f"oid: blake3:{HEX}\n", ""), "'oid' is missing"),
    "23 missing files": (TREE.replace("files: 3\n", ""), "'files' is missing"),
    "23 files of a file": (GOOD + "files: 3\n", "line 5: 'files' is not known"),
    "23 executable directory": (TREE + "executable: true\n", "line 6: 'executable' is not known"),
    "23 executable: false": (GOOD + "executable: false\n", "line 5: 'executable' must be true"),
    "24 zeros, as after a power cut": (bytes(300), "line 1"),
    "24 empty": ("", "'dvlite' is missing|line 1"),
    "24 byte order mark": ("\ufeff" + GOOD, "line 1: it starts with a byte order mark"),
    "24 CR LF": (GOOD.replace("\n", "\r\n"), "line 1: lines must end in LF"),
    "24 CR at one end": (GOOD.replace("size: 12\n", "size: 12\r\n"), "line 4: lines must end in LF"),
    "24 binary": (b"\x89PNG\r\n\x1a\n\0\0\0", "line 1"),
    "24 Latin-1": (GOOD.encode() + b"note: caf\xe9\n", "line 5: it is not a pointer file"),
    "24 conflict markers": (
        f"dvlite: 1\nkind: file\n<<<<<<< HEAD\noid: blake3:{HEX}\n=======\noid: blake3:{HEX}\n>>>>>>> b\nsize: 1\n",
        "line 3: there is an unresolved merge conflict",
    ),
    "24 no final newline": (GOOD.rstrip("\n"), "line 4"),
    "24 blank line": (GOOD + "\n", "line 5"),
    "24 meta that is not text": (GOOD.encode() + b"meta:\n  \xff\xfe\n", "line 5: 'meta' is not UTF-8"),
    "24 line after meta": (GOOD + "meta:\n  a: 1\nsize: 13\n", "line 7: lines below 'meta:' must be indented"),
    "25 duplicate key": (GOOD + "size: 13\n", "line 5: 'size' is given twice"),
    "25 unknown key": (GOOD + "url: https://example.com\n", "line 5: 'url' is not known"),
    "26 brackets": ("[" * 60_000, "line 1"),
    "26 braces": ("{" * 60_000, "line 1"),
    "28 a Python tag": ("dvlite: !!python/object/apply:os.system [id]\n", "line 1"),
    "NUL in a value": (GOOD.replace("file", "fi\0le"), "line 2"),
    "escape in a value": (GOOD.replace("file", "\x1b]0;x\x07"), "line 2"),
    "escape in a key": ("\x1b]0;owned\x07: 1\n", "line 1"),
    "source without an address": (GOOD + f'source:\n  oid: "blake3:{HEX}"\n', "line 5: 'source' needs"),
    "source with two addresses": (GOOD + BLOCK + '  url: "https://example.com"\n', "line 5: 'source' needs"),
    "source of a later dvlite": (GOOD + BLOCK + '  weather: "fine"\n', "line 9: 'weather' is not known in 'source'"),
    "source of a repository with what a URL has": (GOOD + BLOCK + '  etag: "x"\n', "'etag' is not known in this"),
    "source without a commit": (GOOD + BLOCK.replace(COMMIT, "main"), "'commit' in 'source' must be the whole id"),
    "source without an oid": (GOOD + BLOCK.replace(HEX, "0"), "'oid' in 'source' must be"),
    "source given twice": (GOOD + BLOCK + '  commit: "0"\n', "line 9: 'commit' is given twice in 'source'"),
    "source with an empty value": (GOOD + BLOCK + '  path: ""\n', "have 1 to 8192 letters"),
    "source with a value that is too long": (GOOD + BLOCK + f'  path: "{"x" * 9000}"\n', "have 1 to 8192 letters"),
    "source with a plain value": (GOOD + BLOCK + "  path: x\n", "line 9: expected 'name: value'"),
    "source with half a string": (GOOD + BLOCK + '  path: "x" y"\n', "line 9: expected 'name: value'"),
    "source that ends at once": (GOOD + "source:", "line 5"),
    "source twice": (GOOD + BLOCK + "source:\n", "line 9"),
    "source after meta": (GOOD + META + BLOCK, "must be indented"),
    "another kind": (GOOD.replace("kind: file", "kind: socket"), "line 2: 'kind' must be file or directory"),
    "space before the colon": (GOOD.replace("size: ", "size : "), "line 4"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pointer_is_refused_in_one_line_that_names_its_line(name):
    data, said = HOSTILE[name]
    with pytest.raises(FormatError, match=said) as caught:
        pointer.parse(data if isinstance(data, bytes) else data.encode(), "data/x.dvlite")
    assert caught.value.message.startswith("cannot read 'data/x.dvlite' line ")
    assert caught.value.message.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"a" * 10_000_000, b"meta:\n" + b" x\n" * 4_000_000, b"x: y\n" * 50_000])
def test_a_huge_pointer_is_refused_in_little_memory(data):
    tracemalloc.start()
    with pytest.raises(FormatError, match="at most 65536 bytes"):
        pointer.parse(data, "x.dvlite")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: (GOOD + text).encode("utf-8", "replace")))
def test_any_bytes_are_a_pointer_or_a_format_error(data):
    try:
        found = pointer.parse(data, "x.dvlite")
    except FormatError as error:
        if "\n" in error.message:
            pytest.fail(error.message)
    else:
        assert pointer.parse(pointer.dump(found), "x.dvlite") == found


def test_versions_are_the_same_whatever_the_user_wrote():
    one, two = Pointer("file", DIGEST, 1, meta="meta: x\n"), Pointer("file", DIGEST, 1)
    assert one.same_version(two)
    assert not one.same_version(Pointer("file", DIGEST, 1, executable=True))
    assert not one.same_version(Pointer("directory", DIGEST, 1))
    assert not one.same_version(None)


@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        ("dvlite: 1\n<<<<<<< HEAD\n", 2, "conflict"),
        ("dvlite: 1\nkind: neither\n", 2, "malformed"),
        ("dvlite: 1\r\n", 1, "other"),  # its hint says what to do
    ],
)
def test_an_error_has_the_place_and_its_kind_as_fields(text, line, kind):
    with pytest.raises(FormatError) as caught:
        pointer.parse(text.encode(), "data.dvlite")
    error = caught.value
    assert (error.file, error.line, error.kind) == ("data.dvlite", line, kind)
    assert error.message == f"cannot read 'data.dvlite' line {line}: {error.reason}"
