"""Proves that an image works before anybody relies on it: starts it with nothing but itself, and asks one thing."""

import json
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from builders import trial
from builders.container import PORTS, STATE, USER
from builders.spec import BuildSpec, Built
from infra.docker.container import PROCESSES, TMPFS
from infra.docker.engine import PROJECT_LABEL, SERVICE_LABEL, Engine
from infra.docker.errors import EngineError
from infra.errors import ExitCode, UserError
from infra.logs import LineSplitter
from services.wire import PREDICT_PATH, TaskRequest, encode_text
from services.withheld import withheld

_READY_S: Final = 600.0
_ANSWER_S: Final = 120.0
_LONGEST_S: Final = _READY_S + _ANSWER_S + 180.0
"""From the making of a container on trial until nobody reads it any more."""
_SHOWN_LINES: Final = 20

_PROJECT: Final = "model-compose-trial"
"""What the containers belong to; a real project's name ends in a digest."""
_STATE: Final = {STATE: f"size=64m,uid={USER.partition(':')[0]},mode=0700"}
"""Where a router keeps its runs."""
_STAND_IN: Final = "none"
"""In place of each secret that an image leaves to its environment."""

_TEXT: Final = "Hello, how are you?"
_SHORT: Final = {"min_output_length": 0, "max_output_length": 4}
FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat-completion": {"messages": [{"role": "user", "content": _TEXT}], **_SHORT},
    "text-generation": {"prompt": _TEXT, **_SHORT},
    "text-to-text": {"text": _TEXT, **_SHORT},
    "summarization": {"text": _TEXT, **_SHORT},
    "translation": {"text": _TEXT, **_SHORT},
    "text-embedding": {"text": _TEXT, "pooling": "mean"},
    "text-classification": {"text": _TEXT},
    "text-reranking": {"query": _TEXT, "documents": ["I am fine, thank you.", "It rains."]},
}
"""What each task is asked."""


class UnsoundImage(UserError):  # noqa: N818 - says what is wrong
    """An image that does not work. lines: the last ones that its container printed."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        hint = "these are its last lines" if lines else "it printed nothing"
        super().__init__(message, hint=f"{hint}; --no-verify builds without this trial", exit_code=ExitCode.FAILED)
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Verdict:
    """ready_s: seconds from the start of the image's command until it was ready. untried: why there was no trial."""

    ready_s: float | None = None
    untried: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and the status that a sound service answers it with. body: JSON text."""

    method: str
    path: str
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


def verify(engine: Engine, built: Built, image_id: str) -> Verdict:
    """Try an image that the engine has under this id. Raises UnsoundImage, and EngineError.

    Its container has no network, no rights and no way to get any, and nothing to write to but memory. It ends by
    itself, also when this process is killed; what such a process left behind is removed here.
    """
    spec = built.spec
    if "database.url" in withheld(spec.settings):
        return Verdict(untried="its database is elsewhere, and a trial has no network")
    container = engine.create(spec.name, f"{_PROJECT}-{secrets.token_hex(4)}", container_config(built, image_id))
    try:
        _tidy(engine)
        engine.start(spec.name, container)
        said, lines = _heard(engine.output(container, since=None))
    except EngineError as error:
        if spec.gpu and not error.transient:
            return Verdict(untried=error.message)
        raise
    finally:
        engine.remove(container)
    return Verdict(ready_s=judge(spec, said, lines))


def _tidy(engine: Engine) -> None:
    """Remove what killed builds left. A younger container may be another build's, which reads its end just now.

    The newest one tells what time it is on the engine's machine: it was made a moment ago.
    """
    trials = engine.containers(_PROJECT)
    now_s = max((found.created_s for found in trials), default=0.0)
    for found in trials:
        if not found.running and found.created_s < now_s - _LONGEST_S:
            engine.remove(found.id)


def question(spec: BuildSpec) -> Question:
    """What a service of this kind is asked. Router and page are alone: no task and no router answers them."""
    settings = json.loads(spec.settings)
    if spec.kind == "task":
        request = TaskRequest("build", dict(FIELDS[settings["task"]]), seed=0, stream=False)
        return Question("POST", PREDICT_PATH, encode_text(request.to_json()), {"Content-Type": "application/json"})
    if spec.kind == "page":
        return Question("GET", "/", status=503)  # it says that it waits
    path = f"{settings.get('base_path', '/api').rstrip('/')}/workflows"
    token = {"Authorization": f"Bearer {_STAND_IN}"} if "auth_token" in withheld(spec.settings) else {}
    return Question("GET", path, headers=token)


def container_config(built: Built, image_id: str) -> dict[str, Any]:
    """The container of a trial, as the engine's API takes it."""
    spec = built.spec
    asked = {**asdict(question(spec)), "port": PORTS[spec.kind], "ready_s": _READY_S, "answer_s": _ANSWER_S}
    command = json.loads(built.image.config)["config"]["Entrypoint"]
    program = Path(trial.__file__).read_text(encoding="utf-8")
    return {
        "Image": image_id,
        "Entrypoint": ["python3", "-P", "-c", program],
        "Cmd": [json.dumps({**asked, "command": command})],
        "Env": [f"{name}={_STAND_IN}" for name in withheld(spec.settings).values()],
        "Labels": {PROJECT_LABEL: _PROJECT, SERVICE_LABEL: spec.name},
        "User": USER,
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {**TMPFS, **_STATE},
            "PidsLimit": PROCESSES,
            "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}] if spec.gpu else [],
        },
    }


def judge(spec: BuildSpec, said: Mapping[str, Any] | None, lines: Sequence[str]) -> float:
    """Seconds until it was ready. said: what the trial ended in, None for nothing. Raises UnsoundImage."""
    asked = question(spec)
    if said is None:
        problem = "was ended from outside, or lacks python3"
    elif "problem" in said:
        problem = said["problem"]
    elif said["status"] != asked.status:
        problem = f"answered {asked.method} {asked.path} with status {said['status']}"
    elif spec.kind == "task" and said.get("type") != "done":
        problem = "did not finish its answer"
    else:
        return float(said["ready_s"])
    reason = ((said or {}).get("error") or {}).get("message")
    raise UnsoundImage(f"the image of {spec.name} does not work: it {problem}{f': {reason}' if reason else ''}", lines)


def _heard(output: Iterable[bytes]) -> tuple[Mapping[str, Any] | None, Sequence[str]]:
    """What a trial ended in, and the last lines that the service printed."""
    said = None
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    for line in _lines(output):
        told = _told(line)
        said = told or said
        if line and told is None:
            lines.append(line)
    return said, tuple(lines)


def _lines(output: Iterable[bytes]) -> Iterator[str]:
    splitter = LineSplitter()
    for piece in output:
        yield from splitter.feed(piece)
    yield from splitter.close()


def _told(line: str) -> Mapping[str, Any] | None:
    """What a line of the trial's own says; None for any other line."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    told: Mapping[str, Any] | None = value.get(trial.MARK) if isinstance(value, dict) else None
    return told
