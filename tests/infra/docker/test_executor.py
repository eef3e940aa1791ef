"""What is changed in an engine, and what has to be known before."""

import socket
from dataclasses import replace

import pytest

from infra.docker.executor import TakenDown, make_room, take_down
from infra.docker.plan import Step
from infra.errors import ExitCode, UserError
from infra.unit import TcpAddress
from tests.infra.docker.fakes import CHAT, PROJECT, FakeEngine
from tests.net import free_port

pytestmark = pytest.mark.server

REPLACED = (Step("replace", "chat", "its image or its settings changed", ("id1",)),)


def engine_with_chat(*ports: int) -> FakeEngine:
    engine = FakeEngine(address="unix:///engine.sock")
    box = engine.boxes[engine.add(CHAT.config(PROJECT), CHAT.name(PROJECT))]
    box.running, box.ports = True, ports
    return engine


def test_nothing_is_ended_for_a_port_that_somebody_else_has() -> None:
    engine = engine_with_chat()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wanted = replace(CHAT, published=TcpAddress("127.0.0.1", listener.getsockname()[1]))
        with pytest.raises(UserError, match="is taken") as caught:
            make_room(engine, PROJECT, REPLACED, [wanted])
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert engine.calls == []


def test_a_port_of_a_container_that_goes_is_as_good_as_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        engine = engine_with_chat(port)
        make_room(engine, PROJECT, REPLACED, [replace(CHAT, published=TcpAddress("127.0.0.1", port))])
    assert engine.boxes == {}


def test_what_a_container_needs_is_made_around_it() -> None:
    engine = FakeEngine()
    router = replace(CHAT, volumes={"/runs": "runs"}, published=TcpAddress("127.0.0.1", free_port()))
    make_room(engine, PROJECT, [Step("start", "chat", "does not run yet")], [router])
    assert engine.calls == [
        ("make_volume", "demo-1-runs"),
        ("make_network", "demo-1-tasks"),
        ("make_network", "demo-1-front"),
    ]


def test_of_a_project_only_networks_stay_that_others_use() -> None:
    engine = engine_with_chat()
    engine.used_networks = ("demo-1-front",)
    assert take_down(engine, PROJECT) == TakenDown(("chat",), ("demo-1-front",))
    assert engine.boxes == {}
