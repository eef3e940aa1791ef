"""Who is measured: how each server is started on the model, and what it is asked as."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import incumbent
from benchmarks.peers import environments
from benchmarks.peers.dialects import Dialect
from benchmarks.peers.load import Cell, RefusedError, measure
from tests.net import free_port

REPOSITORY = Path(__file__).parents[2]
START_S = 300


@dataclass(frozen=True)
class Place:
    """What a server is started with. programs: its environment's `bin`. folder: an empty one of its own."""

    programs: Path
    model: Path
    port: int
    folder: Path


@dataclass(frozen=True)
class Server:
    """A process that serves the model. environment: a name of `environments`; None: this one."""

    name: str
    environment: str | None
    command: Callable[[Place], list[str | Path]]

    def programs(self) -> Path | None:
        """None while its environment is not there."""
        if self.environment is None:
            return Path(sys.executable).parent
        found = environments.find(self.environment)
        return found and found / "bin"


@dataclass(frozen=True)
class Contestant:
    """One row of the tables.

    model: what the server calls it. exact: it computes in float32, so its greedy answers must be those of `generate()`.
    streams: it is asked for its text as it comes. samples: it takes sampling with each request. brief: it is only asked
    greedily and for short prompts, because it does as the incumbent does and takes as long. most_clients: more clients
    than that would only wait for each other, by its design. serial: it answers one after the other, however many ask.
    """

    name: str
    server: Server
    dialect: Dialect
    model: str = ""
    exact: bool = True
    streams: bool = False
    samples: bool = True
    brief: bool = False
    most_clients: int = 32
    serial: bool = False


@dataclass(frozen=True)
class Running:
    """A contestant whose server listens."""

    contestant: Contestant
    port: int
    model: str
    process: "subprocess.Popen[bytes]"

    def cell(self, **asked: Any) -> Cell:
        return Cell(self.contestant.dialect, self.port, self.model, **asked)


def compose_file(model: Path, controller: Mapping[str, Any], components: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON, which is YAML, in what is common to both dialects: for each component a workflow that is greedy, and one
    that samples."""
    asked = {"prompt": "${input.prompt}", "max_output_length": "${input.tokens as integer}"}
    greedy = {"id": "greedy", **asked, "params": {"do_sample": False}}
    sampled = {"id": "sampled", **asked, "params": {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9}}
    return json.dumps(
        {
            "controller": controller,
            "components": [
                {
                    "id": name,
                    "type": "model",
                    "task": "text-generation",
                    "model": str(model),
                    **settings,
                    "actions": [greedy, sampled],
                }
                for name, settings in components.items()
            ],
            "workflows": [
                {"id": name + suffix, "job": {"component": name, "action": action, "input": "${input}"}}
                for name in components
                for suffix, action in (("", "greedy"), ("-sampled", "sampled"))
            ],
        },
        indent=2,
    )


def _ours(place: Place) -> list[str | Path]:
    components = {
        "fp32": {"precision": "float32"},
        "bf16": {"precision": "bfloat16"},
        "int8": {"precision": "float32", "quantization": "int8"},
    }
    controller = {"adapter": {"type": "http-server", "port": place.port}}
    return _up(place, compose_file(place.model, controller, components))


def _incumbent(place: Place) -> list[str | Path]:
    controller = {"adapters": [{"type": "http-server", "port": place.port, "base_path": "/api"}]}
    return _up(place, compose_file(place.model, controller, {"fp32": {"precision": "float32"}}))


def _up(place: Place, file: str) -> list[str | Path]:
    (place.folder / "model-compose.yml").write_text(file, encoding="utf-8")
    return [place.programs / "model-compose", "up"]


def _transformers(place: Place) -> list[str | Path]:
    sizes = ["--cb-num-blocks", "256", "--cb-max-batch-tokens", "2048"]
    options = ["--continuous-batching", "--device", "cpu", "--dtype", "float32", *sizes]
    return [place.programs / "transformers", "serve", place.model, *options, "--port", str(place.port)]


def _litserve(place: Place) -> list[str | Path]:
    return _script(place, place.programs / "python", "-m", "benchmarks.peers.servers.with_litserve", str(place.port))


def _bentoml(service: str) -> Callable[[Place], list[str | Path]]:
    def command(place: Place) -> list[str | Path]:
        name = f"benchmarks.peers.servers.with_bentoml:{service}"
        return _script(place, place.programs / "bentoml", "serve", name, "--port", str(place.port))

    return command


def _llama_cpp(place: Place) -> list[str | Path]:
    return _script(place, place.programs / "python", "-m", "benchmarks.peers.servers.with_llama_cpp", str(place.port))


def _script(place: Place, *command: str | Path) -> list[str | Path]:
    """A server of ours, which imports its neighbours from the repository."""
    return ["env", f"PYTHONPATH={REPOSITORY}", f"MODEL={place.model}", *command]


OURS = Server("ours", None, _ours)
LLAMA_CPP = Server("llama.cpp", "llama-cpp", _llama_cpp)
BASE = "incumbent"
"""Whose figures the ratios are to."""
CONTESTANTS = (
    Contestant("ours, fp32", OURS, "compose", "fp32", streams=True),
    Contestant("ours, bf16", OURS, "compose", "bf16", exact=False, streams=True),
    Contestant("ours, int8", OURS, "compose", "int8", exact=False, streams=True),
    Contestant(BASE, Server(BASE, "incumbent", _incumbent), "compose", "fp32", serial=True),
    Contestant(
        "BentoML, one at a time",
        Server("BentoML serial", "bentoml", _bentoml("Serial")),
        "predict",
        brief=True,
        serial=True,
    ),
    Contestant(
        "BentoML, adaptive batches", Server("BentoML adaptive", "bentoml", _bentoml("Adaptive")), "predict-batch"
    ),
    Contestant("LitServe, batches of 32", Server("LitServe", "litserve", _litserve), "predict"),
    Contestant(
        "transformers serve, continuous",
        Server("transformers serve", "transformers", _transformers),
        "completions",
        streams=True,
        samples=False,
    ),
    Contestant("llama.cpp in process, f32", LLAMA_CPP, "predict", "f32", most_clients=1),
    Contestant("llama.cpp in process, f16", LLAMA_CPP, "predict", "f16", exact=False, most_clients=1),
    Contestant("llama.cpp in process, q8_0", LLAMA_CPP, "predict", "q8_0", exact=False, most_clients=1),
)


@contextlib.contextmanager
def serving(model: Path, folder: Path, contestants: tuple[Contestant, ...] = CONTESTANTS) -> Iterator[list[Running]]:
    """All of them that answer; who has no environment or does not start is told and left out."""
    with contextlib.ExitStack() as stack:
        started: dict[str, Running] = {}
        found: list[Running] = []
        for contestant in contestants:
            server = contestant.server
            if (programs := server.programs()) is None:
                remedy = f"`python -m benchmarks.peers.environments {server.environment}` installs it"
                print(f"skipped: {contestant.name}; {remedy}", flush=True)
                continue
            if server.name not in started:
                place = Place(programs, model, free_port(), folder / server.name)
                started[server.name] = Running(contestant, place.port, "", stack.enter_context(_started(server, place)))
            first = started[server.name]
            found.append(Running(contestant, first.port, contestant.model or str(model), first.process))
        answering = []
        for running in found:
            try:
                _wait(running)
                answering.append(running)
            except RefusedError as error:
                print(f"skipped: {running.contestant.name} does not serve: {error}", flush=True)
        yield answering


@contextlib.contextmanager
def _started(server: Server, place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    place.folder.mkdir()
    environment = {
        **os.environ,
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(place.folder),
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{place.programs}{os.pathsep}{os.environ['PATH']}",
    }
    with (place.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            server.command(place),
            cwd=place.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        incumbent.stop(process)


def _wait(running: Running) -> None:
    """Until it has answered; raises RefusedError when it ends, or does not within START_S."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            measure(running.cell(kind="short", clients=1, tokens=2, seconds=0, first=0), timeout_s=60)
        except RefusedError as error:
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise RefusedError(f"{error} (ended with {running.process.poll()})") from None
            time.sleep(0.5)
        else:
            return
