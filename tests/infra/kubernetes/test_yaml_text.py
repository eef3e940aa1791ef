import pytest
import yaml

from infra.kubernetes.yaml_text import yaml_text

pytestmark = pytest.mark.unit

WORDS = (
    "on Yes y no 1e3 0o17 0x1f 1_000 12:30:00 ~ null .5 - = << 2001-01-01 !tag $(POD_IP) * &a @x `x` % 0 007 +1 a: a#"
)
TEXTS = [*WORDS.split(), "", " a", "a: b", "a #b", "two\n \u0085lines", "tab\t", "\u0085", "한국어"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    written = yaml_text({"data": {"value": text}})
    assert yaml.safe_load(written) == {"data": {"value": text}}
    assert '"' in written


@pytest.mark.parametrize("text", ["router", "app.kubernetes.io/name", "/readyz", "../prod", "16Gi", "500m", "TCP"])
def test_ordinary_words_are_plain(text: str) -> None:
    assert yaml_text({"value": text}) == f"value: {text}\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("two\n  lines", "|-\n  two\n    lines\n"),
        (" two\nlines\n", "|2\n   two\n  lines\n"),
        ('up{job="a"} == 1', "'up{job=\"a\"} == 1'\n"),
        ("it's", '"it\'s"\n'),
        (f'{"long " * 500}"', None),
    ],
)
def test_texts_that_people_read_stay_readable(text: str, written: str | None) -> None:
    document = yaml_text({"value": text})
    assert yaml.safe_load(document) == {"value": text}
    assert len(document.splitlines()) == 1 if written is None else document == f"value: {written}"


def test_keys_are_sorted_and_lists_are_indented() -> None:
    document = {"spec": ["one", {"name": 1, "kind": True}], "data": {}}
    assert yaml_text(document) == "data: {}\nspec:\n  - one\n  - kind: true\n    name: 1\n"


def test_an_object_that_stands_twice_is_written_twice() -> None:
    shared = {"app": "shop"}
    assert yaml_text({"one": shared, "two": shared}) == "one:\n  app: shop\ntwo:\n  app: shop\n"
