"""What a scrape of a running router shows."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from tests.services.router.rig import Stack, eventually, http, text, workflow
from tests.services.router.watching.test_metrics import Samples, samples

pytestmark = pytest.mark.server

MakeStack = Callable[..., AbstractContextManager[Stack]]


def scraped(running: Stack) -> Samples:
    return samples(http("GET", f"{running.router.address}/metrics").text)


def test_a_scrape_follows_what_the_router_does(make_stack: MakeStack) -> None:
    component = text(max_concurrent_count=1, max_queue_length=1)
    with make_stack([component], [workflow("text")]) as running, ThreadPoolExecutor() as pool:
        slow = {"workflow_id": "text", "input": {"prompt": json.dumps({"tokens": 20, "ms": 50})}}
        streamed = pool.submit(running.post, slow, headers={"Accept": "text/event-stream"})
        eventually(lambda: scraped(running).get(("active_requests", (("component", "text"),))) == 1)
        waiting = pool.submit(running.post, slow)
        eventually(lambda: scraped(running).get(("queued_requests", (("component", "text"),))) == 1)
        waiting.result()
        assert streamed.result().status_code == 200
        assert running.post({"input": {}, "nonsense": 1}).status_code == 422
        assert running.get("/tasks/nobody").status_code == 404
        page = scraped(running)
    assert page["runs_total", (("status", "completed"), ("workflow", "text"))] == 2
    assert page["run_duration_seconds_count", (("workflow", "text"),)] == 2
    assert page["tokens_total", (("kind", "completion"), ("workflow", "text"))] == 40
    assert page["task_request_duration_seconds_count", (("component", "text"), ("status", "completed"))] == 2
    assert page["time_to_first_token_seconds_count", (("component", "text"),)] == 1
    assert page["time_to_first_token_seconds_sum", (("component", "text"),)] < 1
    assert page["queue_wait_seconds_count", (("component", "text"),)] == 2
    assert page["queue_wait_seconds_sum", (("component", "text"),)] > 0.1
    assert page["rejected_requests_total", (("reason", "unknown_field"),)] == 1
    assert page["rejected_requests_total", (("reason", "unknown_task"),)] == 1


def test_asynchronous_runs_are_counted_by_their_state(make_stack: MakeStack) -> None:
    with make_stack([text()], [workflow("text")], max_concurrent_count=1) as running:
        hanging = {"input": {"prompt": json.dumps({"hang": True})}, "wait_for_completion": False}
        assert [running.post(hanging).status_code for _ in range(3)] == [202, 202, 202]
        page = scraped(running)
    assert {name: value for (name, _), value in page.items() if "claimed" in name} == {"durable_claimed_runs_total": 1}
    assert page["durable_runs", (("state", "active"),)] == 1
    assert page["durable_runs", (("state", "waiting"),)] == 2


def test_nothing_that_a_client_sends_becomes_a_label(shared: Stack) -> None:
    marks = ["wf-mark-1", "id-mark-2", "session-mark-3", "path-mark-4", "key-mark-5"]
    shared.post({"workflow_id": marks[0], "input": {}}, headers={"X-Request-Id": marks[1]})
    shared.post({"workflow_id": "text", "input": {"prompt": "x"}, "session_id": marks[2]})
    shared.get(f"/{marks[3]}")
    shared.post({marks[4]: 1})
    page = http("GET", f"{shared.router.address}/metrics").text
    assert not [mark for mark in marks if mark in page]
