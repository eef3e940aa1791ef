"""Run requests are read strictly, and refused in one sentence that names the key."""

from typing import Any

import pytest

from services.errors import ServiceError
from services.router.messages import Run, RunRequest, RunStatus, new_task_id, parse_run_request

pytestmark = pytest.mark.unit


def test_an_empty_body_runs_the_default_workflow_and_waits() -> None:
    assert parse_run_request({}) == RunRequest()


def test_every_documented_key_is_read() -> None:
    body = {
        "workflow_id": "chat",
        "input": {"a": 1},
        "wait_for_completion": True,
        "output_only": True,
        "session_id": "s",
        "metadata": {"k": "v"},
        "history": [{"role": "user", "content": "hi"}],
        "seed": 7,
        "callback_url": None,
        "subscribe_task": False,
    }
    assert parse_run_request(body) == RunRequest(
        "chat", {"a": 1}, True, True, "s", {"k": "v"}, ({"role": "user", "content": "hi"},), 7
    )


def test_text_of_a_form_counts_as_boolean() -> None:
    assert parse_run_request({"output_only": "TRUE"}).output_only


@pytest.mark.parametrize(
    ("body", "status", "code", "field", "sentence"),
    [
        ([], 422, "invalid_body", None, "The body must be a JSON object."),
        ("text", 422, "invalid_body", None, "The body must be a JSON object."),
        (None, 422, "invalid_body", None, "The body must be a JSON object."),
        ({"inputs": {}}, 422, "unknown_field", "inputs", 'Unknown key "inputs" in the body.'),
        ({"prompt": "x"}, 422, "unknown_field", "prompt", 'Unknown key "prompt" in the body.'),
        ({"input": []}, 422, "invalid_field", "input", '"input" must be an object of names and values.'),
        ({"input": "x"}, 422, "invalid_field", "input", '"input" must be an object of names and values.'),
        ({"workflow_id": 1}, 422, "invalid_field", "workflow_id", '"workflow_id" must be text.'),
        ({"session_id": {}}, 422, "invalid_field", "session_id", '"session_id" must be text.'),
        (
            {"session_id": "s" * 256},
            422,
            "invalid_field",
            "session_id",
            '"session_id" must have at most 255 characters.',
        ),
        (
            {"metadata": {"a": "é" * 16_384}},
            422,
            "invalid_field",
            "metadata",
            '"metadata" must have at most 16,384 characters as JSON.',
        ),
        ({"metadata": 3}, 422, "invalid_field", "metadata", '"metadata" must be an object of names and values.'),
        ({"output_only": 1}, 422, "invalid_field", "output_only", '"output_only" must be true or false.'),
        (
            {"wait_for_completion": "no"},
            422,
            "invalid_field",
            "wait_for_completion",
            '"wait_for_completion" must be true or false.',
        ),
        ({"callback_url": "http://x"}, 422, "unsupported_field", "callback_url", '"callback_url" is not supported.'),
        ({"subscribe_task": True}, 422, "unsupported_field", "subscribe_task", '"subscribe_task" is not supported.'),
        (
            {"output_only": True, "wait_for_completion": False},
            400,
            "output_only_async",
            "output_only",
            '"output_only" needs the finished run, and "wait_for_completion": false does not wait for it.',
        ),
        ({"seed": "warm"}, 422, "invalid_field", "seed", "\"seed\" must be a whole number, not 'warm'."),
        (
            {"history": [{"role": "system", "content": "x"}]},
            422,
            "invalid_field",
            "history",
            '"history" must be a list of {"role": "user" or "assistant", "content": text}.',
        ),
    ],
)
def test_a_bad_body_is_refused_by_name(body: Any, status: int, code: str, field: str | None, sentence: str) -> None:
    with pytest.raises(ServiceError) as refused:
        parse_run_request(body)
    error = refused.value
    assert (error.status, error.code, error.field, error.message) == (status, code, field, sentence)


@pytest.mark.parametrize(
    "turn", [1, {}, {"role": "user"}, {"role": "user", "content": 1}, {"role": "user", "content": "x", "name": "y"}]
)
def test_history_takes_turns_of_role_and_text_only(turn: Any) -> None:
    with pytest.raises(ServiceError, match="history"):
        parse_run_request({"history": [turn]})


def test_a_misspelled_key_gets_a_suggestion() -> None:
    with pytest.raises(ServiceError) as refused:
        parse_run_request({"output-onyl": True})
    assert refused.value.hint == 'Did you mean "output_only"?'


def test_an_input_outside_of_input_is_sent_where_it_belongs() -> None:
    with pytest.raises(ServiceError) as refused:
        parse_run_request({"question": "x"})
    assert refused.value.hint == 'The workflow\'s own inputs belong into "input": {"input": {"question": ...}}.'


def test_an_answer_leaves_out_what_is_null() -> None:
    run = Run("T", "chat", "R", kept=False)
    assert run.to_json() == {"task_id": "T", "status": "pending", "workflow_id": "chat"}


def test_a_failed_run_carries_error_and_request_id() -> None:
    run = Run("T", "chat", "R", kept=False)
    run.fail(ServiceError(503, "not_ready", "Not yet.", retry_after_s=3))
    assert run.to_json() == {
        "task_id": "T",
        "status": "failed",
        "workflow_id": "chat",
        "error": {"code": "not_ready", "message": "Not yet.", "request_id": "R"},
    }
    assert (run.error_status, run.retry_after_s) == (503, 3)


def test_task_ids_are_ulids_that_cannot_be_guessed_from_their_neighbours() -> None:
    ids = [new_task_id() for _ in range(100)]
    assert {len(task_id) for task_id in ids} == {26}
    assert len({task_id[10:18] for task_id in ids}) > 90


def test_only_final_states_are_finished() -> None:
    assert [status for status in RunStatus if status.finished] == ["completed", "failed", "cancelled"]
