"""Every failure of an engine has a sentence and a next command of its own."""

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from infra.docker.engine import Engine, State, connect
from infra.docker.errors import EngineError, refused, unreachable
from infra.docker.life import exit_status
from infra.errors import ExitCode
from infra.net import make_socket_directory

pytestmark = pytest.mark.server

Answers = dict[str, tuple[int, object]]
"""Status and body by the end of a path."""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = make_socket_directory()
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


class FakeEngine(ThreadingMixIn, UnixStreamServer):
    """Answers on a socket as it is told."""

    daemon_threads = True

    def __init__(self, path: Path, answers: Answers) -> None:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                found = (answer for end, answer in answers.items() if self.path.partition("?")[0].endswith(end))
                status, body = next(found, (404, {"message": "page not found"}))
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = answer

            def address_string(self) -> str:
                return "client"

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(str(path), Handler)
        self.address = f"unix://{path}"


@pytest.fixture
def make_engine(folder: Path) -> Iterator[Callable[[Answers], dict[str, str]]]:
    """Starts a fake engine; returns the environment that names it."""
    engines: list[FakeEngine] = []

    def make(answers: Answers) -> dict[str, str]:
        engine = FakeEngine(folder / "engine.sock", answers)
        threading.Thread(target=engine.serve_forever, args=(0.01,), daemon=True).start()
        engines.append(engine)
        return {"DOCKER_HOST": engine.address}

    yield make
    for engine in engines:
        engine.shutdown()
        engine.server_close()


VERSION: Answers = {"/version": (200, {"ApiVersion": "1.41", "Version": "20.10.24"})}


def failure(environ: dict[str, str]) -> tuple[str, str | None, bool]:
    with pytest.raises(EngineError) as caught:
        connect(environ)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    return caught.value.message, caught.value.hint, caught.value.transient


def test_where_docker_is_not_installed_it_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    address = f"unix://{folder}/none.sock"
    assert failure({"DOCKER_HOST": address}) == (
        f"there is no Docker engine: nothing is at {address}",
        "install Docker, or let DOCKER_HOST name an engine",
        False,
    )


def test_an_engine_that_does_not_run_is_told_from_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/docker")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "left.sock"))
    for name in ("none.sock", "left.sock"):
        address = f"unix://{folder}/{name}"
        assert failure({"DOCKER_HOST": address}) == (
            f"the Docker engine is not running: nobody answers at {address}",
            "start it with `sudo systemctl start docker` or Docker Desktop",
            True,
        )


def test_a_missing_permission_names_the_group() -> None:
    error = unreachable("unix:///var/run/docker.sock", PermissionError(errno.EACCES, "Permission denied"))
    assert error.message == "you may not use the Docker engine at unix:///var/run/docker.sock: permission denied"
    assert error.hint == "join its group with `sudo usermod --append --groups docker $USER` and log in again"


def test_an_old_engine_is_told_its_version(make_engine: Callable[[Answers], dict[str, str]]) -> None:
    environ = make_engine({"/version": (200, {"ApiVersion": "1.40", "Version": "19.03.15"})})
    assert failure(environ)[:2] == (
        "the Docker engine is too old: it is 19.03.15, and 20.10 or newer is needed",
        "update Docker",
    )


@pytest.mark.parametrize("body", [{}, [], {"ApiVersion": "x"}, {"ApiVersion": None, "Version": 3}])
def test_what_is_no_engine_is_no_engine(make_engine: Callable[[Answers], dict[str, str]], body: object) -> None:
    message, hint, _ = failure(make_engine({"/version": (200, body)}))
    assert message.endswith("cannot be reached")
    assert hint == "check DOCKER_HOST and the network"


@pytest.mark.parametrize("address", ["bogus", "tcp://127.0.0.1:1:1", "ftp://x", "unix://", "tcp://127.0.0.1:1"])
def test_a_wrong_address_is_a_sentence(address: str) -> None:
    assert failure({"DOCKER_HOST": address})[0].startswith(("the Docker engine", "there is no Docker engine"))


@pytest.mark.parametrize(
    ("said", "message", "command"),
    [
        ("write /var/lib/docker/x: no space left on device", "the Docker engine's disk is full", "docker system df"),
        ('could not select device driver "" with capabilities: [[gpu]]', "gives containers no GPU", "nvidia-container"),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "no addresses left for another network",
            "docker network prune",
        ),
        ("Bind for 127.0.0.1:80 failed: port is already allocated", "port that the file names is taken", "in the file"),
        ('The container name "/x" is already in use by container "y"', "none of ours", "docker rm"),
        ("range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "fewer processors", "less `cpu`"),
        ("something\nnew", "could not start chat: something new", "log"),
        ("", "it does not say why", "log"),
    ],
)
def test_what_an_engine_refuses_is_told_in_our_words(
    make_engine: Callable[[Answers], dict[str, str]], said: str, message: str, command: str
) -> None:
    engine = connect(make_engine({**VERSION, "/start": (500, {"message": said})}))
    with pytest.raises(EngineError) as caught:
        engine.start("chat", "1" * 64)
    engine.close()
    assert message in caught.value.message
    assert "start chat" in caught.value.message
    assert command in (caught.value.hint or "")
    assert "http" not in caught.value.message


def test_an_image_that_is_not_there_is_named(make_engine: Callable[[Answers], dict[str, str]]) -> None:
    engine = connect(make_engine({**VERSION, "/json": (404, {"message": "No such image: a/b:latest"})}))
    with pytest.raises(EngineError) as caught:
        engine.images.id("a/b:latest")
    engine.close()
    assert caught.value.message == "the image a/b:latest is not in the Docker engine"
    assert caught.value.hint == "`model-compose build` makes it"


@pytest.mark.parametrize("gone", [(200, {"StatusCode": 137}), (404, {"message": "No such container"})])
def test_a_container_that_somebody_else_removes_is_waited_for(
    make_engine: Callable[[Answers], dict[str, str]], gone: tuple[int, object]
) -> None:
    removing = (409, {"message": f"removal of container {'1' * 64} is already in progress"})
    answers = {**VERSION, "/wait": gone, "1" * 64: removing}
    engine = connect(make_engine(answers))
    engine.remove("1" * 64)
    answers["/wait"] = (500, {"message": "it stays"})
    with pytest.raises(EngineError):
        engine.remove("1" * 64)
    engine.close()


def test_a_signal_that_does_not_come_through_is_told(make_engine: Callable[[Answers], dict[str, str]]) -> None:
    answers = {**VERSION, "/kill": (409, {"message": "container is not running"})}
    engine = connect(make_engine(answers))
    engine.signal("1" * 64, "SIGKILL")
    answers["/kill"] = (500, {"message": "tried to kill container, but did not receive an exit event"})
    with pytest.raises(EngineError, match="signal a container"):
        engine.signal("1" * 64, "SIGKILL")
    engine.close()


@pytest.mark.parametrize("gone", [(404, {"message": "No such container"}), (409, {"message": "it has ended"})])
def test_a_container_that_is_gone_is_stopped(
    make_engine: Callable[[Answers], dict[str, str]], gone: tuple[int, object]
) -> None:
    answers = {**VERSION, "/json": gone}
    engine = connect(make_engine(answers))
    engine.stop("chat", "1" * 64)
    answers |= {"/json": (200, {"Config": {}}), "/stop": gone}
    engine.stop("chat", "1" * 64)
    answers["/stop"] = (500, {"message": "no"})
    with pytest.raises(EngineError, match="stop chat"):
        engine.stop("chat", "1" * 64)
    engine.close()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("unix:///run/docker.sock", None),
        ("tcp://box:2375", "box"),
        ("ssh://me@box", "box"),
        ("npipe:////./x", None),
    ],
)
def test_the_machine_of_an_engine_is_known_by_its_address(address: str, host: str | None) -> None:
    assert Engine(None, address).host == host


def test_a_network_that_somebody_else_uses_stays(make_engine: Callable[[Answers], dict[str, str]]) -> None:
    listed = [{"Name": "demo-front", "Id": "f" * 64}, {"Name": "demo-tasks", "Id": "7" * 64}]
    answers = {
        **VERSION,
        "/networks": (200, listed),
        "f" * 64: (403, {"message": "error while removing network: network demo-front has active endpoints"}),
        "7" * 64: (404, {"message": "network not found"}),
    }
    engine = connect(make_engine(answers))
    assert engine.remove_networks("demo") == ("demo-front",)
    answers["f" * 64] = (500, {"message": "no"})
    with pytest.raises(EngineError):
        engine.remove_networks("demo")
    engine.close()


@pytest.mark.parametrize(
    ("said", "passes"),
    [("address already in use", True), ('"/x" is already in use by container "y"', True), ("no space left on", False)],
)
def test_what_others_hold_may_be_free_the_next_time(said: str, passes: bool) -> None:
    assert refused("start chat", said).transient is passes


def test_a_long_reason_is_cut() -> None:
    assert len(refused("start chat", "x" * 5000).message) < 300


@pytest.mark.parametrize(
    ("code", "out_of_memory", "status"),
    [
        (0, False, 0),
        (78, False, 78),
        (137, False, -9),
        (143, False, -15),
        (255, False, 255),
        (1, True, -9),
        (0, True, 0),
        (78, True, 78),
        (143, True, -15),
    ],
)
def test_an_exit_status_is_that_of_a_process(code: int, out_of_memory: bool, status: int) -> None:
    state = State(
        running=False,
        exit_code=code,
        out_of_memory=out_of_memory,
        pid=0,
        checked_at="",
        answer="",
    )
    assert exit_status(state) == status


def test_an_engine_says_whose_images_it_runs(make_engine: Callable[[Answers], dict[str, str]]) -> None:
    version = {"ApiVersion": "1.41", "Version": "20.10.24", "Os": "linux", "Arch": "arm64"}
    engine = connect(make_engine({"/version": (200, version)}))
    assert engine.platform() == "linux/arm64"
    engine.close()


@pytest.mark.parametrize(
    "answer",
    [(200, []), (404, {"message": "No such image"}), (409, {"message": "container x is using it"})],
    ids=["removed", "absent", "in use"],
)
def test_an_image_loses_its_name_where_it_can(
    make_engine: Callable[[Answers], dict[str, str]], answer: tuple[int, object]
) -> None:
    engine = connect(make_engine({**VERSION, "/a/b:latest": answer}))
    engine.images.untag("a/b:latest")
    engine.close()
