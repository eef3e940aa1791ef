"""Whatever a body holds, the answer is readable JSON of ours, and never a failure inside the router."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog import GENERATION
from tests.services.router.rig import CHAT_FIELDS, Stack, chat, job, stack, text, workflow

pytestmark = pytest.mark.server

PARAMETERS = {name: f"${{input.{name}}}" for name in GENERATION}
TYPES = ("integer", "number", "boolean", "json", "list", "object", "object/a,b", "base64", "select/a,b", "text[]")


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Workflows whose every parameter, input and path comes from the client."""
    components = [
        chat("chat", action={"fields": {**CHAT_FIELDS, **PARAMETERS, "reasoning": "${input.reasoning}"}}),
        chat("open", action={"fields": {"messages": "${input.messages}"}}),
        text("text", action={"fields": {"prompt": "${input.prompt}", **PARAMETERS}}),
    ]
    indexed = {"prompt": "${input.prompts[${index}] | ${input.prompts[${input.at}].text | none}}"}
    workflows = [
        workflow("chat", default=True, output={"generated": "${output}", "echo": "${input}"}),
        workflow("open", job("j", "open")),
        workflow("text", job("j", "text")),
        *(workflow(kind, job("j", "text", input={"prompt": [f"${{input.value as {kind}}}"]})) for kind in TYPES),
        workflow("indexed", job("j", "text", input=indexed, repeat_count="${input.count}")),
    ]
    with TemporaryDirectory(prefix="mc-") as path, stack(Path(path), components, workflows) as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base, trust_env=False, timeout=30) as client:
        yield client


NUMBERS = st.one_of(
    st.integers(-5, 70),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e308, 1e-320, -0.0, 2**63, 2**53 + 1]),
    st.sampled_from([18, 400, 4299]).map(lambda digits: -(10**digits)),
    st.sampled_from([18, 400, 4299]).map(lambda digits: 10**digits),
)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "random", "never", "true", "1e999", "NaN", "-0", "١٢", "1_000", "\x00", "\r\n", "${input.prompt}", "{}", "[1"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["user_prompt", "system-prompt", "prompts", "messages", "value", "at", *PARAMETERS])
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXTS | VALUES}),
    max_size=3,
)
INPUTS = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries({"user_prompt": TEXTS, "prompt": TEXTS, "count": st.integers(1, 3), "messages": MESSAGES}),
    st.dictionaries(NAMES, st.integers(1, 64) | VALUES, max_size=2),
    st.dictionaries(TEXTS, VALUES, max_size=2),
)
WORKFLOWS = st.sampled_from(["chat", "open", "text", "indexed", *TYPES])
BODIES = st.fixed_dictionaries(
    {"input": INPUTS},
    optional={
        "workflow_id": WORKFLOWS,
        "output_only": st.booleans(),
        "session_id": TEXTS,
        "metadata": st.dictionaries(TEXTS, VALUES, max_size=2),
        "history": MESSAGES,
    },
)
KEYS = st.sampled_from(["input", "workflow_id", "wait_for_completion", "output_only", "session_id", "history", "x"])
BENT = st.builds(lambda body, bent: {**body, **bent}, BODIES, st.dictionaries(KEYS, VALUES, min_size=1, max_size=1))
FIELDS = st.sampled_from(["workflow_id", "input[prompt]", "input[user_prompt]", "input[a][b]"])


def strict(text: str) -> Any:
    """JSON as other languages read it: no NaN, no half characters."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    text.encode()
    return json.loads(text, parse_constant=refuse)


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    shown = strict(answer.content.decode())
    if answer.status_code >= 400:
        assert shown["status"] == "failed"
        assert shown["error"]["request_id"] == answer.headers["X-Request-Id"]
        assert len(json.dumps(shown["error"])) < 3000


@given(body=BODIES | BENT | VALUES)
def test_generated_json_is_answered(running: Stack, client: httpx.Client, body: Any) -> None:
    check(client.post("/workflows/runs", content=json.dumps(body), headers={"Content-Type": "application/json"}))


@given(body=BODIES, place=st.integers(0, 400), noise=st.binary(max_size=4), cut=st.integers(0, 4))
def test_damaged_json_is_answered(client: httpx.Client, body: Any, place: int, noise: bytes, cut: int) -> None:
    whole = json.dumps(body, ensure_ascii=False).encode()
    damaged = whole[:place] + noise + whole[place + cut :]
    check(client.post("/workflows/runs", content=damaged, headers={"Content-Type": "application/json"}))


@given(
    fields=st.dictionaries(
        st.sampled_from(["workflow_id", "input[prompt]", "input[user_prompt]", "input[a][b]"]) | TEXTS, TEXTS
    )
)
def test_generated_forms_are_answered(client: httpx.Client, fields: dict[str, str]) -> None:
    head = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(head.format(name, value) for name, value in fields.items()) + "--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    check(client.post("/workflows/runs", content=body.encode(), headers={"Content-Type": kind}))


def test_nothing_failed_inside(running: Stack) -> None:
    said = running.router.log.read_text().splitlines()
    assert [line for line in said if not line.startswith("run ended ") or "code=internal" in line] == []
    assert running.tasks["text"].counters()["computing"] == 0
