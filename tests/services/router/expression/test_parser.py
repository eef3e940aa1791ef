"""What text becomes: every part of the syntax, and a sentence with a place for what is not syntax."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.expression import (
    EACH,
    Expression,
    ExpressionError,
    Slice,
    Template,
    compile_tree,
    parse,
    render,
)
from tests.services.router.expression.strategies import JSON, LETTERS, NOISE

pytestmark = pytest.mark.unit


def whole(text: str) -> Expression:
    expression = parse(text).whole
    assert expression is not None
    return expression


@pytest.mark.parametrize(
    ("text", "source", "path"),
    [
        ("${input}", "input", ()),
        ("${input.a}", "input", ("a",)),
        ("${input.system-prompt}", "input", ("system-prompt",)),
        ("${ input.이름_2 }", "input", ("이름_2",)),
        ("${input.a.0.b}", "input", ("a", "0", "b")),
        ("${input.a[0][-1].b}", "input", ("a", 0, -1, "b")),
        ("${input.a[1:3]}", "input", ("a", Slice(1, 3))),
        ("${input.a[-2:]}", "input", ("a", Slice(-2, None))),
        ("${input.a[:]}", "input", ("a", Slice(None, None))),
        ("${input.a[*].b[*]}", "input", ("a", EACH, "b", EACH)),
        ("${item[*].text}", "item", (EACH, "text")),
        ("${jobs.a-1.output.x}", "jobs", ("a-1", "output", "x")),
        ("${context.metadata.user}", "context", ("metadata", "user")),
        ("${error.message}", "error", ("message",)),
        ("${env.HF_TOKEN}", "env", ("HF_TOKEN",)),
        ("${index}", "index", ()),
        ("${input.prompts[${index}]}", "input", ("prompts", parse("${index}"))),
        ("${input.a[ ${input.b[${index}].c} ].d}", "input", ("a", parse("${input.b[${index}].c}"), "d")),
    ],
)
def test_source_and_path(text: str, source: str, path: tuple[object, ...]) -> None:
    expression = whole(text)
    assert (expression.source, expression.path, expression.stream) == (source, path, False)
    assert expression.text == text


def test_the_brackets_after_result_mean_its_stream() -> None:
    expression = whole("${result[].text as stream/text}")
    assert (expression.source, expression.stream, expression.path) == ("result", True, ("text",))


def test_all_parts_together() -> None:
    expression = whole('${input.a.b as image/png;base64 | none @(description "A \\"small\\" {picture")}')
    assert expression.type is not None
    assert (expression.type.name, expression.type.parts, expression.type.format) == ("image", ("png",), "base64")
    assert expression.default == Template(("none",))
    assert expression.description == 'A "small" {picture'


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("${input.a @(description 'It''s')}", None),
        ("${input.a @(description 'one')}", "one"),
        ("${input.a @(description one (two)}", "one (two"),
        ('${input.a | b @( description  "a } b" )}', "a } b"),
        ('${input.a | "b" @(description "c")}', "c"),
    ],
)
def test_annotations(text: str, description: str | None) -> None:
    if description is None:
        with pytest.raises(ExpressionError, match="an annotation is written"):
            parse(text)
    else:
        assert whole(text).description == description


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("${input.a | b}", "b"),
        ("${input.a|b}", "b"),
        ("${input.a |  b c  }", "b c"),
        ("${input.a | }", ""),
        ('${input.a | ""}', ""),
        ('${input.a | " b "}', " b "),
        ("${input.a | 'b'}", "b"),
        ("""${input.a | "it's"}""", "it's"),
        ("""${input.a | '"b"'}""", '"b"'),
        ("${input.a | b's}", "b's"),
        ('${input.a | b "c"}', 'b "c"'),
        ('${input.a | "a } b { c"}', "a } b { c"),
        ('${input.a | "say \\"hi\\""}', 'say "hi"'),
        ('${input.a | "C:\\\\temp\\n"}', "C:\\temp\\n"),
        ('${input.a | {"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("${input.a | b | c}", "b | c"),
        ("${input.a | $${b}}", "${b}"),
        ('${input.a | "$${b"}', "${b"),
        ("${input.a | b @(description c)}", "b"),
        ("${input.a | two\nlines}", "two\nlines"),
    ],
)
def test_literal_defaults(text: str, default: str) -> None:
    expression = whole(text)
    assert expression.default is not None
    assert expression.default.literal == default


@pytest.mark.parametrize(
    "text",
    [
        "${input.a | ${input.b | ${input.c}}}",
        '${input.a | "${input.b | "${input.c}"}"}',
        "${input.a | '${input.b | '${input.c}'}'}",
        """${input.a | "${input.b | '${input.c}'}"}""",
        '${input.a | "${input.b | \\"${input.c}\\"}"}',
        "${input.a | ${input.b | '${input.c}' } }",
    ],
)
def test_a_default_that_is_one_expression_is_whole_at_any_depth(text: str) -> None:
    expression: Expression | None = whole(text)
    names: list[object] = []
    while expression:
        names += expression.path
        expression = expression.default.whole if expression.default else None
    assert names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('${input.a | "x ${input.b | "y"} z"}', "x y z"),
        ('${input.a | "x ${input.b | \\"y\\"} z"}', "x y z"),
        ('${input.a | "x ${input.b | \\"}\\"} z"}', "x } z"),
        ('${input.a | "x ${input.b | "say \\"y\\""} z"}', 'x say "y" z'),
        ("""${input.a | "x ${input.b | 'say \\"y\\"'} z"}""", 'x say "y" z'),
        ("""${input.a | "x ${input.b | '}'} z"}""", "x } z"),
        ('${input.a | "x ${input.b @(description "y")} z"}', "x  z"),
        ("${input.a | x ${input.b | '}'} {z} }", "x } {z}"),
        ('${input.a | "{\\"x\\": ${input.b | {}}}"}', '{"x": {}}'),
    ],
)
def test_quotes_inside_a_quoted_default(text: str, missing: str) -> None:
    assert render(parse(text), {"input": {}}) == missing


def test_text_around_expressions_and_escapes() -> None:
    template = parse("$${a} costs $5 ${input.b}, a$${${input.c}}")
    texts = [part if isinstance(part, str) else part.text for part in template.parts]
    assert texts == ["${a} costs $5 ", "${input.b}", ", a${", "${input.c}", "}"]
    assert template.whole is None
    assert template.literal is None


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("${", 2, "a source is missing where the text ends"),
        ("a ${}", 4, "a source is missing here"),
        ("a ${input.x", 2, "this `${` is never closed"),
        ("${input.x | {}", 0, "this `${` is never closed"),
        ("${input.}", 8, "a name after `.` is missing here"),
        ("${inptu.x}", 2, "unknown source `inptu`; did you mean `input`?"),
        (
            "${zzz.x}",
            2,
            "unknown source `zzz`; allowed: input, jobs, output, result, item, index, env, error, context",
        ),
        ('${input.a | "x ${inp.b} z"}', 17, "unknown source `inp`; did you mean `input`?"),
        ('${input.x | "abc}', 12, 'the text that begins with " never ends'),
        ('${input.x | "abc" d}', 18, "`d}` is not expected here; an expression is `${source.path as type | default}`"),
        ("${input.x foo}", 10, "`foo}` is not expected here; an expression is `${source.path as type | default}`"),
        ("${output[]}", 8, "an index is a number, a range such as `1:3`, `*` or one expression"),
        ("${input[${index}}", 7, "this `[` is never closed"),
        ("${jobs.a.b}", 0, "`jobs` needs a job and its output: `${jobs.<id>.output}`"),
        ("${error}", 0, "`error` has a message and a code: `${error.message}`, `${error.code}`"),
        ("${env}", 0, "`env` needs the name of one variable: `${env.NAME}`"),
        ("${context}", 0, "`context` needs a name: task_id, run_id, session_id, metadata"),
        ("${context.taskid}", 0, "unknown name of `context` `taskid`; did you mean `task_id`?"),
        ("${output as }", 12, "a type is missing after `as`, such as `text` or `integer`"),
        ("${output as | x}", 12, "a type is missing after `as`, such as `text` or `integer`"),
        (
            "${input.x as text foo}",
            13,
            "`text foo` is not a type; types look like `text`, `object/a,b` or `image/png;base64`",
        ),
        ("${input.x as select/a,,b}", 13, "the type `select/a,,b` has an empty place after its `/`"),
        ("${input.x as object/a.id,b.id}", 13, "the type `object/a.id,b.id` gives two values the same key"),
        (
            "${input.x as select/${input.y}}",
            21,
            "`{input.y}}` is not expected here; an expression is `${source.path as type | default}`",
        ),
        (
            "${input.x as integer | ten}",
            0,
            "the default of ${input.x as integer | ten} cannot be used: 'ten' is not a whole number",
        ),
        ('${input.x @(descripton "a")}', 10, "unknown annotation `descripton`; did you mean `description`?"),
        ("${input.a|" * 200, 1000, "expressions are nested more than 100 deep"),
        ('${input.a|"' * 500, 1110, "expressions are nested more than 100 deep"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, position: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.position, caught.value.message) == (position, message)


def test_a_tree_keeps_its_shape_and_everything_that_is_no_expression() -> None:
    tree = compile_tree({"a": ["${input.x}", 1, True, None, 0.5], "b": {"c": "$${x}", "${d}": "plain {}"}})
    assert tree == {"a": [parse("${input.x}"), 1, True, None, 0.5], "b": {"c": "${x}", "${d}": "plain {}"}}


@given(NOISE)
def test_any_text_parses_or_is_refused_with_a_place_inside_it(text: str) -> None:
    try:
        template = parse(text)
    except ExpressionError as problem:
        error = problem
    else:
        assert all(template.parts)
        assert (template.literal is None) == any(isinstance(part, Expression) for part in template.parts)
        return
    assert 0 <= error.position <= len(text)
    assert error.message


@given(st.text(LETTERS))
def test_text_with_its_openings_escaped_is_itself(text: str) -> None:
    assert compile_tree(text.replace("$", "").replace("{", "$${")) == text.replace("$", "").replace("{", "${")


@given(st.text(LETTERS), st.sampled_from("\"'"))
def test_any_text_without_a_dollar_can_stand_in_a_quoted_default(text: str, quote: str) -> None:
    text = text.replace("$", "")
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    assert render(parse(f"${{input.a | {quote}{escaped}{quote}}}"), {}) == text


@given(st.lists(JSON, min_size=1, max_size=4))
def test_json_text_with_several_expressions_becomes_that_json(values: list[object]) -> None:
    text = json.dumps({f"k{index}": {"v": f"@{index}@"} for index in range(len(values))})
    for index in range(len(values)):
        text = text.replace(f'"@{index}@"', f'${{input.v{index} as json | {{"d": "${{index}}"}}}}')
    rendered = render(parse(text), {"input": {f"v{i}": [value] for i, value in enumerate(values)}})
    assert json.loads(rendered) == {f"k{i}": {"v": [value]} for i, value in enumerate(values)}


@given(st.integers(1, 5), st.lists(st.sampled_from(["", '"', "'"]), min_size=5, max_size=5), st.integers(0, 5), JSON)
def test_nested_defaults_fall_through_to_the_first_value(
    depth: int, quotes: list[str], present: int, value: object
) -> None:
    text = "${input.v5}"
    for level in range(depth - 1, -1, -1):
        text = f"${{input.v{level} | {quotes[level]}{text}{quotes[level]}}}"
    reached = present < depth or present == 5
    expected = value if reached and value is not None else None
    assert render(parse(text), {"input": {f"v{present}": value}}) == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_nested_indexes(hops: list[int]) -> None:
    text = "${index}"
    for level in range(len(hops)):
        text = f"${{input.t{level}[{text}]}}"
    tables = {f"t{level}": [(item + hop) % 5 for item in range(5)] for level, hop in enumerate(hops)}
    assert render(parse(text), {"input": tables, "index": 0}) == sum(hops) % 5
