"""A client of the router meets the same behaviour wherever the services run."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.conformance.folder import wait_until
from tests.conformance.served import ANSWER, QUESTION, USAGE, ZONE, Served, status_of_raw

pytestmark = pytest.mark.timeout(240)

ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
RUNS = "/api/workflows/runs"
JSON = {"Content-Type": "application/json"}
COMPLETED = {"status": "completed", "workflow_id": "ask", "output": {"generated": ANSWER}, "usage": USAGE}


def events(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The data of a stream's chunks, and its last event."""
    *chunks, last = text.removesuffix("\n\n").split("\n\n")
    assert last.startswith("event: done\n")
    return [json.loads(chunk.removeprefix("data: ")) for chunk in chunks], json.loads(last.partition("data: ")[2])


def test_a_run_is_answered_whole(served: Served) -> None:
    answer = served.post({"input": {"user_prompt": QUESTION}}, {"X-Request-Id": "one"})
    task_id = answer.json()["task_id"]
    assert ID.fullmatch(task_id)
    assert (answer.status_code, answer.json()) == (200, {"task_id": task_id, **COMPLETED})
    assert {name: value for name, value in answer.headers.items() if name != "date"} == {
        "content-type": "application/json",
        "content-length": str(len(answer.content)),
        "x-task-id": task_id,
        "x-request-id": "one",
    }
    assert served.api.get(f"/api/tasks/{task_id}").json() == answer.json()


def test_a_run_answers_with_its_output_alone_where_that_is_wanted(served: Served) -> None:
    answer = served.ask(output_only=True)
    assert (answer.status_code, answer.json()) == (200, {"generated": ANSWER})


def test_a_form_does_as_well_as_json(served: Served) -> None:
    fields = {"input[user_prompt]": (None, QUESTION), "output_only": (None, "true")}
    answer = served.api.post(RUNS, files=fields)
    assert (answer.status_code, answer.json()) == (200, {"generated": ANSWER})


def test_equal_requests_at_once_get_equal_answers(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.ask(output_only=True).json(), range(16)))
    assert answers == [{"generated": ANSWER}] * 16


def test_an_asynchronous_run_is_accepted_and_read_later(served: Served) -> None:
    accepted = served.ask(wait_for_completion=False)
    task_id = accepted.json()["task_id"]
    assert (accepted.status_code, accepted.headers["location"]) == (202, f"/api/tasks/{task_id}")
    assert served.ended(task_id) == "completed"
    assert served.api.get(f"/api/tasks/{task_id}").json() == {"task_id": task_id, **COMPLETED}
    assert served.api.get(f"/api/tasks/{task_id}?output_only=true").json() == {"generated": ANSWER}


def test_an_idempotency_key_finds_the_run_again_and_nothing_else(served: Served) -> None:
    body = {"input": {"user_prompt": QUESTION}, "wait_for_completion": False}
    key = {"Idempotency-Key": "moon"}
    first, second = served.post(body, key), served.post(body, key)
    other = served.post({**body, "input": {"user_prompt": "Hello"}}, key)
    assert [answer.status_code for answer in (first, second, other)] == [202, 202, 409]
    assert first.json()["task_id"] == second.json()["task_id"]
    assert served.ended(first.json()["task_id"]) == "completed"


def test_a_stream_gives_the_text_in_pieces_that_make_the_answer(served: Served) -> None:
    answer = served.post({"input": {"user_prompt": QUESTION}}, {"Accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    chunks, last = events(answer.text)
    assert len(chunks) > 10
    assert {chunk["path"] for chunk in chunks} == {"generated"}
    assert "".join(chunk["delta"] for chunk in chunks) == ANSWER
    assert last == {"task_id": answer.headers["x-task-id"], "output": {"generated": ANSWER}, "usage": USAGE}


def test_pieces_come_while_the_model_writes_and_who_leaves_ends_the_run(served: Served) -> None:
    with served.streaming("talk") as (run, lines):
        assert next(lines).startswith("data: ")
        assert served.status(run) == "streaming"
    assert served.ended(run) == "cancelled"
    wait_until(lambda: served.calls(run) == ["talk cancelled"])


def test_who_leaves_without_a_stream_ends_the_run_too(served: Served) -> None:
    with served.talking() as run:
        pass
    assert served.ended(run) == "cancelled"
    wait_until(lambda: served.calls(run) == ["talk cancelled"])


def test_a_cancelled_run_ends_in_the_model(served: Served) -> None:
    talk = {"workflow_id": "talk", "input": {"user_prompt": QUESTION}, "wait_for_completion": False}
    served.ask()
    run = served.post(talk).json()["task_id"]
    served.until_at_work()
    cancelled = served.api.post(f"/api/tasks/{run}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"] in ("cancelling", "cancelled")) == (200, True)
    assert served.ended(run) == "cancelled"
    assert served.api.post(f"/api/tasks/{run}/cancel").status_code == 409
    assert served.api.get(f"/api/tasks/{run}?output_only=true").status_code == 409
    wait_until(lambda: served.calls(run) == ["talk cancelled"])


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "error"),
    [
        (
            "GET",
            "/api/nowhere",
            "",
            "",
            404,
            {
                "code": "not_found",
                "message": "There is nothing at this address.",
                "hint": "/docs lists the addresses.",
            },
        ),
        (
            "GET",
            "/api/workflows/none/schema",
            "",
            "",
            404,
            {
                "code": "unknown_workflow",
                "message": 'There is no workflow "none".',
                "hint": 'Known: "ask", "talk", "slowly", "at".',
                "field": "workflow_id",
            },
        ),
        (
            "GET",
            RUNS,
            "",
            "",
            405,
            {"code": "method_not_allowed", "message": "GET is not possible here.", "hint": "Use POST."},
        ),
        (
            "POST",
            RUNS,
            '{"inp',
            "application/json",
            400,
            {
                "code": "invalid_json",
                "message": "The body cannot be read as JSON: a text is not closed, starting at line 1, column 2.",
            },
        ),
        (
            "POST",
            RUNS,
            "x" * 64_001,
            "application/json",
            413,
            {
                "code": "body_too_large",
                "message": "The body is larger than 64,000 bytes.",
                "hint": "Send less, or raise `max_body_size` in the file.",
            },
        ),
        (
            "POST",
            RUNS,
            "Hello",
            "text/plain",
            415,
            {
                "code": "unsupported_media_type",
                "message": 'The body has "text/plain"; it must be JSON in UTF-8 or a multipart form.',
                "hint": 'Send the header "Content-Type: application/json".',
                "field": "Content-Type",
            },
        ),
        (
            "POST",
            RUNS,
            '{"input": {}}',
            "application/json",
            422,
            {
                "code": "missing_input",
                "message": 'Input "user_prompt" is required.',
                "hint": 'Send {"input": {"user_prompt": "..."}}.',
                "field": "user_prompt",
            },
        ),
        (
            "POST",
            RUNS,
            json.dumps({"input": {"user_prompt": "a b " * 10_000}}),
            "application/json",
            422,
            {
                "code": "prompt_too_long",
                "message": "The prompt has 20004 tokens and the model holds 16384, so there is no room for an answer.",
                "hint": 'Shorten the prompt, or set "max_input_length".',
                "field": "messages",
            },
        ),
    ],
    ids=[
        "no such address",
        "no such workflow",
        "method",
        "unreadable",
        "too large",
        "type",
        "missing input",
        "too long for the model",
    ],
)
def test_what_cannot_be_done_is_told_in_the_same_words(
    served: Served, method: str, path: str, content: str, kind: str, status: int, error: dict[str, str]
) -> None:
    headers = {"X-Request-Id": "refused", **({"Content-Type": kind} if kind else {})}
    answer = served.api.request(method, path, content=content, headers=headers)
    told = {key: value for key, value in answer.json().items() if key not in ("task_id", "workflow_id")}
    assert (answer.status_code, told) == (status, {"status": "failed", "error": {**error, "request_id": "refused"}})


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Host": "evil.example"}, "host_not_allowed"), ({"Origin": "http://evil.example"}, "origin_not_allowed")],
    ids=["host", "origin"],
)
def test_web_pages_of_others_are_refused(served: Served, headers: dict[str, str], code: str) -> None:
    for method, path in (("GET", "/api/workflows"), ("GET", "/docs"), ("POST", "/livez")):
        answer = served.api.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
    assert served.api.get("/api/workflows", headers={"Host": f"localhost:{served.project.port}"}).status_code == 200


def test_load_balancers_may_read_probes_by_any_name(served: Served) -> None:
    for path in ("/livez", "/readyz"):
        assert served.api.get(path, headers={"Host": "evil.example"}).status_code == 200
        assert status_of_raw(served.project.port, f"GET {path} HTTP/1.0") == 200


def test_a_request_without_a_host_is_refused(served: Served) -> None:
    assert status_of_raw(served.project.port, "GET /docs HTTP/1.0") == 403


def test_the_token_is_needed_for_all_but_the_probes(served: Served) -> None:
    wanted = ("/api/workflows", "/api/tasks", "/metrics", "/v1/models", "/docs", "/openapi.json")
    open_to_all = ("/livez", "/readyz", "/api/health", "/api/ready")
    assert {path: served.stranger.get(path).status_code for path in wanted} == dict.fromkeys(wanted, 401)
    assert {path: served.stranger.get(path).status_code for path in open_to_all} == dict.fromkeys(open_to_all, 200)
    assert {path: served.api.get(path).status_code for path in wanted} == dict.fromkeys(wanted, 200)
    wrong = served.stranger.post(RUNS, json={}, headers={"Authorization": "Bearer sesame"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "token_required")


def test_probes_say_that_it_lives_and_how_far_the_models_are(served: Served) -> None:
    assert served.api.get("/api/health").json() == {"status": "ok"}
    assert served.api.get("/readyz").json() == {"stage": "ready"}
    assert served.api.get("/api/ready").json() == {"status": "ready", "components": {"toy": {"stage": "ready"}}}


def test_metrics_count_runs_and_tokens(served: Served) -> None:
    def counted() -> dict[str, float]:
        lines = [line for line in served.api.get("/metrics").text.splitlines() if 'workflow="ask"' in line]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    served.ask()
    before = counted()
    served.ask()
    after = counted()
    for name, more in {
        'model_compose_runs_total{status="completed",workflow="ask"}': 1,
        'model_compose_tokens_total{kind="prompt",workflow="ask"}': 9,
        'model_compose_tokens_total{kind="completion",workflow="ask"}': 30,
    }.items():
        assert after[name] - before[name] == more


def test_workflows_and_their_inputs_are_listed(served: Served) -> None:
    field = {"type": "text", "default": None, "description": None}
    assert served.api.get("/api/workflows/ask/schema").json() == {
        "workflow_id": "ask",
        "title": "Ask the toy",
        "description": None,
        "task": "chat-completion",
        "streaming": True,
        "history": True,
        "input": [
            {"name": "system_prompt", "required": False, **field},
            {"name": "user_prompt", "required": True, **field},
        ],
        "output": [{"name": "generated", "type": "text"}],
    }
    assert [each["workflow_id"] for each in served.api.get("/api/workflows").json()] == ["ask", "talk", "slowly", "at"]
    described = served.api.get("/openapi.json").json()
    assert {RUNS, "/v1/chat/completions"} <= described["paths"].keys()


def test_openai_clients_are_answered_whole_and_in_pieces(served: Served) -> None:
    body = {"model": "toy", "messages": [{"role": "user", "content": QUESTION}]}
    whole = served.api.post("/v1/chat/completions", json=body).json()
    assert whole["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ANSWER, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert whole["usage"] == USAGE
    streamed = served.api.post("/v1/chat/completions", json={**body, "stream": True}).text
    *chunks, last = [line.removeprefix("data: ") for line in streamed.splitlines() if line]
    assert last == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert len(deltas) > 10
    assert "".join(deltas) == ANSWER
    refused = served.api.post("/v1/chat/completions", json={**body, "model": "none"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_the_command_runs_a_workflow_and_shows_who_worked_on_it(served: Served) -> None:
    ran = served.project.command("run", "ask", "--input", json.dumps({"user_prompt": QUESTION}))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{ANSWER}\n", "")
    run = served.newest()
    lines = [line.partition("|") for line in served.project.command("logs").stdout.splitlines() if run in line]
    assert sorted(service.strip() for service, _, _ in lines) == ["router", "toy"]
    missing = served.project.command("run", "ask")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == 'error: input "user_prompt" is required\nhint: give it with -i user_prompt=TEXT\n'


def test_ps_lists_the_services(served: Served) -> None:
    found = served.services()
    assert {name: (service["kind"], service["state"]) for name, service in found.items()} == {
        "toy": ("task", "ready"),
        "router": ("router", "ready"),
        "page": ("page", "ready"),
    }
    assert found["router"]["address"] == f"http://127.0.0.1:{served.project.port}"
    assert found["page"]["address"] == f"http://127.0.0.1:{served.project.page_port}"
    assert all(service["memory_bytes"] > 10_000_000 for service in found.values())


def test_a_kept_run_goes_on_after_a_restart_of_the_router(served: Served) -> None:
    order = {"workflow_id": "slowly", "input": {"user_prompt": QUESTION}, "wait_for_completion": False}
    run = served.post(order).json()["task_id"]
    wait_until(lambda: served.calls(run) == ["first completed"])
    assert served.project.command("restart", "router").returncode == 0
    assert served.ended(run) == "completed"
    assert served.api.get(f"/api/tasks/{run}").json()["output"] == [ANSWER, ANSWER]
    calls = served.calls(run)
    assert (calls.count("first completed"), calls[-1]) == (1, "second completed")


def test_a_time_without_a_zone_is_that_of_the_machine(served: Served) -> None:
    past = datetime.now(ZoneInfo(ZONE)) - timedelta(hours=1)  # in UTC that would be hours away
    order = {"workflow_id": "at", "input": {"time": f"{past:%Y-%m-%dT%H:%M:%S}"}, "wait_for_completion": False}
    run = served.post(order).json()["task_id"]
    assert served.ended(run) == "completed"
    assert served.api.get(f"/api/tasks/{run}").json()["output"] == "it is time"


def test_a_stopped_router_is_missed_by_the_command_and_comes_back(served: Served) -> None:
    assert served.project.command("stop", "router").returncode == 0
    ran = served.project.command("run", "ask", "-i", "user_prompt=Hello")
    assert (ran.returncode, ran.stdout, ran.stderr.splitlines()[0]) == (
        5,
        "",
        "error: the router is stopped, so nothing can be run",
    )
    assert served.project.command("start", "router").returncode == 0
    assert served.ask().status_code == 200


def test_a_task_that_dies_or_is_stopped_is_told_and_works_again(served: Served) -> None:
    before = served.services()
    served.ask()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served.post, {"workflow_id": "talk", "input": {"user_prompt": QUESTION}})
        served.until_at_work()
        with served.streaming("talk") as (_, lines):
            next(lines)
            os.kill(before["toy"]["pid"], signal.SIGKILL)
            assert "event: error" in list(lines)
        crashed = waiting.result()
    assert (crashed.status_code, crashed.json()["error"]["code"]) == (502, "task_crashed")
    assert crashed.json()["error"]["message"] == 'The service "toy" ended while it worked on this run.'

    assert served.project.command("stop", "toy").returncode == 0
    stopped = {"stage": "absent", "message": "it was stopped"}
    wait_until(lambda: served.stranger.get("/api/ready").json()["components"] == {"toy": stopped})
    ready, refused = served.stranger.get("/api/ready"), served.ask()
    assert (ready.status_code, ready.headers["Retry-After"], ready.json()["status"]) == (503, "2", "starting")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert {key: refused.json()["error"][key] for key in ("code", "message", "hint")} == {
        "code": "not_ready",
        "message": 'The service "toy" is not ready: it was stopped.',
        "hint": "`model-compose start toy` starts it again.",
    }
    assert served.stranger.get("/readyz").status_code == 200

    assert served.project.command("start", "toy").returncode == 0
    assert served.ask(output_only=True).json() == {"generated": ANSWER}
    after = served.services()
    assert [name for name in after if after[name]["pid"] == before[name]["pid"]] == ["router", "page"]
