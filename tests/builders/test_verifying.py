"""What an image is asked before it counts as built, and what is made of the answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builders.code import ImageKind
from builders.images.layout import Image, ImageConfig
from builders.spec import BuildSpec, Built
from builders.verifying import FIELDS, UnsoundImage, Verdict, container_config, question, verify
from builders.weights import Resolved
from infra.docker.engine import Found
from infra.docker.errors import EngineError
from services.catalog import TASKS
from services.withheld import withhold

pytestmark = pytest.mark.unit

ENTRYPOINT = ("python3", "-P", "-m", "services.entry", "/opt/model-compose/task.json")


def _built(kind: ImageKind = "task", settings: str = '{"task": "text-classification"}', gpu: bool = False) -> Built:
    model = Resolved(Path("/models/one"), revision=None, config={}) if kind == "task" else None
    spec = BuildSpec(name="task-one", repository="shop/task-one", kind=kind, settings=settings, model=model, gpu=gpu)
    image = Image.of(ImageConfig(entrypoint=ENTRYPOINT), [])
    return Built(spec=spec, reference="shop/task-one:latest", image=image, layers=())


@dataclass
class FakeEngine:
    """Prints what it is told to, and remembers what it was asked for."""

    printed: bytes = b""
    refusal: EngineError | None = None
    left: list[Found] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def containers(self, project: str) -> list[Found]:
        return self.left

    def create(self, service: str, name: str, config: dict[str, Any]) -> str:
        self.calls.append(("create", config["Image"]))
        return "new"

    def start(self, service: str, container: str) -> None:
        self.calls.append(("start", container))
        if self.refusal:
            raise self.refusal

    def output(self, container: str, since: float | None) -> Iterator[bytes]:
        yield from (self.printed[:40], self.printed[40:])

    def remove(self, container: str) -> None:
        self.calls.append(("remove", container))


def _said(**values: Any) -> bytes:
    return f"\n{json.dumps({'model-compose-trial': values})}\n".encode()


def _verify(engine: FakeEngine, built: Built) -> Verdict:
    return verify(engine, built, "sha256:1")  # type: ignore[arg-type]  # as much of an engine as it takes


def test_every_task_is_asked_something_that_it_reads() -> None:
    assert set(FIELDS) == set(TASKS)
    for name, fields in FIELDS.items():
        for key, value in fields.items():
            known = TASKS[name].field(key)
            assert known is not None
            assert known.coerce(value) == value


def test_a_task_is_sent_a_request_as_the_router_sends_them() -> None:
    asked = question(_built().spec)
    assert (asked.method, asked.path, asked.status) == ("POST", "/predict", 200)
    assert json.loads(asked.body or "") == {
        "request_id": "build",
        "fields": {"text": "Hello, how are you?"},
        "seed": 0,
        "stream": False,
    }


def test_a_router_is_asked_for_its_workflows_with_what_stands_in_for_its_token() -> None:
    open_router = _built("router", '{"base_path": "/v9/"}').spec
    guarded = _built("router", withhold({"auth_token": "secret"}, {"auth_token": "API_TOKEN"}))
    assert question(open_router).path == "/v9/workflows"
    assert question(guarded.spec).headers == {"Authorization": "Bearer none"}
    assert container_config(guarded, "sha256:1")["Env"] == ["API_TOKEN=none"]


def test_the_container_has_no_network_no_rights_and_nothing_to_write_to() -> None:
    config = container_config(_built(), "sha256:1")
    asked = json.loads(config["Cmd"][0])
    assert asked["command"] == list(ENTRYPOINT)
    assert asked["port"] == 3000
    assert config["User"] == "10001:10001"
    host = config["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"]) == ("none", True)
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert set(host["Tmpfs"]) == {"/tmp", "/var/lib/model-compose"}


def test_a_sound_image_is_tried_and_its_container_removed() -> None:
    engine = FakeEngine(b"loading\n" + _said(ready_s=1.5, status=200, type="done"))
    assert _verify(engine, _built()) == Verdict(ready_s=1.5)
    assert engine.calls == [("create", "sha256:1"), ("start", "new"), ("remove", "new")]


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b"", "it was ended from outside, or lacks python3"),
        (_said(problem="ended with exit status 78"), "it ended with exit status 78"),
        (
            _said(ready_s=1, status=500, error={"message": "It failed."}),
            "it answered POST /predict with status 500: It failed.",
        ),
        (
            _said(ready_s=1, status=200, type="error", error={"message": "Too long."}),
            "it did not finish its answer: Too long.",
        ),
        (_said(ready_s=1, status=200), "it did not finish its answer"),
    ],
    ids=["silent", "ended", "refused", "failed", "no answer"],
)
def test_an_image_that_does_not_work_is_refused_with_its_last_lines(printed: bytes, message: str) -> None:
    engine = FakeEngine(b"".join(b"line %d\n" % number for number in range(30)) + printed)
    with pytest.raises(UnsoundImage) as caught:
        _verify(engine, _built())
    assert caught.value.message == f"the image of task-one does not work: {message}"
    assert caught.value.lines == tuple(f"line {number}" for number in range(10, 30))
    assert engine.calls[-1] == ("remove", "new")


def test_an_image_for_a_gpu_is_left_untried_where_there_is_none() -> None:
    refusal = EngineError("the Docker engine gives containers no GPU", "install one")
    assert _verify(FakeEngine(refusal=refusal), _built(gpu=True)) == Verdict(untried=refusal.message)
    with pytest.raises(EngineError):
        _verify(FakeEngine(refusal=refusal), _built())


def test_a_router_with_a_database_elsewhere_is_left_untried() -> None:
    settings = withhold({"database": {"url": "postgresql://x"}}, {"database.url": "DATABASE_URL"})
    engine = FakeEngine()
    assert _verify(engine, _built("router", settings)).untried is not None
    assert engine.calls == []


def test_what_a_killed_build_left_is_removed_and_what_another_one_reads_is_not() -> None:
    known: dict[str, Any] = {"service": "task-one", "kind": "task", "digest": ""}
    left = [
        Found(id="new", running=False, created_s=100_000, **known),
        Found(id="read by another build", running=False, created_s=99_300, **known),
        Found(id="old", running=False, created_s=99_000, **known),
        Found(id="busy", running=True, created_s=99_000, **known),
    ]
    engine = FakeEngine(_said(ready_s=1, status=200, type="done"), left=left)
    _verify(engine, _built())
    assert engine.calls == [
        ("create", "sha256:1"),
        ("remove", "old"),
        ("start", "new"),
        ("remove", "new"),
    ]
