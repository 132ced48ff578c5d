"""Three-way merges of pointers and listings: what changed on one side is taken, what changed on both is a conflict with a name."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dvlite.errors import DvliteError
from dvlite.formats import manifest
from dvlite.formats.manifest import EMPTY_DIR, EXECUTABLE, FILE, NO_DIGEST, SYMLINK, Entry
from dvlite.formats.pointer import Pointer
from dvlite.formats.source import ImportSource
from dvlite.merge.listings import Conflict, merge, named_theirs
from dvlite.merge.markers import marked
from dvlite.oid import Digest, digest_bytes

X = EXECUTABLE
DIR = None  # an empty directory, in the tables


class Listings:
    """Directories as `path: content`; (content, flags) for what is no ordinary file."""

    def __init__(self):
        self.nodes = {}
        self.reads = []

    def pointer(self, tree, meta=""):
        entries = [entry(path, value) for path, value in sorted(tree.items())]
        built = manifest.build(manifest.from_entries(entries))
        self.nodes |= dict(built.nodes)
        return Pointer("directory", built.root, built.size_bytes, built.files, meta=meta)

    def read(self, digest):
        self.reads.append(digest)
        return self.nodes[digest]

    def tree(self, pointer):
        found = manifest.load(pointer.digest, self.read)
        return {row.path: (row.flags, row.size_bytes, row.digest) for row in map(found.__getitem__, range(len(found)))}

    def merge(self, base, ours, theirs, choice=""):
        """Returns (merged tree or None, conflicts)."""
        sides = [None if tree is None else self.pointer(tree) for tree in (base, ours, theirs)]
        merged = merge(*sides, self.read, choice=choice)
        self.nodes |= dict(merged.nodes)
        if merged.pointer is None:
            return None, merged.conflicts
        found = self.tree(merged.pointer)
        assert merged.pointer.files == sum(flags != EMPTY_DIR for flags, _, _ in found.values())
        assert merged.pointer.size_bytes == sum(size for _, size, _ in found.values())
        return found, merged.conflicts


def entry(path, value):
    if value is DIR:
        return Entry(path, EMPTY_DIR, 0, Digest(NO_DIGEST))
    content, flags = value if isinstance(value, tuple) else (value, FILE)
    return Entry(path, flags, len(content), digest_bytes(content))


def rows(tree):
    made = (entry(path, value) for path, value in tree.items())
    return {row.path: (row.flags, row.size_bytes, row.digest) for row in made}


A = b"a.jpg"
CLEAN = {
    "each adds": ({A: b"1"}, {A: b"1", b"x": b"x"}, {A: b"1", b"y": b"y"}, {A: b"1", b"x": b"x", b"y": b"y"}),
    "one adds, one removes": ({A: b"1"}, {A: b"1", b"x": b"x"}, {}, {b"x": b"x"}),
    "one changes": ({A: b"1"}, {A: b"1"}, {A: b"2"}, {A: b"2"}),
    "both the same": ({A: b"1"}, {A: b"2"}, {A: b"2"}, {A: b"2"}),
    "both remove": ({A: b"1", b"b": b"b"}, {b"b": b"b"}, {b"b": b"b"}, {b"b": b"b"}),
    "both add the same": ({}, {A: b"1"}, {A: b"1"}, {A: b"1"}),
    "one makes it executable": ({A: b"1"}, {A: (b"1", X)}, {A: b"1", b"y": b""}, {A: (b"1", X), b"y": b""}),
    "content here, x bit there": ({A: b"1"}, {A: b"2"}, {A: (b"1", X)}, {A: (b"2", X)}),
    "x bit goes here, content there": ({A: (b"1", X)}, {A: b"1"}, {A: (b"2", X)}, {A: b"2"}),
    "a file becomes a link": ({A: b"1", b"b": b""}, {A: b"1"}, {A: (b"b", SYMLINK), b"b": b""}, {A: (b"b", SYMLINK)}),
    "an empty directory is added": ({A: b"1"}, {A: b"1", b"d": DIR}, {A: b"2"}, {A: b"2", b"d": DIR}),
    "an empty directory goes": ({A: b"1", b"d": DIR}, {A: b"1"}, {A: b"2", b"d": DIR}, {A: b"2"}),
    "an empty directory here, files in it there": ({}, {b"d": DIR}, {b"d/x": b"x"}, {b"d/x": b"x"}),
    "emptied here, filled there": (
        {b"d/x": b"x"},
        {b"d": DIR},
        {b"d/x": b"x", b"d/e/y": b"y"},
        {b"d/e/y": b"y"},
    ),
    "filled here, empty there": ({}, {b"d/x": b"x"}, {b"d": DIR}, {b"d/x": b"x"}),
    "a file becomes a folder": ({A: b"1"}, {A: b"1", b"b": b""}, {A + b"/x": b"x"}, {A + b"/x": b"x", b"b": b""}),
    "a folder becomes a file": ({b"d/x": b"x"}, {b"d/x": b"x", b"b": b""}, {b"d": b"file"}, {b"d": b"file", b"b": b""}),
    "without an ancestor, each their own": (None, {A: b"1"}, {b"b": b"2"}, {A: b"1", b"b": b"2"}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_one_side_changed_is_taken(name):
    base, ours, theirs, expected = CLEAN[name]
    assert Listings().merge(base, ours, theirs) == (rows(expected), ())
    assert Listings().merge(base, theirs, ours) == (rows(expected), ())


BOTH, ADDED, OURS_GONE, THEIRS_GONE = (
    "changed on both sides",
    "added on both sides",
    "removed by ours",
    "removed by theirs",
)
CLASH = "file and folder"
CONFLICTS = {  # base, ours, theirs, conflicts, with ours, with theirs, with both
    "changed twice": (
        *({A: b"1"}, {A: b"2"}, {A: b"3", b"y": b"y"}, {A: BOTH}),
        {A: b"2", b"y": b"y"},
        {A: b"3", b"y": b"y"},
        {A: b"2", b"a.theirs.jpg": b"3", b"y": b"y"},
    ),
    "added twice": (
        *({}, {b"f": b"2"}, {b"f": b"3"}, {b"f": ADDED}),
        {b"f": b"2"},
        {b"f": b"3"},
        {b"f": b"2", b"f.theirs": b"3"},
    ),
    "changed here, removed there": (*({A: b"1"}, {A: b"2"}, {}, {A: THEIRS_GONE}), {A: b"2"}, {}, {A: b"2"}),
    "removed here, changed there": (*({A: b"1"}, {}, {A: b"2"}, {A: OURS_GONE}), {}, {A: b"2"}, {A: b"2"}),
    "link here, file there": (
        *({A: b"1"}, {A: (b"t", SYMLINK)}, {A: b"2"}, {A: BOTH}),
        {A: (b"t", SYMLINK)},
        {A: b"2"},
        {A: (b"t", SYMLINK), b"a.theirs.jpg": b"2"},
    ),
    "file here, folder there": (
        *({}, {b"d": b"f"}, {b"d/x": b"x", b"d/y": b"y"}, {b"d": CLASH}),
        {b"d": b"f"},
        {b"d/x": b"x", b"d/y": b"y"},
        {b"d": b"f", b"d.theirs/x": b"x", b"d.theirs/y": b"y"},
    ),
    "folder here, file there": (
        *({}, {b"d/x": b"x", b"d/e/y": b"y"}, {b"d": b"f"}, {b"d": CLASH}),
        {b"d/x": b"x", b"d/e/y": b"y"},
        {b"d": b"f"},
        {b"d/x": b"x", b"d/e/y": b"y", b"d.theirs": b"f"},
    ),
    "changed here, made a folder there": (
        *({A: b"1"}, {A: b"2"}, {A + b"/x": b"x"}, {A: THEIRS_GONE}),
        {A: b"2"},
        {A + b"/x": b"x"},
        {A: b"2", b"a.theirs.jpg/x": b"x"},
    ),
    "made a folder here, changed there": (
        *({A: b"1"}, {A + b"/x": b"x"}, {A: b"2"}, {A: OURS_GONE}),
        {A + b"/x": b"x"},
        {A: b"2"},
        {A + b"/x": b"x", b"a.theirs.jpg": b"2"},
    ),
    "the other name is taken": (
        *(
            {A: b"1", b"a.theirs.jpg": b"t"},
            {A: b"2", b"a.theirs.jpg": b"t"},
            {A: b"3", b"a.theirs.jpg": b"t"},
            {A: BOTH},
        ),
        {A: b"2", b"a.theirs.jpg": b"t"},
        {A: b"3", b"a.theirs.jpg": b"t"},
        {A: b"2", b"a.theirs.jpg": b"t", b"a.theirs2.jpg": b"3"},
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_what_both_sides_changed_is_a_conflict_that_a_choice_settles(name):
    base, ours, theirs, reasons, *settled = CONFLICTS[name]
    conflicts = tuple(Conflict(path, reason) for path, reason in reasons.items())
    assert Listings().merge(base, ours, theirs) == (None, conflicts)
    for choice, expected in zip(("ours", "theirs", "union"), settled, strict=True):
        assert Listings().merge(base, ours, theirs, choice) == (rows(expected), conflicts), choice
    mirrored = {OURS_GONE: THEIRS_GONE, THEIRS_GONE: OURS_GONE}
    swapped = tuple(Conflict(each.path, mirrored.get(each.reason, each.reason)) for each in conflicts)
    assert Listings().merge(base, theirs, ours) == (None, swapped)


def test_between_ancestors_a_conflict_stays_as_it_was():
    found, _ = Listings().merge({A: b"1", b"b": b"b"}, {A: b"2", b"b": b"c"}, {A: b"3", b"b": b"b"}, "base")
    assert found == rows({A: b"1", b"b": b"c"})


# --- against a model

NAMES = [b"a", b"b", b"c", b"d", b"a/x", b"a/y", b"b/x", b"a/x/z", b"c/x"]
VALUES = [b"1", b"2", (b"1", X), (b"t", SYMLINK), DIR]


def folders(path):
    parts = path.split(b"/")
    return [b"/".join(parts[:i]) for i in range(1, len(parts))]


def without_clashes(tree):
    return {path: value for path, value in tree.items() if not any(folder in tree for folder in folders(path))}


trees = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=6).map(without_clashes)


def changed(base, edits):
    tree = {path: value for path, value in {**base, **edits}.items() if value != "gone"}
    return without_clashes(tree)


edits = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*VALUES, "gone"]), max_size=4)


def merged_part(base, ours, theirs):
    """Returns what a part of both sides becomes, or None where they clash; both may have made the same change."""
    return ours if theirs in (base, ours) else theirs if ours == base else None


def model(base, ours, theirs):
    """Returns the merged tree, or None where the sides clash, from first principles: path by path."""
    merged = {}
    base, ours, theirs = rows(base), rows(ours), rows(theirs)
    for path in base.keys() | ours.keys() | theirs.keys():
        b, o, t = base.get(path), ours.get(path), theirs.get(path)
        if t in (o, b):
            value = o
        elif o == b:
            value = t
        elif (
            b and o and t and (b[0] | o[0] | t[0]) & ~X == FILE
        ):  # of files, the x bit and the content merge separately
            flags, content = merged_part(b[0], o[0], t[0]), merged_part(b[1:], o[1:], t[1:])
            if flags is None or content is None:
                return None
            value = (flags, *content)
        else:
            return None
        if value is not None:
            merged[path] = value
    used = {folder for path in merged for folder in folders(path)}
    merged = {path: value for path, value in merged.items() if not (path in used and value[0] == EMPTY_DIR)}
    return None if used & merged.keys() else merged


@given(trees, edits, edits)
@example({b"a": b"2"}, {b"a": (b"1", X)}, {b"a": b"1"})
def test_a_merge_is_that_of_the_model_from_both_sides(base, mine, their):
    ours, theirs = changed(base, mine), changed(base, their)
    expected = model(base, ours, theirs)
    for one, other in ((ours, theirs), (theirs, ours)):
        found, conflicts = Listings().merge(base, one, other)
        assert found == expected
        assert (expected is None) == bool(conflicts)


@given(trees, edits)
def test_one_side_alone_is_taken_whole(base, mine):
    tree = changed(base, mine)
    for sides in ((base, tree, base), (base, base, tree), (base, tree, tree), (None, tree, tree)):
        assert Listings().merge(*sides) == (rows(tree), ())


@given(trees, edits, edits, st.sampled_from(["ours", "theirs", "union", "base"]))
def test_a_choice_settles_everything(base, mine, their, choice):
    ours, theirs = changed(base, mine), changed(base, their)
    found, conflicts = Listings().merge(base, ours, theirs, choice)
    assert found is not None
    _, listed = Listings().merge(base, ours, theirs)
    assert {each.path for each in listed} <= {each.path for each in conflicts} or choice != "ours"
    if choice == "union":  # nothing that a side changed or added is lost
        values = [value for value in found.values() if value[0] != EMPTY_DIR]
        for side in (rows(ours), rows(theirs)):
            for path, value in side.items():
                if value[0] != EMPTY_DIR and value[1:] != rows(base).get(path, value[:1])[1:]:
                    assert value[1:] in [each[1:] for each in values]


def test_disjoint_edits_of_a_large_directory_read_only_what_changed():
    base = {b"%06d" % i: b"%d" % i for i in range(20_000)}
    ours = base | {b"000100": b"ours", b"100000": b"new"}
    theirs = {path: value for path, value in base.items() if path != b"015000"} | {b"019999x": b"theirs"}
    listings = Listings()
    sides = [listings.pointer(tree) for tree in (base, ours, theirs)]
    own = len(manifest.node_names(sides[1].digest, listings.read))
    listings.reads.clear()
    merged = merge(*sides, listings.read)
    listings.nodes |= dict(merged.nodes)
    assert len(set(listings.reads)) <= own + 6  # the listing of ours, and the few nodes in which base and theirs differ
    expected = {path: value for path, value in (ours | theirs | {b"000100": b"ours"}).items() if path != b"015000"}
    assert merged.pointer.digest == Listings().pointer(expected).digest
    assert merged.taken == 2


# --- pointers


def file(content, *, executable=False, meta=""):
    return Pointer("file", digest_bytes(content), len(content), executable=executable, meta=meta)


def merged(*sides, choice=""):
    return merge(*sides, lambda _: pytest.fail("no listing is needed"), choice=choice)


def test_single_files_are_merged_whole():
    one, two, three = file(b"1"), file(b"2"), file(b"3")
    assert merged(one, one, two).pointer == two
    assert merged(one, two, one).pointer == two
    assert merged(None, two, two).pointer == two
    assert merged(one, two, file(b"1", executable=True)).pointer == file(b"2", executable=True)
    assert merged(one, two, three) == dataclasses.replace(merged(one, two, three), pointer=None)
    assert merged(one, two, three).conflicts == (Conflict(b"", BOTH),)
    assert merged(None, two, three).conflicts == (Conflict(b"", ADDED),)
    assert merged(one, two, three, choice="ours").pointer == two
    assert merged(one, two, three, choice="theirs").pointer == three
    assert merged(one, two, three, choice="union").pointer is None


def test_a_directory_that_became_a_file_is_taken_if_only_one_side_changed_it():
    listings = Listings()
    base, ours = listings.pointer({A: b"1"}), listings.pointer({A: b"2"})
    assert merged(base, base, file(b"f")).pointer == file(b"f")
    found = merged(base, ours, file(b"f"))
    assert (found.pointer, found.conflicts) == (None, (Conflict(b"", CLASH),))
    assert merged(base, ours, file(b"f"), choice="theirs").pointer == file(b"f")


def test_where_it_is_from_is_merged_as_a_whole():
    one, two, three = (ImportSource(url="https://example.com/x", etag=etag, oid="blake3:" + "0" * 64) for etag in "abc")
    sides = [dataclasses.replace(file(b"1"), source=source) for source in (one, two, three)]
    assert merged(sides[0], sides[0], sides[1]).pointer.source == two
    assert merged(sides[0], sides[1], file(b"1")).conflicts == (Conflict(b"", "source"),)
    assert merged(sides[0], sides[1], sides[2]).pointer is None
    assert merged(sides[0], sides[1], sides[2], choice="theirs").pointer.source == three
    assert merged(file(b"1"), file(b"2"), sides[0]).pointer == dataclasses.replace(file(b"2"), source=one)


def test_meta_is_merged_as_a_whole():
    one, two, three = (f"meta:\n  who: {who}\n" for who in ("ann", "bob", "eve"))
    assert merged(file(b"1"), file(b"2"), file(b"1", meta=one)).pointer == file(b"2", meta=one)
    assert merged(file(b"1", meta=one), file(b"2", meta=two), file(b"1", meta=one)).pointer.meta == two
    assert merged(file(b"1", meta=one), file(b"1", meta=one), file(b"2")).pointer == file(b"2")
    sides = (file(b"1", meta=one), file(b"2", meta=two), file(b"1", meta=three))
    assert (merged(*sides).pointer, merged(*sides).conflicts) == (None, (Conflict(b"", "meta"),))
    assert merged(*sides, choice="theirs").pointer == file(b"2", meta=three)
    both = merged(*sides, choice="union").pointer.meta
    assert both == "meta:\n  who: bob\n# theirs:\n# meta:\n#   who: eve\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a.jpg", b"a.theirs.jpg"),
        (b"d.x/README", b"d.x/README.theirs"),
        (b".env", b".env.theirs"),
        (b"x" * 255, b"x" * 248 + b".theirs"),
        (b"x" * 251 + b".jpg", b"x" * 244 + b".theirs.jpg"),
        (b"x." + b"y" * 253, b"x." + b"y" * 246 + b".theirs"),
    ],
)
def test_the_other_name_keeps_the_ending_and_is_legal(name, expected):
    assert named_theirs(name, 1) == expected


# --- hostile listings


def test_sizes_that_add_up_to_too_much_are_refused():
    listings = Listings()
    huge = [Entry(b"%d" % i, FILE, manifest.MAX_SIZE, digest_bytes(b"")) for i in range(2)]
    sides = []
    for row in huge:
        tree = manifest.build(manifest.from_entries([row]))
        listings.nodes |= dict(tree.nodes)
        sides.append(Pointer("directory", tree.root, 1, 1))
    with pytest.raises(DvliteError, match="impossible size"):
        merge(None, *sides, listings.read)


def test_a_listing_with_a_file_below_a_file_is_refused():
    listings = Listings()
    bad = manifest.from_entries([entry(b"a", b"1"), entry(b"a/b", b"2")])
    data = manifest.encode_leaf(bad, 0, 2)
    digest = manifest.digest_manifest(data)
    listings.nodes[digest] = data
    base, ours, theirs = listings.pointer({}), listings.pointer({b"z": b"z"}), Pointer("directory", digest, 2, 2)
    for sides in ((base, ours, theirs), (base, theirs, ours)):
        for choice in ("", "ours", "theirs", "union"):
            try:
                found = merge(*sides, listings.read, choice=choice)
            except DvliteError:
                continue
            listings.nodes |= dict(found.nodes)
            assert found.pointer is None or manifest.load(found.pointer.digest, listings.read)


# --- markers


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (b"a\nb\nc\n", b"a\nx\nc\n", b"a\n<<<<<<< ours\nb\n=======\nx\n>>>>>>> theirs\nc\n"),
        (b"", b"x", b"<<<<<<< ours\n=======\nx\n>>>>>>> theirs\n"),
        (b"a\na\n", b"a\n", b"a\n<<<<<<< ours\na\n=======\n>>>>>>> theirs\n"),
        (b"\xff", b"\0", b"<<<<<<< ours\n\xff\n=======\n\0\n>>>>>>> theirs\n"),
    ],
)
def test_markers_stand_around_what_differs(ours, theirs, expected):
    assert marked(ours, theirs) == expected


LOGS = {
    "delta": b"_delta_log/%020d.json",
    "iceberg": b"metadata/%05d-x.metadata.json",
    "lance": b"_versions/%d.manifest",
}


def written(name, *histories, **files):
    """Returns a table: the commits of some histories, by their letters, each with a data file."""
    tree = {b"t/" + key.encode(): value for key, value in files.items()}
    for number, letter in enumerate("".join(histories)):
        tree |= {b"t/" + LOGS[name] % number: letter.encode(), b"t/%d%s" % (number, letter.encode()): b"data"}
    return tree


@pytest.mark.parametrize("name", LOGS)
def test_two_histories_of_a_table_are_taken_whole_from_one_side(name):
    base, ours, theirs = written(name, "aa"), written(name, "aa", "b"), written(name, "aa", "cc")
    ours[b"mine"] = theirs[b"their"] = b"1"  # outside of the table
    conflict = (Conflict(b"t", "two histories"),)
    assert Listings().merge(base, ours, theirs) == (None, conflict)
    assert Listings().merge(base, ours, theirs, "union") == (None, conflict)
    assert Listings().merge(base, ours, theirs, "ours") == (rows(ours | {b"their": b"1"}), conflict)
    assert Listings().merge(base, ours, theirs, "theirs") == (rows(theirs | {b"mine": b"1"}), conflict)
    assert Listings().merge(base, ours, theirs, "base") == (rows(base | {b"mine": b"1", b"their": b"1"}), conflict)
    assert Listings().merge(None, ours, theirs)[1] == conflict


def test_a_history_that_goes_on_where_the_other_is_merges():
    base, ours, theirs = written("delta", "aa"), written("delta", "aab"), written("delta", "aabcc")
    assert Listings().merge(base, ours, theirs) == (rows(theirs), ())
    assert Listings().merge(base, theirs, ours) == (rows(theirs), ())
    assert Listings().merge(base, written("delta", "aa", notes=b"1"), ours) == (rows(ours | {b"t/notes": b"1"}), ())
