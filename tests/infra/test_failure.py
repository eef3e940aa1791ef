"""What a service's end says about it."""

import os
import signal
from dataclasses import replace

import pytest

from infra.errors import ExitCode
from infra.failure import Failure, ended
from infra.unit import Unit, UnixAddress

pytestmark = pytest.mark.unit

CHAT = Unit(name="chat", kind="task", module="", settings="", address=UnixAddress(""), ready_path="/readyz")


@pytest.mark.parametrize(
    "line",
    [
        "the model does not fit its task",
        '{"time":"2026-01-01T00:00:00.000+00:00","level":"error","message":"the model does not fit its task"}',
    ],
)
def test_the_last_line_of_a_hopeless_service_is_the_reason_in_either_format(line: str) -> None:
    assert ended(CHAT, os.EX_CONFIG, ["earlier", line], "anybody") == Failure(
        "the model does not fit its task", exit_code=ExitCode.FILE
    )


@pytest.mark.parametrize("line", ["{", "[1]", '{"no": "message"}', "3"])
def test_a_line_that_is_no_log_line_of_ours_is_taken_as_it_is(line: str) -> None:
    assert ended(CHAT, os.EX_CONFIG, [line], "anybody").message == line


def test_without_a_reason_the_status_or_signal_is_named() -> None:
    assert ended(CHAT, 3, ["last words"], "anybody").message == "chat ended with exit status 3"
    assert ended(CHAT, -signal.SIGTERM, [], "system").message == "chat was ended by SIGTERM"


@pytest.mark.parametrize("limited", [False, True])
def test_a_killed_service_has_most_likely_run_out_of_what_it_may_use(limited: bool) -> None:
    failure = ended(replace(CHAT, memory_limited=limited), -signal.SIGKILL, [], "system")
    assert failure.message.startswith("chat was killed by the system, most likely because memory ran out")
    assert failure.message.endswith(": it may use no more than its `resources.memory`") == limited
    assert (failure.hint or "").startswith("raise it" if limited else "give it more memory")


def test_memory_is_not_blamed_for_what_somebody_did() -> None:
    limited = replace(CHAT, memory_limited=True)
    assert ended(limited, -signal.SIGKILL, [], "anybody") == Failure("chat was ended by SIGKILL")
    assert ended(limited, -signal.SIGKILL, [], "remover") == Failure("chat was killed: somebody removed its container")
