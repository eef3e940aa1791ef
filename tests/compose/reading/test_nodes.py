"""Places of values, and files merged over one another."""

import pytest

from compose.reading.interpolation import to_data
from compose.reading.nodes import Mapping, Scalar, mark_at, merge
from compose.reading.problems import Mark
from compose.reading.source import read_yaml

pytestmark = pytest.mark.unit

FILE = read_yaml(
    """\
component:
  type: model
  model:
  actions:
    - text: x
      params: {top_k: 1}
workflow: {}
""",
    "f",
)


@pytest.mark.parametrize(
    ("location", "value_place", "key_place"),
    [
        ((), "1:1", "1:1"),
        (("component",), "2:3", "1:1"),
        (("component", "type"), "2:9", "2:3"),
        (("component", "model"), "3:3", "3:3"),
        (("component", "task"), "1:1", "1:1"),
        (("component", "actions", 0), "5:7", "5:7"),
        (("component", "actions", 0, "params", "top_k"), "6:23", "6:16"),
        (("component", "actions", 0, "params", "seed"), "6:7", "6:7"),
        (("component", "actions", 7), "4:3", "4:3"),
        (("component", "ModelSpec", "actions", 0, "text"), "5:13", "5:7"),
        (("workflow", "jobs", 0), "7:1", "7:1"),
    ],
)
def test_a_location_leads_to_its_value_or_its_key(
    location: tuple[int | str, ...], value_place: str, key_place: str
) -> None:
    places = (mark_at(FILE, location), mark_at(FILE, location, key=True))
    assert tuple(map(str, places)) == (f"f:{value_place}", f"f:{key_place}")


def test_a_later_file_wins_and_maps_merge_deep_with_their_marks() -> None:
    base = read_yaml("a: {x: 1, y: {z: 2, w: 3}}\nlist: [1, 2]\nb: 1\nc: {d: 1}\n", "base")
    over = read_yaml("\na: {y: {z: 20}, n: 5}\nlist: [3]\nb: {e: 1}\nc:\nnew: 7\n", "over")
    merged = merge(base, over)
    assert to_data(merged, {}).data == {
        "a": {"x": 1, "y": {"z": 20, "w": 3}, "n": 5},
        "list": [3],
        "b": {"e": 1},
        "c": None,
        "new": 7,
    }
    places = [
        mark_at(merged, location) for location in [("a",), ("a", "y", "z"), ("a", "y", "w"), ("b", "e"), ("new",)]
    ]
    assert list(map(str, places)) == ["base:1:4", "over:2:12", "base:1:24", "over:4:8", "over:6:6"]
    assert to_data(base, {}).data["b"] == 1


@pytest.mark.parametrize(
    ("text", "fragment", "offset", "place"),
    [
        ("a: x ${b} y", "${b}", 0, "1:6"),
        ('a: "x ${b} y"', "${b}", 2, "1:9"),
        ("a: |\n    one\n\n    two ${b}\n", "${b}", 0, "4:9"),
        ("a: >\n  one ${b}\n  two ${c}\n", "${c}", 1, "3:8"),
        ("a: one\n  two ${b}", "${b}", 0, "2:7"),
        ("a: 'it''s'", "it's", 0, "1:4"),
        ("a: x", "", 0, "1:4"),
    ],
)
def test_a_fragment_of_a_text_has_its_own_place(text: str, fragment: str, offset: int, place: str) -> None:
    node = read_yaml(text, "f").entries["a"].value
    assert isinstance(node, Scalar)
    assert str(node.mark_of(fragment, offset)) == f"f:{place}"


def test_keys_of_a_merge_key_keep_their_places() -> None:
    root = read_yaml("base: &b {x: 1}\na:\n  <<: *b\n  y: 2\n", "f")
    inner = root.entries["a"].value
    assert isinstance(inner, Mapping)
    assert [inner.entries[key].key_mark for key in "xy"] == [Mark("f", 1, 11), Mark("f", 4, 3)]
