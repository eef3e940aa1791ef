"""Which jobs can run, how often, and which exclude each other."""

from collections.abc import Mapping

import pytest

from services.router.analysis.reachability import Node, choices, cycle, in_order, unstartable, visited_again

pytestmark = pytest.mark.unit

DRAFTS = {
    "begin": Node([], []),
    "draft": Node([], ["begin", "judge"]),
    "judge": Node([["draft"]], []),
    "after": Node([["judge"]], []),
}
"""A loop by routing: `judge` sends `draft` on another visit."""

BRANCHES = {
    "choose": Node([], []),
    "a": Node([], ["choose"]),
    "b": Node([], ["choose"]),
    "after a": Node([["a"]], []),
    "merge": Node([["a", "b"]], []),
    "beside": Node([["a"], ["other"]], []),
    "other": Node([], []),
}


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (BRANCHES, []),
        (DRAFTS, []),
        ({"a": Node([], ["a"])}, ["a"]),
        ({"a": Node([], ["b"]), "b": Node([["a"]], []), "c": Node([["a"]], [])}, ["a"]),
        ({"a": Node([], ["b"]), "b": Node([], ["a"]), "c": Node([], ["b"])}, ["a", "b"]),
        ({"a": Node([], ["b"]), "b": Node([["a", "c"]], []), "c": Node([], [])}, []),
        ({"a": Node([["nobody"]], ["nobody"])}, []),
    ],
)
def test_a_job_that_only_its_followers_route_to_can_never_start(jobs: Mapping[str, Node], expected: list[str]) -> None:
    assert unstartable(jobs) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, []),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, []),
        ({"a": ["a"]}, ["a", "a"]),
        ({"x": ["b"], "a": ["c"], "b": ["a"], "c": ["b"]}, ["a", "b", "c", "a"]),
    ],
)
def test_a_circle_is_told_from_its_first_member(before: Mapping[str, list[str]], expected: list[str]) -> None:
    assert cycle(before) == expected


def test_a_job_with_two_ways_in_and_its_followers_may_run_again() -> None:
    assert visited_again(DRAFTS) == {"draft", "judge", "after"}
    assert visited_again(BRANCHES) == set()


def test_a_branch_is_what_a_job_cannot_run_without() -> None:
    a, b, none = frozenset({("choose", "a")}), frozenset({("choose", "b")}), frozenset[tuple[str, str]]()
    assert choices(BRANCHES) == {
        "choose": none,
        "a": a,
        "b": b,
        "after a": a,
        "merge": none,
        "beside": none,
        "other": none,
    }
    assert choices({"r": Node([["x", "y"]], []), "x": Node([], ["r"]), "y": Node([], [])})["x"] == {("r", "x")}


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (DRAFTS, ["begin", "draft", "judge", "after"]),
        (dict(reversed(DRAFTS.items())), ["begin", "draft", "judge", "after"]),
        (BRANCHES, ["choose", "a", "b", "after a", "merge", "other", "beside"]),
        ({"r": Node([["x", "y"]], []), "x": Node([], ["r"]), "y": Node([], [])}, ["y", "r", "x"]),
        ({"a": Node([], ["b"]), "b": Node([["a"]], []), "c": Node([], [])}, ["c"]),
    ],
)
def test_jobs_come_after_what_starts_them_and_else_in_their_own_order(
    jobs: Mapping[str, Node], expected: list[str]
) -> None:
    assert in_order(jobs) == expected


def test_thousands_of_jobs_in_a_row_are_no_trouble() -> None:
    size = 5_000
    row = {str(n): Node([[str(n - 1)]] if n else [], []) for n in reversed(range(size))}
    routed = {str(n): Node([], [str(n - 1)] if n else []) for n in range(size)}
    assert in_order(row) == [str(n) for n in range(size)]
    assert unstartable(routed | {"0": Node([], [str(size - 1)])}) == list(routed)
    assert visited_again(routed | {"1": Node([], ["0", "x"])}) == {str(n) for n in range(1, size)}
    assert cycle({name: [need for group in node.needs for need in group] for name, node in row.items()}) == []
