"""What clients are told of a task that keeps crashing: the real router in front of a task that is a fake."""

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compose.commands.runs import only_what_is_needed
from compose.plan import make_plan
from infra.folder import RunFolder
from infra.net import address_text
from infra.processes import bind
from infra.supervisor import supervise
from infra.unit import Unit
from tests.compose.loading import load, observe
from tests.infra.rig import Recorder, fake_unit

pytestmark = pytest.mark.server

FILE = "component: {id: chat, type: model, task: chat-completion, model: ./model}\n"


def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def crashing(unit: Unit, sockets: Path) -> Unit:
    """In place of the model's task."""
    return fake_unit(unit.name, sockets, exit=3, print=["no such layer"]) if unit.kind == "task" else unit


async def test_a_crash_loop_is_given_up_and_answered_with_503_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.restart.FIRST_DELAY_S", 0.01)
    loaded = only_what_is_needed(load(tmp_path, FILE), None)
    folder, sockets = RunFolder(tmp_path / ".model-compose"), tmp_path / "s"
    folder.make()
    sockets.mkdir()
    plan = make_plan(loaded, replace(observe(loaded), directory=tmp_path, socket_directory=sockets))
    units = [crashing(unit, sockets) for unit in plan.units]
    async with supervise(units, bind(units), folder, Recorder()) as supervisor:
        await supervisor.settled()
        chat = supervisor.services["chat"].snapshot()
        assert (chat.state, chat.restarts, chat.last_lines[-1]) == ("failed", 4, "no such layer")
        url = address_text(supervisor.services["router"].address) + "/api"
        reason = "chat ended with exit status 3, 5 times in a row"
        async with asyncio.timeout(20):
            while reason not in folder.stages.read_text():  # noqa: ASYNC110  # a file tells nobody that it has changed
                await asyncio.sleep(0.01)
        status, answer = await asyncio.to_thread(post, url + "/workflows/runs", {"input": {"user_prompt": "Hi"}})
        ready = await asyncio.to_thread(get, url + "/ready")
    assert (status, answer["error"]["code"]) == (503, "not_ready")
    assert answer["error"]["message"] == f'The service "chat" is not ready: failed: {reason}.'
    assert ready == {"status": "failed", "components": {"chat": {"stage": "failed", "message": reason}}}
