"""Commands to a running supervisor, over the socket and in its own process."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from infra.control import Command, Outcome, listening, send
from infra.errors import ExitCode
from infra.processes import bind
from infra.supervisor import Supervisor, supervise
from infra.unit import Unit
from tests.infra.rig import Recorder, Run, fake_unit

pytestmark = pytest.mark.server


@asynccontextmanager
async def running(run: Run, recorder: Recorder, *units: Unit) -> AsyncIterator[Supervisor]:
    async with (
        supervise(units, bind(units), run.folder, recorder) as supervisor,
        listening(run.sockets, supervisor.carry_out),
    ):
        await supervisor.settled()
        yield supervisor


async def echo(command: Command) -> list[Outcome]:
    return [Outcome(service, command.verb == "stop", "stopped") for service in command.services]


async def test_a_command_is_answered_over_a_private_socket(run: Run) -> None:
    async with listening(run.sockets, echo):
        assert stat.S_IMODE((run.sockets / "control").stat().st_mode) == 0o600
        assert await send(run.sockets, Command("stop", ("a", "b"))) == [
            Outcome("a", True, "stopped"),
            Outcome("b", True, "stopped"),
        ]


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b"no json\n", b'{"verb": 1}\n', b"[]\n", b"\xff\n"])
async def test_what_is_no_command_gets_no_answer_and_does_no_harm(run: Run, line: bytes) -> None:
    async with listening(run.sockets, echo):
        reader, writer = await asyncio.open_unix_connection(str(run.sockets / "control"))
        writer.write(line)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert await send(run.sockets, Command("stop", ())) == []


async def test_where_nobody_listens_nothing_is_answered(run: Run) -> None:
    assert await send(run.sockets, Command("stop", ("a",))) is None


async def test_a_command_whose_sender_left_is_carried_out(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)):
        _, writer = await asyncio.open_unix_connection(str(run.sockets / "control"))
        writer.write(json.dumps({"verb": "stop", "services": ["chat"]}).encode() + b"\n")
        await writer.drain()
        writer.close()
        await recorder.until(lambda: recorder.history("chat")[-1] == "stopped")


async def test_unknown_names_are_passed_over(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)):
        assert await send(run.sockets, Command("stop", ("cat",))) == []


async def test_what_takes_requests_is_stopped_before_the_tasks_and_all_come_back(run: Run, recorder: Recorder) -> None:
    units = [fake_unit("chat", run.sockets), fake_unit("router", run.sockets, kind="router")]
    async with running(run, recorder, *units) as supervisor:
        outcomes: Sequence[Outcome] | None = await send(run.sockets, Command("restart", ("chat", "router")))
        assert outcomes == [Outcome("chat", True, "ready"), Outcome("router", True, "ready")]
        ends = [(state.name, state.state) for state in recorder.states if state.state in ("stopping", "stopped")]
        assert list(dict.fromkeys(ends))[:3] == [("router", "stopping"), ("router", "stopped"), ("chat", "stopping")]
        assert supervisor.exit_code == ExitCode.OK


async def test_a_start_that_is_stopped_meanwhile_ends_with_it(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets, import_s=0.5)) as supervisor:
        await supervisor.carry_out(Command("stop", ("chat",)))
        starting = asyncio.create_task(send(run.sockets, Command("start", ("chat",))))
        await recorder.until(lambda: recorder.history("chat")[-1] == "starting")
        assert await send(run.sockets, Command("stop", ("chat",))) == [Outcome("chat", True, "stopped")]
        assert await starting == [Outcome("chat", True, "stopped")]


async def test_two_restarts_at_once_make_one_new_process(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)):
        command = Command("restart", ("chat",))
        both = await asyncio.gather(send(run.sockets, command), send(run.sockets, command))
        assert [outcome.state for outcomes in both for outcome in outcomes or ()] == ["ready", "ready"]
        pids = {state.process.pid for state in recorder.states if state.process is not None}
        assert len(pids) == 2


async def test_nothing_is_started_once_everything_ends(run: Run, recorder: Recorder) -> None:
    async with running(run, recorder, fake_unit("chat", run.sockets)) as supervisor:
        pass
    assert await supervisor.carry_out(Command("start", ("chat",))) == [Outcome("chat", False, "stopped")]


async def test_a_failed_service_says_why_it_failed_again(run: Run, recorder: Recorder) -> None:
    unit = fake_unit("chat", run.sockets, exit=69, print=["there is no GPU"])
    async with running(run, recorder, unit):
        assert await send(run.sockets, Command("start", ("chat",))) == [
            Outcome("chat", True, "failed", "there is no GPU", None, ExitCode.ENVIRONMENT)
        ]
