"""YAML documents: a config file with some of everything, and all that may be written to a file."""

import re

from hypothesis import strategies as st

PROJECT = "0123456789abcdef" * 2
CONFIG = f"""\
# the team's
project: {PROJECT}
core:
  remote: origin   # ours
remotes:
  origin:
    url: s3://acme-data/birds
    region: eu-west-1
  backup:
    url: ../store
cache:
  pack_below: 64KiB
transfer:
  retry_seconds: 5
"""

PLAIN_KEYS = st.from_regex(re.compile(r"[a-z][a-z_-]{0,6}"), fullmatch=True)
SCALARS = st.one_of(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"], exclude_characters="\u2028\u2029\ufeff"), max_size=12
    ),
    st.sampled_from(
        [
            "NO",
            "null",
            "~",
            "1:30",
            "0o17",
            "1e3",
            "-",
            "#",
            "a: b",
            "true",
            "12",
            "1_000",
            "=",
            "<<",
            "a,b",
            "2024-01-01",
        ]
    ),
    st.integers(-(10**17), 10**17),
    st.booleans(),
    st.floats(-1e9, 1e9, allow_nan=False).map(lambda number: round(number, 3)),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.dictionaries(PLAIN_KEYS, inner, min_size=1, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(PLAIN_KEYS, TREES, max_size=4)
