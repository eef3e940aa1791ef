"""Workflows of several jobs, asked for over HTTP and answered by real tasks."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.router.rig import Stack, begin_run, eventually, job, stack, text, workflow
from tests.services.router.test_streaming import stream

pytestmark = pytest.mark.server

ITEM = {"component": "text", "action": "__action__", "input": {"prompt": "${item.text}"}}
BRANCHES: list[Any] = [
    job("draft", "text"),
    {
        "id": "check",
        "type": "if",
        "input": "${jobs.draft.output}",
        "conditions": [{"operator": "match", "value": "^good", "if_true": "keep", "if_false": "mend"}],
    },
    job("keep", "text", input={"prompt": "kept ${jobs.draft.output}"}),
    job("mend", "text", input={"prompt": "mended ${jobs.draft.output}"}),
]
BATCH: list[Any] = [
    {
        "id": "long",
        "type": "filter",
        "input": "${input.items}",
        "where": {"input": "${item.n}", "operator": "gt", "value": 1},
    },
    {"id": "each", "type": "for-each", "input": "${jobs.long.output}", "batch_size": 4, "do": ITEM},
    {"id": "pause", "type": "delay", "duration": "10ms", "output": {"texts": "${jobs.each.output}"}},
]
RISKY = [
    job("a", "text", retry={"max_attempt_count": 2, "delay_s": 0.01}, on_error={"to": "b"}),
    job("b", "text", input={"prompt": "after ${error.code}"}),
]
SLOW = [job("slow", "text", timeout_s=0.2)]


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = [
        workflow("branches", *BRANCHES, output={"text": "${jobs.keep.output | ${jobs.mend.output}}"}),
        workflow("batch", *BATCH),
        workflow("risky", *RISKY),
        workflow("slow", *SLOW),
    ]
    with stack(tmp_path_factory.mktemp("workflows"), [text("text", max_concurrent_count=2)], made) as started:
        yield started


def run(workflows: Stack, workflow_id: str, **given: Any) -> Any:
    return workflows.post({"workflow_id": workflow_id, "input": given}).json()


@pytest.mark.parametrize(("prompt", "expected"), [("good news", "kept good news"), ("news", "mended news")])
async def test_one_branch_runs_and_is_streamed_word_by_word(workflows: Stack, prompt: str, expected: str) -> None:
    started = workflows.tasks["text"].counters()["started"]
    assert run(workflows, "branches", prompt=prompt)["output"] == {"text": expected}
    assert workflows.tasks["text"].counters()["started"] == started + 2
    _, events = await stream(workflows, {"workflow_id": "branches", "input": {"prompt": prompt}})
    pieces = [json.loads(data) for _, data in events[:-1]]
    assert "".join(piece["delta"] for piece in pieces) == expected
    assert {piece["path"] for piece in pieces} == {"text"}
    assert len(pieces) == len(expected.split(" "))


def test_a_batch_goes_through_its_component_in_order(workflows: Stack) -> None:
    items = [{"n": index, "text": json.dumps({"text": f"t{index}", "tokens": 1, "ms": 5})} for index in range(8)]
    answer = run(workflows, "batch", items=items)
    assert answer["output"] == {"texts": ["w0"] * 6}
    assert answer["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("knobs", "attempts", "expected"),
    [
        ({"refuse": [503, "overloaded"]}, 2, "after overloaded"),
        ({"refuse": [422, "too_long"]}, 1, "after too_long"),
        ({"fail_at": 1, "tokens": 3}, 2, "after generation_failed"),
        ({"text": "fine"}, 1, "fine"),
    ],
)
def test_failures_of_a_task_are_met_as_the_file_says(
    workflows: Stack, knobs: Any, attempts: int, expected: str
) -> None:
    before = workflows.tasks["text"].counters()["started"]
    assert run(workflows, "risky", prompt=json.dumps(knobs))["output"] == expected
    more = 0 if expected == "fine" else 1
    assert workflows.tasks["text"].counters()["started"] == before + attempts + more


def test_a_job_s_timeout_frees_its_task(workflows: Stack) -> None:
    began = time.monotonic()
    answer = workflows.post({"workflow_id": "slow", "input": {"prompt": json.dumps({"hang": True})}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "job_timeout")
    assert time.monotonic() - began < 2
    eventually(lambda: workflows.tasks["text"].counters()["computing"] == 0)


def test_a_client_that_leaves_ends_every_job(workflows: Stack) -> None:
    items = [{"n": 2, "text": json.dumps({"hang": True})}] * 4
    body = json.dumps({"workflow_id": "batch", "input": {"items": items}})
    connection: socket.socket = begin_run(workflows, f"Content-Length: {len(body)}", body=body)
    eventually(lambda: workflows.tasks["text"].counters()["computing"] == 2)
    started = workflows.tasks["text"].counters()["started"]
    connection.close()
    eventually(lambda: workflows.tasks["text"].counters()["computing"] == 0)
    assert workflows.tasks["text"].counters()["started"] == started
