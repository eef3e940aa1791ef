"""What a task is asked is rendered, checked and seeded."""

from typing import Any

import pytest

from services.catalog import MAX_SEED
from services.errors import ServiceError
from services.router.compiling import compile_graph
from services.router.execution.fields import choose_seed, render_fields, with_history
from services.router.settings import RouterSettings
from tests.services.router.rig import chat, text, workflow

pytestmark = pytest.mark.unit


def rendered(fields: dict[str, Any], given: dict[str, Any], task: str = "text") -> dict[str, Any]:
    component = (chat if task == "chat" else text)("c", action={"fields": fields})
    compiled = compile_graph(RouterSettings(components=(component,), workflows=(workflow("c"),))).components["c"]
    return render_fields(compiled, compiled.actions["__action__"], {"input": given, "index": 0})


def test_values_take_the_types_of_the_catalog() -> None:
    fields = {"text": "${input.n}", "temperature": "${input.t}", "top_k": "${input.k}", "do_sample": "${input.s}"}
    assert rendered(fields, {"n": 5, "t": "0.5", "k": 3.0, "s": "False"}) == {
        "text": "5",
        "temperature": 0.5,
        "top_k": 3,
        "do_sample": False,
    }


def test_a_missing_parameter_is_left_out() -> None:
    assert rendered({"text": "x", "temperature": "${input.t}"}, {}) == {"text": "x"}


def test_a_message_without_content_is_left_out() -> None:
    fields = {"messages": [{"role": "system", "content": "${input.s}"}, {"role": "user", "content": "${input.u}"}]}
    assert rendered(fields, {"u": ""}, "chat") == {"messages": [{"role": "user", "content": ""}]}


@pytest.mark.parametrize(
    ("fields", "given", "sentence", "field"),
    [
        ({"text": "${input.t | ${input.u}}"}, {}, '"text" needs a value, and ${input.t | ${input.u}} has none.', "t"),
        ({"text": "${item[0]}"}, {}, '"text" needs a value, and ${item[0]} has none.', "text"),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "${input.user_prompt}"}]},
            {"user_prompt": None},
            '"messages" needs a value, and ${input.user_prompt} has none.',
            "user_prompt",
        ),
    ],
)
def test_a_field_that_needs_a_value_names_what_has_none(
    fields: dict[str, Any], given: dict[str, Any], sentence: str, field: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        rendered(fields, given, "chat" if "messages" in fields else "text")
    assert (refused.value.status, refused.value.code) == (422, "missing_input")
    assert (refused.value.message, refused.value.field) == (sentence, field)


def test_a_list_stays_a_list() -> None:
    assert rendered({"text": "${input.texts}"}, {"texts": ["a", 1]}) == {"text": ["a", "1"]}


@pytest.mark.parametrize(
    ("name", "template", "given", "sentence"),
    [
        ("temperature", "${input.t}", {"t": "warm"}, "\"temperature\" must be a number, not 'warm'."),
        ("top_p", "${input.p}", {"p": 2}, '"top_p" must be at most 1, not 2.'),
        ("text", "${input.t}", {"t": {"a": 1}}, '"text" must be text, not an object.'),
        (
            "text",
            "${input.t as integer}",
            {"t": "x"},
            "\"text\" cannot be made: ${input.t as integer}: 'x' is not a whole number.",
        ),
        (
            "text",
            '${input.t as list @(description "Words, as JSON")}',
            {"t": "x"},
            "\"text\" cannot be made: ${input.t as list}: 'x' is not JSON.",
        ),
        ("messages", "${input.m}", {"m": []}, '"messages" must hold at least one message.'),
        ("messages", "${input.m}", {"m": [{"role": "user"}]}, '"messages" has a user message without content.'),
    ],
)
def test_what_does_not_fit_is_named(name: str, template: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ServiceError) as refused:
        rendered({name: template}, given, "chat" if name == "messages" else "text")
    assert (refused.value.status, refused.value.message, refused.value.field) == (422, sentence, name)


def test_a_long_value_is_not_quoted_whole() -> None:
    with pytest.raises(ServiceError) as refused:
        rendered({"text": "x", "temperature": "${input.t}"}, {"t": "w" * 100_000})
    assert len(refused.value.message) < 400


def test_history_goes_before_the_last_user_message() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "new"}]
    history = ({"role": "user", "content": "old"}, {"role": "assistant", "content": "answer"})
    assert [item["content"] for item in with_history(messages, history)] == ["s", "old", "answer", "new"]


def test_equal_requests_have_equal_seeds_and_each_repeat_its_own() -> None:
    fields = {"text": "x", "temperature": 0.5}
    assert choose_seed(dict(fields), 0) == choose_seed(dict(reversed(fields.items())), 0)
    assert choose_seed(dict(fields), 0) != choose_seed(dict(fields), 1)
    assert 0 <= choose_seed(dict(fields), 0) <= MAX_SEED


def test_a_random_seed_is_drawn_and_an_explicit_one_stays() -> None:
    drawn, explicit = {"text": "x", "seed": "random"}, {"text": "x", "seed": 7}
    assert choose_seed(drawn, 0) != choose_seed({"text": "x", "seed": "random"}, 0)
    assert "seed" not in drawn
    choose_seed(explicit, 0)
    assert explicit["seed"] == 7


def test_a_seed_of_the_run_stands_where_the_action_names_none() -> None:
    assert [choose_seed({"text": "x"}, index, 7) for index in (0, 1)] == [7, 8]
    assert choose_seed({"text": "x"}, 0, MAX_SEED + 1) <= MAX_SEED
    assert choose_seed({"text": "x"}, 0, "random") != choose_seed({"text": "x"}, 0, "random")
    pinned = {"text": "x", "seed": 5}
    choose_seed(pinned, 0, "random")
    assert pinned["seed"] == 5
