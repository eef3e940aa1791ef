"""Whatever an OpenAI client sends becomes an order that the task understands, or a 400 that names what is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog import TASKS
from services.errors import ServiceError
from services.router.doors.openai_requests import CHAT, COMPLETIONS, Dialect, parse_order

pytestmark = pytest.mark.unit

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS | st.sampled_from(["user", "system", "developer", "assistant", "text", "auto", "none"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "name", "include_usage"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS], ids=lambda dialect: dialect.task)
@given(data=st.data())
def test_any_body_is_understood_or_refused_by_name(dialect: Dialect, data: st.DataObject) -> None:
    body = data.draw(st.dictionaries(st.sampled_from(dialect.keys) | st.text(max_size=5), VALUES, max_size=4) | VALUES)
    if isinstance(body, dict) and data.draw(st.booleans()):
        body = {"model": "m", dialect.content: GOOD[dialect.content], **body}
    try:
        order = parse_order(body, dialect)
    except ServiceError as error:
        known = (*dialect.keys, *body) if isinstance(body, dict) else dialect.keys
        named = error.status == 400 and (error.field is None or error.field.startswith(known))
        assert named, error.message  # noqa: PT017 - a refusal is one of two good ends
        return
    task = TASKS[dialect.task]
    for name, value in order.fields.items():
        field = task.field(name)
        assert field is not None
        assert field.coerce(value) == value
    assert order.n >= 1


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("hi", "hi"),
        ("", ""),
        ([{"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
    ],
)
def test_text_parts_become_lines_of_one_text(sent: Any, text: str) -> None:
    order = parse_order({"model": "m", "messages": [{"role": "user", "content": sent}]}, CHAT)
    assert order.fields["messages"] == [{"role": "user", "content": text}]


def test_what_the_client_does_not_set_is_left_to_the_file() -> None:
    order = parse_order({"model": "m", "prompt": ["a", "b"], "n": 3, "max_tokens": None}, COMPLETIONS)
    assert order.fields == {"prompt": ["a", "b"], "num_return_sequences": 3, "return_full_text": False}
    assert (order.prompts, order.n, order.names) == (2, 3, {"num_return_sequences": "n"})
