"""What a run makes of a template: types kept, text joined, the missing told from the empty."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.expression import (
    MISSING,
    ConversionError,
    ExpressionError,
    compile_tree,
    input_key,
    parse,
    render,
    render_or_missing,
)
from tests.services.router.expression.strategies import JSON, LETTERS, NOISE

pytestmark = pytest.mark.unit

SCOPE: dict[str, Any] = {
    "input": {
        "text": "hi",
        "zero": 0,
        "no": False,
        "empty": "",
        "none": None,
        "list": [],
        "number": 1.50,
        "big": 2**70,
        "system-prompt": "dashed",
        "exact_name": "underscored",
        "exact-name": "dashed",
        "people": [{"name": "Ann", "tags": ["x", "y"]}, {"tags": ["z"]}, {"name": "Zoë"}],
        "object": {"é": [True, None, 1.0], "in-side": 1},
    },
    "jobs": {"a": {"output": {"x": [1, 2, 3]}}},
    "output": "out",
    "result": {"text": "all"},
    "item": ["first", "last"],
    "index": 1,
    "env": {"NAME": "${input.text}"},
    "error": {"message": "broken"},
    "context": {"task_id": "01J", "metadata": {"user": 7}},
}


def rendered(tree: Any) -> Any:
    return render(compile_tree(tree), SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.text}", "hi"),
        ("${input.number}", 1.5),
        ("${input.object}", {"é": [True, None, 1.0], "in-side": 1}),
        ("${jobs.a.output.x}", [1, 2, 3]),
        ("${jobs.a.output.x[0]}", 1),
        ("${jobs.a.output.x[-1]}", 3),
        ("${jobs.a.output.x[1:]}", [2, 3]),
        ("${jobs.a.output.x[-2:9]}", [2, 3]),
        ("${jobs.a.output.x[${index}]}", 2),
        ("${jobs.a.output.x[${input.zero}]}", 1),
        ("${input.people[*].name}", ["Ann", None, "Zoë"]),
        ("${input.people[*].tags[*]}", [["x", "y"], ["z"], None]),
        ("${input.people[0:2][*].tags[0]}", ["x", "z"]),
        ("${input.object[${input.none | in-side}]}", 1),
        ("${item[*]}", ["first", "last"]),
        ("${item[${index}]}", "last"),
        ("${output}", "out"),
        ("${result[].text}", "all"),
        ("${index}", 1),
        ("${env.NAME}", "${input.text}"),
        ("${error.message}", "broken"),
        ("${context.task_id}", "01J"),
        ("${context.metadata.user}", 7),
    ],
)
def test_a_whole_expression_keeps_its_type(text: str, value: Any) -> None:
    assert rendered(text) == value
    assert type(rendered(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "${input.absent}",
        "${input.absent.deeper[0]}",
        "${input.text.deeper}",
        "${input.text[0]}",
        "${input.people.name}",
        "${input.people[3]}",
        "${input.people[-4]}",
        "${input.people[${input.text}]}",
        "${input.people[${input.no}]}",
        "${input.people[${input.absent}]}",
        "${input.text[*]}",
        "${input.object[*]}",
        "${input.object[0]}",
        "${input.text[0:1]}",
        "${jobs.b.output}",
        "${context.run_id}",
        "${input.absent as integer}",
        "${input.absent | ${input.none} }",
    ],
)
def test_what_is_not_there_is_missing_and_never_an_error(text: str) -> None:
    assert render_or_missing(parse(text), SCOPE) in (MISSING, None)
    assert rendered([text, {"a": text}]) == [None, {"a": None}]
    assert rendered(f"<{text}>") == "<>"


def test_missing_is_told_from_null_at_the_top() -> None:
    assert render_or_missing(parse("${input.absent}"), SCOPE) is MISSING
    assert render_or_missing(parse("${input.none}"), SCOPE) is None
    assert (bool(MISSING), repr(MISSING)) == (False, "MISSING")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${input.absent | d}", "d"),
        ("${input.none | d}", "d"),
        ("${input.zero | d}", 0),
        ("${input.no | d}", False),
        ("${input.empty | d}", ""),
        ("${input.list | d}", []),
        ("${input.absent | 0.7}", "0.7"),
        ("${input.absent as number | 0.7}", 0.7),
        ("${input.absent as boolean | true}", True),
        ("${input.absent as json | [1, {}]}", [1, {}]),
        ("${input.absent | ${input.number}}", 1.5),
        ('${input.absent | "${input.list}"}', []),
        ("${input.absent | ${input.none | ${index}}}", 1),
        ("${input.absent as text | ${input.number}}", "1.5"),
        ('${input.absent | "About ${input.text}: ${input.absent | ${index}}"}', "About hi: 1"),
        ("${input.absent | ${input.none}}", None),
    ],
)
def test_a_default_stands_in_for_missing_and_null_only(text: str, value: Any) -> None:
    assert rendered(text) == value
    assert type(rendered(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a ${input.text} b", "a hi b"),
        ("${input.no}/${input.zero}/${input.number}/${input.none}", "false/0/1.5/"),
        ("=${input.big}", "=1180591620717411303424"),
        ("=${input.object}", '={"é": [true, null, 1.0], "in-side": 1}'),
        ("=${input.people[*].name}", '=["Ann", null, "Zoë"]'),
        ("${input.text}\n", "hi\n"),
        ("$${input.text}${input.text}", "${input.text}hi"),
        ("### Instruction:\n${input.text}\n\n### Response:\n", "### Instruction:\nhi\n\n### Response:\n"),
    ],
)
def test_inside_text_values_become_text(text: str, value: str) -> None:
    assert rendered(text) == value


def test_dashes_and_underscores_are_alike_in_the_first_name_of_an_input() -> None:
    assert rendered("${input.system_prompt}") == "dashed"
    assert rendered("${input.exact_name} ${input.exact-name}") == "underscored dashed"
    assert rendered("${input.object.in_side}") is None
    assert input_key({"a-b_c": 1}, "a_b-c") == "a-b_c"
    assert input_key({"ab": 1}, "a-b") is None


def test_a_tree_is_rendered_into_the_same_shape() -> None:
    tree = {"messages": [{"role": "user", "content": "${input.text}!"}], "n": 3, "t": "${input.t as number | 0.7}"}
    assert rendered(tree) == {"messages": [{"role": "user", "content": "hi!"}], "n": 3, "t": 0.7}


def test_a_failed_conversion_names_the_expression_and_the_value() -> None:
    with pytest.raises(ConversionError) as caught:
        rendered({"n": "${input.text as integer | 5}"})
    assert caught.value.message == "${input.text as integer | 5}: 'hi' is not a whole number"


def test_a_value_without_text_inside_text_is_a_conversion_error() -> None:
    with pytest.raises(ConversionError) as caught:
        render(parse("a ${input.a}"), {"input": {"a": b"\xff"}})
    assert caught.value.message == "${input.a}: these bytes are not text"


@given(st.text(LETTERS) | NOISE, st.text(LETTERS, max_size=5).map(lambda text: text.replace("$", "")))
def test_any_text_in_an_input_survives_unchanged(value: str, around: str) -> None:
    scope = {"input": {"v": value, "w": value}}
    assert render(parse("${input.v}"), scope) == value
    assert render(parse("${input.v as text | x}"), scope) == value
    assert render(parse("${input.absent | ${input.v}}"), scope) == value
    assert render(parse(f"{around}${{input.v}}{around}${{input.w}}"), scope) == f"{around}{value}{around}{value}"


@given(JSON)
def test_any_value_survives_and_reads_as_json_inside_text(value: Any) -> None:
    assert render(parse("${input.v}"), {"input": {"v": value}}) == value
    if isinstance(value, dict | list):
        assert json.loads(render(parse(" ${input.v}"), {"input": {"v": value}})) == value


TYPES = ["text", "markdown", "number", "integer", "boolean", "json", "object", "list", "object/a,b.c", "object[]/a"]
TYPES += ["integer[]", "base64", "image/png;base64", "select/a,b", "stream/json", "text;sse-text", "unknown", "json[]"]
PATHS = ["", ".a", ".a.b", "[0]", "[*]", "[*].a", "[1:]", "[${index}]", "[${input.a}]", ".a[${input[0]}][-1]"]


@given(
    st.sampled_from([f"${{input{path} as {type_}}}" for path in PATHS for type_ in TYPES]),
    JSON | st.floats() | st.text() | st.integers(min_value=10**400, max_value=10**500),
    st.integers() | JSON,
)
def test_any_json_renders_or_is_a_conversion_error(text: str, value: Any, index: Any) -> None:
    template = parse(text)
    for tree in (template, parse(f"{text} {text}")):
        for given_value in (value, {"a": value}, [value], {"a": {"b": value}}):
            with suppress(ConversionError):
                render(tree, {"input": given_value, "index": index})


@given(NOISE, JSON)
def test_whatever_parses_renders(text: str, value: Any) -> None:
    with suppress(ExpressionError):
        template = parse(text)
        with suppress(ConversionError):
            render(template, {"input": {"x": value, "a": value}, "result": value, "env": {"A": "${input.x}"}})
