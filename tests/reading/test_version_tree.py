"""Names of a version: links, also in a circle, and paths with more than one version."""

import os
from dataclasses import replace

import pytest

from dvlite.errors import UsageError
from dvlite.reading.source import Stores, open_source
from dvlite.reading.version_tree import VersionTree


@pytest.fixture
def tree_of(published):
    def build(**changes):
        source = replace(open_source(None, None, None, os.environ), **changes)
        return VersionTree(source, Stores(source, os.environ))

    return build


def test_links_are_followed_on_the_way_and_a_circle_of_them_leads_to_nothing(published, tree_of):
    folder = published.path / "data"
    for name, target in (("a", "b"), ("b", "a"), ("deep/up", "../sub")):
        (folder / name).symlink_to(target)
    published.clone.dv("add", "data")
    tree = tree_of()
    assert [tree.find(path) for path in ("data/a", "data/a/x", "data/deep/up/x", "data/nowhere")] == [None] * 4
    through = tree.find("data/deep/up/03.txt")
    assert (through.path, through.real) == ("data/deep/up/03.txt", "data/sub/03.txt")
    kinds = {node.path: node.kind for node in tree.children(tree.find("data"))}
    assert (kinds["data/a"], kinds["data/nowhere"], kinds["data/sub"]) == ("link", "link", "directory")
    below = [node.path for node in tree.below(tree.find("data/deep/up"))]
    assert sorted(below) == [f"data/deep/up/{i:02d}.txt" for i in range(20)]


def test_a_path_with_several_versions_is_refused_and_not_one_of_them(tree_of):
    tree = tree_of(several=("old",))
    for path in ("old", "old/x"):
        with pytest.raises(UsageError, match="'old' has several versions"):
            tree.find(path)
