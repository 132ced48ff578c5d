"""Every kind of finding that the code names is documented, and no other."""

import ast
import re
from pathlib import Path

from dvlite.verify.findings import KINDS

PROJECT = Path(__file__).parent.parent.parent
MADE_OF_TWO = {f"{what}-{how}" for what in ("dep", "param", "env") for how in ("changed", "added", "removed")}
MADE_OF_TWO |= {"cmd-changed", "wdir-changed", "capture-added", "capture-removed", "output-added", "output-removed"}
MADE_OF_TWO |= {"map-changed", "model-tag"}  # by the pipeline; by the command, of problems of the registry


def test_the_page_lists_the_kinds_with_their_meaning():
    text = (PROJECT / "docs/reference/verify.md").read_text(encoding="utf-8").partition("## Kinds")[2]
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", text, flags=re.MULTILINE)) == KINDS


def test_each_kind_is_made_somewhere():
    words = set()
    for path in (PROJECT / "dvlite/verify").glob("*.py"):
        if path.stem != "findings":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            words |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert set(KINDS) <= words | MADE_OF_TWO
