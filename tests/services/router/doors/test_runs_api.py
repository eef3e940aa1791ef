"""The runs API over real sockets: waited for, in the background, and only the output."""

import json
import re
import subprocess
from typing import Any

import httpx
import pytest

from tests.services.router.rig import Stack, eventually, http

pytestmark = pytest.mark.server

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def knobs(**values: Any) -> str:
    return json.dumps(values)


def ask(shared: Stack, text: str, **more: Any) -> httpx.Response:
    return shared.post({"workflow_id": "text", "input": {"prompt": text}, **more})


def test_the_documented_curl_works_as_written(shared: Stack) -> None:
    command = (
        "curl -X POST http://localhost:8080/api/workflows/runs "
        '-H "Content-Type: application/json" -d \'{"input": {"system-prompt": "You are a helpful AI assistant.", '
        '"user-prompt": "Explain quantum computing in simple terms."}}\''
    ).replace("http://localhost:8080/api", shared.base.replace("127.0.0.1", "localhost"))
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert ULID.fullmatch(answer.pop("task_id"))
    assert answer.pop("usage").keys() == {"prompt_tokens", "completion_tokens", "total_tokens", "seed"}
    assert answer == {
        "status": "completed",
        "workflow_id": "chat",
        "output": {"generated": "Explain quantum computing in simple terms."},
    }


def test_the_task_gets_what_the_file_says(shared: Stack) -> None:
    answer = shared.post({"input": {"system-prompt": "S", "user-prompt": knobs(messages=True)}}).json()
    assert json.loads(answer["output"]["generated"]) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": knobs(messages=True)},
    ]


def test_history_stands_before_the_last_user_message(shared: Stack) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    answer = shared.post({"input": {"user-prompt": knobs(messages=True)}, "history": history}).json()
    assert json.loads(answer["output"]["generated"])[:-1] == history


def test_history_needs_a_chat(shared: Stack) -> None:
    answer = ask(shared, "x", history=[{"role": "user", "content": "Hi"}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "history_not_possible")


def test_any_text_survives_unchanged(shared: Stack) -> None:
    text = '${input.prompt} ${env.HOME} $${x} {{ }} <|im_end|> "\\" \u2028 \U0001f600 \t\n é'
    assert ask(shared, text).json()["output"] == text


def test_session_and_metadata_come_back(shared: Stack) -> None:
    answer = ask(shared, "x", session_id="s1", metadata={"a": [1]}).json()
    assert (answer["session_id"], answer["metadata"]) == ("s1", {"a": [1]})


def test_output_only_is_the_bare_output(shared: Stack) -> None:
    answer = ask(shared, "bare", output_only=True)
    assert (answer.status_code, answer.json()) == (200, "bare")
    assert ULID.fullmatch(answer.headers["X-Task-Id"])


def test_a_list_in_is_a_list_out(shared: Stack) -> None:
    answer = shared.post({"workflow_id": "streaming", "input": {"prompt": ["a", "b c"]}})
    assert answer.json()["output"] == ["a", "b c"]


def test_unread_inputs_are_named_in_warnings(shared: Stack) -> None:
    answer = shared.post({"input": {"user-prompt": "x", "systemprompt": "y"}}).json()
    assert answer["warnings"] == [
        {
            "code": "unused_input",
            "message": 'Nothing reads the input "systemprompt". Did you mean "system_prompt"?',
            "field": "systemprompt",
        }
    ]


def test_equal_requests_name_equal_seeds(shared: Stack) -> None:
    seeds = {ask(shared, "same").json()["usage"]["seed"] for _ in range(2)}
    assert len(seeds) == 1
    assert ask(shared, "other").json()["usage"]["seed"] not in seeds


def test_jobs_follow_their_dependencies_and_their_usage_is_summed(shared: Stack) -> None:
    answer = shared.post({"workflow_id": "chain", "input": {"prompt": "one two"}}).json()
    assert answer["output"] == {"last": "one two again", "beside": "one two"}
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}


def test_repeats_give_a_list_in_order(shared: Stack) -> None:
    given = {"count": "3", "prompts": ["a", "b", "c"]}
    assert shared.post({"workflow_id": "repeated", "input": given}).json()["output"] == ["a", "b", "c"]


def test_one_repeat_gives_a_scalar(shared: Stack) -> None:
    answer = shared.post({"workflow_id": "repeated", "input": {"count": 1, "prompts": ["a"]}})
    assert answer.json()["output"] == "a"


@pytest.mark.parametrize("count", [0, -1, 1001, "many", 1.5, True])
def test_a_repeat_count_that_makes_no_sense_is_refused(shared: Stack, count: Any) -> None:
    answer = shared.post({"workflow_id": "repeated", "input": {"count": count, "prompts": ["a"]}})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "repeat_count")


def test_an_output_that_cannot_be_made_is_a_failure_inside(shared: Stack) -> None:
    answer = shared.post({"workflow_id": "converted", "input": {"prompt": "seven"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "output_mapping_failed")


def test_a_background_run_is_accepted_then_found(shared: Stack) -> None:
    answer = ask(shared, "later", wait_for_completion=False)
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    path = answer.headers["Location"].removeprefix("/api")
    eventually(lambda: shared.get(path).json()["status"] == "completed")
    assert shared.get(path).json()["output"] == "later"
    assert shared.get(f"{path}?output_only=true").json() == "later"
    assert any(item["task_id"] == answer.json()["task_id"] for item in shared.get("/tasks").json())


def test_a_background_run_under_way_has_no_output_yet_and_can_be_cancelled(shared: Stack) -> None:
    task_id = ask(shared, knobs(hang=True), wait_for_completion=False).json()["task_id"]
    assert shared.get(f"/tasks/{task_id}?output_only=true").status_code == 202
    cancelled = http("POST", f"{shared.base}/tasks/{task_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    eventually(lambda: shared.tasks["text"].counters()["computing"] == 0)
    assert shared.get(f"/tasks/{task_id}?output_only=true").status_code == 409
    again = http("POST", f"{shared.base}/tasks/{task_id}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_finished")


def test_a_failed_background_run_keeps_its_error(shared: Stack) -> None:
    task_id = ask(shared, knobs(fail_at=0), wait_for_completion=False).json()["task_id"]
    eventually(lambda: shared.get(f"/tasks/{task_id}").json()["status"] == "failed")
    answer = shared.get(f"/tasks/{task_id}?output_only=true")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "generation_failed")


def test_an_unknown_run_is_404(shared: Stack) -> None:
    assert shared.get("/tasks/01ARZ3NDEKTSV4RRFFQ69G5FAV").json()["error"]["code"] == "unknown_task"
    assert http("POST", f"{shared.base}/tasks/x/cancel").status_code == 404


def test_forms_have_nested_names(shared: Stack) -> None:
    parts = {"workflow_id": (None, "text"), "input[prompt]": (None, "é"), "output_only": (None, "true")}
    answer = http("POST", f"{shared.base}/workflows/runs", files=parts)
    assert (answer.status_code, answer.json()) == (200, "é")


def test_the_public_workflows_are_listed(shared: Stack) -> None:
    names = [item["workflow_id"] for item in shared.get("/workflows").json()]
    assert names == ["chat", "text", "streaming", "transformed", "mixed", "chain", "repeated", "converted"]
    assert shared.get("/workflows/hidden/schema").status_code == 404


def test_a_schema_shows_inputs_and_outputs(shared: Stack) -> None:
    schema = {
        "workflow_id": "chat",
        "title": "Generate Chat Messages",
        "description": None,
        "task": "chat-completion",
        "streaming": True,
        "history": True,
        "input": [
            {"name": "system_prompt", "type": "text", "required": False, "default": None, "description": None},
            {"name": "user_prompt", "type": "text", "required": True, "default": None, "description": None},
        ],
        "output": [{"name": "generated", "type": "text"}],
    }
    assert shared.get("/workflows/chat/schema").json() == schema
    assert shared.get("/workflows?include_schema=true").json()[0] == schema


def test_health_and_readiness(shared: Stack) -> None:
    assert shared.get("/health").json() == {"status": "ok"}
    ready = {"stage": "ready"}
    expected = {"status": "ready", "components": {"chat": ready, "text": ready, "streaming": ready}}
    assert shared.get("/ready").json() == expected
    assert http("GET", f"{shared.router.address}/livez").status_code == 200
    assert http("GET", f"{shared.router.address}/readyz").status_code == 200


def test_metrics_count_runs(shared: Stack) -> None:
    ask(shared, "x")
    page = http("GET", f"{shared.router.address}/metrics").text
    assert re.search(r'model_compose_runs_total\{status="completed",workflow="text"\} \d+', page)


def test_every_answer_has_a_request_id_and_a_clients_own_is_kept(shared: Stack) -> None:
    assert re.fullmatch("[0-9a-f]{32}", shared.get("/health").headers["X-Request-Id"])
    answer = http("POST", f"{shared.base}/workflows/runs", json=[], headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "mine-1"
    forged = shared.get("/health", headers={"X-Request-Id": "a b"})
    assert forged.headers["X-Request-Id"] != "a b"


def test_what_is_not_there_is_404_and_what_is_not_possible_405(shared: Stack) -> None:
    assert shared.get("/nothing").json()["error"]["code"] == "not_found"
    answer = shared.get("/workflows/runs")
    assert (answer.status_code, answer.json()["error"]["hint"]) == (405, "Use POST.")
