"""git's objects as bytes. Whether git takes them: tests/git/test_rewrite.py."""

import pytest

from dvlite.errors import FormatError
from dvlite.formats import git_objects

COMMIT = (
    b"tree %(tree)s\nparent %(one)s\nparent %(two)s\n"
    b"author A U Thor <a@example.com> 1700000000 +0530\ncommitter C <> 1700000001 -0000\nencoding ISO-8859-1\n"
    b"mergetag object %(one)s\n type commit\n tag v1\n \n -----BEGIN PGP SIGNATURE-----\n"
    b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n wsBcBAABCAAQBQJk\n -----END PGP SIGNATURE-----\n"
    b"x-other kept\n and its second line\n\nSubject\n\ngpgsig is a word of the message\n"
)


def test_a_commit_keeps_all_but_its_links_and_signatures():
    one, two, tree = bytes([1]) * 20, bytes([2]) * 20, bytes([3]) * 20
    commit = COMMIT % {key: value.hex().encode() for key, value in ((b"tree", tree), (b"one", one), (b"two", two))}
    assert git_objects.links(commit) == (tree, [one, two])
    assert git_objects.is_signed(commit)
    new = git_objects.relinked(commit, two, [tree])
    assert new == (
        b"tree %b\nparent %b\nauthor A U Thor <a@example.com> 1700000000 +0530\ncommitter C <> 1700000001 -0000\n"
        b"encoding ISO-8859-1\nx-other kept\n and its second line\n\nSubject\n\ngpgsig is a word of the message\n"
        % (two.hex().encode(), tree.hex().encode())
    )
    assert not git_objects.is_signed(new)
    assert git_objects.relinked(new, two, [tree]) == new


def test_a_tag_loses_its_signature():
    tag = b"object %b\ntype commit\ntag v1\ntagger A <> 1 +0000\n\nWords\n" % (b"ab" * 20)
    signed = tag + b"-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n"
    assert git_objects.tagged(signed) == b"\xab" * 20
    assert git_objects.retagged(signed, b"\xab" * 20) == tag


@pytest.mark.parametrize("data", [b"x", b"100644 a\0" + b"x" * 19, b"100644 a\0" + b"x" * 21, b"100644 a" + b"x" * 20])
def test_what_is_no_tree_is_refused(data):
    with pytest.raises(FormatError):
        git_objects.parse_tree(data, 20)
