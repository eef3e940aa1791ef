"""Texts and values for the properties of expressions."""

from hypothesis import strategies as st

LETTERS = st.characters(exclude_categories=["Cs"])

_FRAGMENTS = [
    "${",
    "$${",
    "}",
    "{",
    "[",
    "]",
    "*",
    ":",
    "0",
    "-1",
    "|",
    '"',
    "'",
    "\\",
    "@(",
    ")",
    ";base64",
    "é",
    "input",
]
_FRAGMENTS += [
    "input",
    ".x",
    "jobs.a.output",
    "result[]",
    "env.A",
    "${input.a}",
    " as ",
    " | ",
    " ",
    "\n",
    "text",
    "object/a,b",
]

NOISE = st.lists(st.sampled_from(_FRAGMENTS) | st.text(LETTERS, max_size=5), max_size=40).map("".join)
"""Text that is nearly the syntax of expressions."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(LETTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS), inner, max_size=3),
    max_leaves=8,
)
