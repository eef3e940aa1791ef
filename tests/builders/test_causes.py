"""Every layer says in a few words why it was made or was there."""

from pathlib import Path

import pytest

from builders.causes import History, Recipe, cause

pytestmark = pytest.mark.unit

RECIPE = Recipe("our code", {"our code": "1", "Python": "3.11"})


@pytest.mark.parametrize(
    ("last", "reused", "said"),
    [
        ({}, False, "not built before"),
        ({}, True, "another image has it"),
        ({"our code": {"our code": "1", "Python": "3.11"}}, True, "nothing in it has changed"),
        ({"our code": {"our code": "1", "Python": "3.11"}}, False, "it was no longer in the store"),
        ({"our code": {"our code": "0", "Python": "3.11"}}, False, "our code changed"),
        ({"our code": {"our code": "0", "Python": "3.12"}}, False, "our code and Python changed"),
        ({"our code": {"our code": "0", "Python": "3.12", "more": "1"}}, False, "our code, Python and more changed"),
        ({"our code": {"our code": "0", "Python": "3.11"}}, True, "an earlier build has it"),
        ({"settings": {"settings": "1"}}, False, "not built before"),
    ],
)
def test_a_cause_compares_with_the_last_build(last: dict[str, dict[str, str]], reused: bool, said: str) -> None:
    assert cause(RECIPE, last, reused=reused) == said


def test_the_key_is_that_of_the_content_whatever_it_is_for() -> None:
    assert RECIPE.key == Recipe("another purpose", {"Python": "3.11", "our code": "1"}).key
    assert RECIPE.key != Recipe("our code", {"our code": "1", "Python": "3.12"}).key


def test_a_history_keeps_the_last_build_of_each_image(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    assert history.last("a:latest") == {}
    history.keep("a:latest", [RECIPE])
    assert history.last("a:latest") == {"our code": {"our code": "1", "Python": "3.11"}}
    assert history.last("b:latest") == {}


def test_a_damaged_history_costs_only_sentences(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.keep("a", [RECIPE])
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert history.last("a") == {}
