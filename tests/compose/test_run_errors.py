"""What `run` says when the API refuses: a sentence, what to do at a terminal, and an exit code."""

import pytest

from compose.commands.runs import user_error
from infra.errors import ExitCode
from ui.client import ApiError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("error", "message", "hint", "exit_code"),
    [
        (
            ApiError(422, "missing_input", 'Input "topic" is required.', "Send it.", "topic"),
            'input "topic" is required',
            "give it with -i topic=TEXT",
            ExitCode.USAGE,
        ),
        (
            ApiError(503, "not_ready", "The model is not ready: loading.", "Try again later."),
            "the model is not ready: loading",
            "`model-compose ps` shows how far it is",
            ExitCode.FAILED,
        ),
        (
            ApiError(404, "unknown_workflow", 'There is no workflow "a".', 'Known: "b".'),
            'there is no workflow "a"',
            'known: "b"',
            ExitCode.USAGE,
        ),
        (ApiError(None, "timeout", "It took too long."), "it took too long", None, ExitCode.TIMEOUT),
        (ApiError(500, "internal", "Something failed."), "something failed", None, ExitCode.FAILED),
    ],
)
def test_a_refusal_is_told_as_the_terminal_does(
    error: ApiError, message: str, hint: str | None, exit_code: ExitCode
) -> None:
    told = user_error(error)
    assert (told.message, told.hint, told.exit_code) == (message, hint, exit_code)
