"""The inputs of a workflow are inferred from what its expressions read."""

import time
from typing import Any

import pytest

from services.errors import ServiceError
from services.router.analysis.inputs import Inputs
from services.router.compiling import compile_graph
from services.router.settings import JobSettings, RouterSettings, WorkflowComponentSettings
from tests.services.router.rig import chat, job, text, workflow

pytestmark = pytest.mark.unit


def inputs_of(fields: dict[str, Any], task: str = "text", *jobs: JobSettings, **changes: Any) -> Inputs:
    component = (chat if task == "chat" else text)("c", action={"fields": fields})
    settings = RouterSettings(components=(component,), workflows=(workflow("w", *jobs or [job("j", "c")], **changes),))
    return compile_graph(settings).workflows["w"].inputs


def brief(inputs: Inputs) -> list[Any]:
    """name, type, required, default of each."""
    return [(item.name, item.type, item.required, item.default) for item in inputs.declared]


def messages(*contents: str) -> dict[str, Any]:
    roles = ["system", "user", "assistant", "user"]
    return {"messages": [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": "${input.prompt}"}, [("prompt", "text", True, None)]),
        ({"text": "Say ${input.prompt}!"}, [("prompt", "text", True, None)]),
        ({"text": "${input.prompt | hello}"}, [("prompt", "text", False, "hello")]),
        ({"text": "${input.a} ${input.b}"}, [("a", "text", False, None), ("b", "text", False, None)]),
        (
            {"text": '${input.template | "Generate text about: ${input.topic}"}'},
            [("template", "text", False, None), ("topic", "text", False, None)],
        ),
        ({"text": "${input.p as markdown}"}, [("p", "markdown", True, None)]),
        ({"text": "${input.style as select/short,long | short}"}, [("style", "select", False, "short")]),
        (
            {
                "text": "x",
                "temperature": "${input.t as number | 0.7}",
                "top_k": "${input.k}",
                "do_sample": "${input.s}",
            },
            [("t", "number", False, 0.7), ("k", "integer", False, None), ("s", "boolean", False, None)],
        ),
        ({"text": "x", "max_output_length": "${input.n | 20}"}, [("n", "integer", False, 20)]),
        ({"text": "${input.list[0]}"}, [("list", "json", True, None)]),
        ({"text": "${input.who.name} and ${input.who}"}, [("who", "json", False, None)]),
        ({"text": "${input.texts[${input.i}]}"}, [("texts", "json", True, None), ("i", "integer", False, None)]),
        ({"text": "${input.system-prompt} ${input.system_prompt as text}"}, [("system_prompt", "text", False, None)]),
    ],
)
def test_types_defaults_and_need_are_inferred(fields: dict[str, Any], expected: Any) -> None:
    found = brief(inputs_of(fields))
    assert [(name.replace("-", "_"), *rest) for name, *rest in found] == expected


def test_of_a_conversation_only_the_last_user_message_is_required() -> None:
    fields = messages("${input.system}", "${input.first}", "${input.answer}", "${input.last}")
    assert [(name, required) for name, _, required, _ in brief(inputs_of(fields, "chat"))] == [
        ("system", False),
        ("first", False),
        ("answer", False),
        ("last", True),
    ]


def test_messages_from_a_client_are_json_and_required() -> None:
    assert brief(inputs_of({"messages": "${input.messages}"}, "chat")) == [("messages", "json", True, None)]


def test_annotations_describe_and_selections_have_options() -> None:
    fields = {"text": '${input.style as select/short,long | short @(description "How long")}'}
    assert inputs_of(fields).declared[0].to_json() == {
        "name": "style",
        "type": "select",
        "required": False,
        "default": "short",
        "description": "How long",
        "options": ["short", "long"],
    }


def test_inputs_are_followed_through_a_jobs_input() -> None:
    jobs = job("j", "c", input={"prompt": "${input.prompts[${index}]}"}, repeat_count="${input.batch_size}")
    assert brief(inputs_of({"text": "${input.prompt as text}"}, "text", jobs)) == [
        ("prompts", "json", True, None),
        ("batch_size", "integer", True, None),
    ]


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        (
            {"prompt": "${input.question}", "t": "${input.warmth}"},
            [("question", "text", True, None), ("warmth", "number", False, 0.5)],
        ),
        ({"prompt": "Q: ${input.question}"}, [("question", "text", True, None)]),
        ({"prompt": "fixed"}, []),
        ({"prompt": "${input.question | why}"}, [("question", "text", False, "why")]),
        ("${input}", [("prompt", "text", True, None), ("t", "number", False, 0.5)]),
    ],
)
def test_a_jobs_input_renames_and_fills(mapped: Any, expected: Any) -> None:
    fields = {"text": "${input.prompt}", "temperature": "${input.t as number | 0.5}"}
    assert brief(inputs_of(fields, "text", job("j", "c", input=mapped))) == expected


def test_an_output_reads_inputs_too() -> None:
    inputs = inputs_of({"text": "${input.p}"}, output={"asked": "${input.p}", "tag": "${input.tag}"})
    assert brief(inputs) == [("p", "text", True, None), ("tag", "text", False, None)]


def test_missing_inputs_are_named_and_near_misses_shown() -> None:
    inputs = inputs_of({"text": "${input.prompt}"})
    with pytest.raises(ServiceError) as refused:
        inputs.check({"promt": "x"})
    error = refused.value
    assert (error.status, error.code, error.message, error.hint, error.field) == (
        422,
        "missing_input",
        'Input "prompt" is required; did you mean "prompt" by "promt"?',
        'Send {"input": {"prompt": "..."}}.',
        "prompt",
    )


def test_the_example_of_a_missing_input_is_of_its_type() -> None:
    fields = {"query": "${input.query}", "documents": "${input.documents}", "top_k": "${input.most}"}
    component = chat("c", task="text-reranking", action={"fields": fields})
    graph = compile_graph(RouterSettings(components=(component,), workflows=(workflow("w", job("j", "c")),)))
    with pytest.raises(ServiceError) as refused:
        graph.workflows["w"].inputs.check({})
    assert refused.value.hint == 'Send {"input": {"query": "...", "documents": ["..."]}}.'


def test_null_is_as_good_as_missing() -> None:
    with pytest.raises(ServiceError, match='"prompt" is required'):
        inputs_of({"text": "${input.prompt}"}).check({"prompt": None})


def test_hyphen_and_underscore_are_one_name() -> None:
    assert inputs_of({"text": "${input.user_prompt}"}).check({"user-prompt": "x"}) == []


def test_unread_inputs_are_told() -> None:
    assert inputs_of({"text": "${input.prompt} ${input.tone}"}).check({"prompt": "x", "tune": 1, "zzz": 2}) == [
        {"code": "unused_input", "message": 'Nothing reads the input "tune". Did you mean "tone"?', "field": "tune"},
        {"code": "unused_input", "message": 'Nothing reads the input "zzz".', "field": "zzz"},
    ]


def test_of_thousands_of_unread_inputs_a_few_are_told_at_once() -> None:
    inputs = inputs_of({"text": "${input.prompt}"})
    given = {f"promp{number}": 1 for number in range(9_999)}
    began = time.monotonic()
    warnings = inputs.check({"prompt": "x", **given})
    with pytest.raises(ServiceError, match='did you mean "prompt" by "promp'):
        inputs.check(given)
    for long in ("prompt" * 500_000, "p" * 3_000_000):
        assert inputs.check({"prompt": "x", long: 1})[0]["field"] == long[:80]
    assert time.monotonic() - began < 0.5
    assert [item["message"] for item in warnings[-2:]] == [
        'Nothing reads the input "promp19". Did you mean "prompt"?',
        "Nothing reads 9979 more inputs.",
    ]


def test_nothing_is_unread_when_all_inputs_are_read_at_once() -> None:
    assert inputs_of({"text": "${input.p}"}, output={"all": "${input}"}).check({"p": "x", "more": 1}) == []


FIELDS = {"text": "${input.prompt}", "temperature": "${input.t as number | 0.5}"}
PROMPT, T = ("prompt", "text", True, None), ("t", "number", False, 0.5)
DO = {"component": "c", "action": "__action__"}


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"type": "component", **DO, "repeat_count": "${input.n | 2}"}, [PROMPT, T, ("n", "integer", False, 2)]),
        ({"type": "component", **DO, "input": "${input.ask}"}, [("ask", "json", True, None)]),
        (
            {"type": "component", **DO, "on_error": {"output": "${input.instead | sorry}"}},
            [PROMPT, T, ("instead", "text", False, "sorry")],
        ),
        ({"type": "delay", "duration": "${input.wait}"}, [("wait", "text", True, None)]),
        (
            {"type": "delay", "mode": "specific-time", "time": "${input.at}", "timezone": "${input.zone}"},
            [("at", "text", True, None), ("zone", "text", False, None)],
        ),
        (
            {
                "type": "if",
                "input": "${input.age as integer}",
                "conditions": [{"operator": "gt", "value": "${input.limit | 3}"}, {"input": "${input.who.name}"}],
            },
            [("age", "integer", False, None), ("limit", "text", False, "3"), ("who", "json", False, None)],
        ),
        (
            {"type": "switch", "input": "${input.kind}", "cases": [{"value": "${input.other}", "then": "end"}]},
            [("kind", "text", False, None), ("other", "text", False, None)],
        ),
        (
            {"type": "random-router", "routings": [{"to": "end"}], "session": "${input.user}"},
            [("user", "text", False, None)],
        ),
        (
            {
                "type": "filter",
                "input": "${input.items}",
                "where": {"any": [{"input": "${item.n}", "operator": "gt", "value": "${input.least as number | 1}"}]},
            },
            [("items", "list", True, None), ("least", "number", False, 1.0)],
        ),
        ({"type": "for-each", "input": "${input.items}", "do": DO}, [("items", "list", True, None)]),
        ({"type": "for-each", "input": "${input.items as json}", "do": DO}, [("items", "json", True, None)]),
        ({"type": "for-each", "input": "${input.all.items}", "do": DO}, [("all", "json", True, None)]),
        (
            {"type": "for-each", "input": "${input.a | ${input.b}}", "do": DO},
            [("a", "list", False, None), ("b", "list", False, None)],
        ),
        (
            {
                "type": "for-each",
                "input": "${input.items}",
                "batch_size": "${input.size | 4}",
                "do": {
                    **DO,
                    "input": {"prompt": "${item}", "t": "${input.warmth}"},
                    "output": "${input.label}${output}",
                },
            },
            [
                ("items", "list", True, None),
                ("size", "integer", False, 4),
                ("warmth", "number", False, 0.5),
                ("label", "text", False, None),
            ],
        ),
        ({"type": "loop", "do": DO, "until": {"value": "${input.stop}"}}, [PROMPT, T, ("stop", "text", False, None)]),
        (
            {
                "type": "loop",
                "input": {"draft": "${input.first}"},
                "do": {**DO, "input": {"prompt": "${input.draft}"}},
                "while_": {"not_": {"input": "${output}", "operator": "match", "value": "${input.draft}"}},
            },
            [("first", "text", True, None), ("draft", "text", False, None)],
        ),
    ],
)
def test_inputs_are_inferred_through_every_type_of_job(job: dict[str, Any], expected: Any) -> None:
    end = {"id": "end", "type": "component", **DO, "input": {"prompt": "x"}}
    assert brief(inputs_of(FIELDS, jobs=[{"id": "j", **job}, end])) == expected


@pytest.mark.parametrize(
    ("job", "is_open"),
    [
        ({"type": "switch", "cases": []}, True),
        ({"type": "if", "conditions": [{"value": 1}]}, True),
        ({"type": "if", "conditions": [{"input": "${jobs.end.output}"}]}, False),
        ({"type": "filter"}, True),
        ({"type": "for-each", "do": DO}, True),
        ({"type": "loop", "do": DO, "until": {"value": 1}}, False),
        ({"type": "component", **DO}, False),
    ],
)
def test_a_job_that_takes_all_inputs_as_its_own_makes_none_unused(job: dict[str, Any], is_open: bool) -> None:
    end = {"id": "end", "type": "component", **DO}
    assert inputs_of(FIELDS, jobs=[{"id": "j", **job}, end]).open is is_open


def test_inputs_are_named_in_the_order_of_their_first_use() -> None:
    jobs = [
        {"id": "wait", "type": "delay", "duration": "${input.wait}"},
        {"id": "a", "type": "component", **DO},
        {"id": "b", "type": "component", **DO, "input": {"prompt": "${input.second} ${input.t}"}},
    ]
    inputs = inputs_of(FIELDS, jobs=jobs, output={"x": "${input.last}"})
    assert [item.name for item in inputs.declared] == ["wait", "prompt", "t", "second", "last"]


def test_every_job_counts_for_what_is_unused() -> None:
    jobs = [
        {"id": "a", "type": "component", **DO, "input": {"prompt": "${input.question}"}},
        {
            "id": "b",
            "type": "filter",
            "input": "${input.items}",
            "where": {"input": "${item}", "value": "${input.only}"},
        },
    ]
    inputs = inputs_of(FIELDS, jobs=jobs)
    given = {"question": "?", "items": [], "only": "x"}
    assert inputs.check(given) == []
    assert [item["field"] for item in inputs.check({**given, "prompt": "x", "onlly": 1})] == ["prompt", "onlly"]


def inner_inputs(own_input: Any, job_input: Any, fields: dict[str, Any] = FIELDS, **changes: Any) -> Inputs:
    """The inputs of a workflow whose only job runs another workflow."""
    action = {"id": "__action__", "workflow": "inner", "input": own_input}
    again = WorkflowComponentSettings.model_validate({"type": "workflow", "id": "again", "actions": [action]})
    settings = RouterSettings(
        components=(text("c", action={"fields": fields}), again),
        workflows=(workflow("outer", job("j", "again", input=job_input)), workflow("inner", job("i", "c"), **changes)),
    )
    return compile_graph(settings).workflows["outer"].inputs


@pytest.mark.parametrize(
    ("own_input", "job_input", "expected"),
    [
        (None, None, [PROMPT, T]),
        ("${input}", "${input}", [PROMPT, T]),
        (None, {"prompt": "${input.question}"}, [("question", "text", True, None)]),
        ({"prompt": "${input.q}", "t": 1}, None, [("q", "text", True, None)]),
        (
            {"prompt": "${input.q}", "t": "${input.warmth}"},
            {"q": "${input.question | why}", "warmth": "${input.w}"},
            [("question", "text", False, "why"), ("w", "number", False, 0.5)],
        ),
        ({"prompt": "${input.q}"}, {"q": "fixed"}, []),
        (None, "${input.ask}", [("ask", "json", True, None)]),
    ],
)
def test_the_inputs_of_an_inner_workflow_are_seen_through_both_mappings(
    own_input: Any, job_input: Any, expected: Any
) -> None:
    assert brief(inner_inputs(own_input, job_input)) == expected


def test_an_inner_workflow_that_takes_all_inputs_makes_none_unused() -> None:
    assert inner_inputs(None, None, output="${input}").open
    assert not inner_inputs(None, {"prompt": "${input.x}"}, output="${input}").open


@pytest.mark.parametrize(
    ("job_input", "expected"),
    [
        ("${input.question}", [("question", "text", True, None)]),
        ("Q: ${input.question}", [("question", "text", True, None)]),
    ],
)
def test_an_action_that_reads_its_whole_input_needs_what_the_job_gives(job_input: str, expected: Any) -> None:
    assert brief(inputs_of({"text": "${input}"}, "text", job("j", "c", input=job_input))) == expected


def asking(name: str, prompt: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "component",
        "component": "text",
        "action": "__action__",
        "input": {"prompt": prompt},
    } | changes


def choosing(name: str, *targets: str, otherwise: str | None = None, **changes: Any) -> dict[str, Any]:
    cases = [{"value": target, "then": target} for target in targets]
    return {"id": name, "type": "switch", "input": "${input.kind}", "cases": cases, "otherwise": otherwise} | changes


@pytest.mark.parametrize(
    ("jobs", "required"),
    [
        ([choosing("r", "a", otherwise="b"), asking("a", "${input.x}"), asking("b", "${input.y}")], []),
        ([choosing("r", "a", otherwise="b"), asking("a", "${input.x}"), asking("b", "${input.x}")], ["x"]),
        ([choosing("r", "a"), asking("a", "${input.x}")], []),
        (
            [
                asking("top", "${input.t}"),
                choosing("r", "a", otherwise="b", input="${jobs.top.output}"),
                asking("a", "${input.x}"),
                asking("b", "x"),
                asking("end", "${input.z}", depends_on=[["a", "b"]]),
            ],
            ["t", "z"],
        ),
        (
            [
                choosing("r", "a", otherwise="b"),
                choosing("a", "c", otherwise="d"),
                asking("b", "${input.x}"),
                asking("c", "${input.x} ", depends_on=[["a"]]),
                asking("d", "${input.x}"),
            ],
            ["x"],
        ),
        (
            [
                asking("a", "${input.x}", on_error={"to": "b"}),
                asking("b", "${input.y}"),
                asking("c", "${input.z}", depends_on=[["a"]]),
            ],
            ["x"],
        ),
        (
            [
                choosing("go", "a", otherwise="a"),
                asking("a", "${input.x}"),
                choosing("again", "a", otherwise="end", input="${jobs.a.output}"),
                asking("end", "${input.y}"),
            ],
            ["x", "y"],
        ),
    ],
)
def test_what_every_run_needs_is_required(jobs: list[dict[str, Any]], required: list[str]) -> None:
    components = (text(action={"fields": {"text": "${input.prompt}"}}),)
    settings = RouterSettings(components=components, workflows=(workflow("w", *jobs),))
    inputs = compile_graph(settings).workflows["w"].inputs
    assert [item.name for item in inputs.declared if item.required] == required
