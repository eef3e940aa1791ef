"""For any output that a file can map, the events of a stream join to the output of the same run."""

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.clients.client import OnDelta
from services.router.compiling import compile_graph
from services.router.doors.sse import Channel, send_events
from services.router.execution.engine import Engine
from services.router.messages import Run, RunRequest, RunStatus
from services.router.settings import RouterSettings
from services.wire import Delta, Done, Readiness, TaskRequest
from tests.services.router.rig import job, text, workflow

pytestmark = pytest.mark.unit

PIECES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
    | st.sampled_from(["\r", "\n", "\r\n", "\n\n", " ", ":", "data: x", '{"path":"a","delta":"b"}', "\u2028"]),
    max_size=6,
)
LEAVES = st.sampled_from(
    [
        "${output}",
        "${output as text}",
        "${output as markdown}",
        "${output as stream/text}",
        "${output | none}",
        "<${output}>",
        "${output[0]}",
        "${output[1]}",
        "${output[*]}",
        "${output.x}",
        "${output as json | x}",
        "${input.prompt}",
        "plain",
        "",
    ]
).filter(lambda leaf: "json" not in leaf)
KEYS = st.sampled_from(["a", "b", "a.b", "[0]", "", "a[0]", "ü", "x y"])
TREES = st.recursive(
    LEAVES | st.sampled_from([1, True, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
JOB_TREES = st.none() | TREES
ACTION_TREES = st.none() | TREES.map(lambda tree: json.loads(json.dumps(tree).replace("${output", "${result")))


class Scripted:
    """Answers every request with the same sequences, piece by piece."""

    def __init__(self, sequences: list[list[str]], many: bool) -> None:
        self.sequences = sequences if many else sequences[:1]
        self.many = many

    async def predict(self, _: TaskRequest, on_delta: OnDelta | None) -> Done:
        texts = ["".join(pieces) for pieces in self.sequences]
        longest = max(map(len, self.sequences))
        for place in range(longest if on_delta is not None else 0):
            for index, pieces in enumerate(self.sequences):
                if place < len(pieces) and on_delta is not None:
                    await on_delta(Delta(pieces[place], (index,) if self.many else ()))
        return Done(texts if self.many else texts[0])

    async def readiness(self) -> Readiness:
        return Readiness("ready")


async def run(task: Scripted, workflow_changes: dict[str, Any], streamed: bool) -> tuple[Any, str]:
    """The output and, of a streamed run, the bytes of its events."""
    action = workflow_changes.pop("action")
    jobs = [job("j", "c", **workflow_changes.pop("job"))]
    component = text("c", action={"fields": {"text": "${input.prompt}"}, "output": action})
    settings = RouterSettings(components=(component,), workflows=(workflow("w", *jobs, **workflow_changes),))
    engine = Engine(compile_graph(settings), {"c": task}, {})
    request = RunRequest(input={"prompt": "in"})
    compiled, _ = engine.check(request)
    channel, record = Channel(), Run("T", "w", "R", kept=False)
    body: list[bytes] = []

    async def send(message: Any) -> None:
        body.append(message.get("body", b""))

    sending = asyncio.create_task(send_events(send, channel, record)) if streamed else None
    outcome = await engine.execute(compiled, request, record, channel.put if streamed else None)
    record.output, record.status = outcome.output, RunStatus.COMPLETED
    channel.end()
    if sending is not None:
        await sending
    return outcome.output, b"".join(body).decode()


def parse(stream: str) -> list[tuple[str, str]]:
    """(name, data) of every event, read by the letter of the standard and by nothing of ours."""
    assert stream.endswith("\n\n")
    events = []
    for block in re.split(r"\n\n", stream.removesuffix("\n\n")):
        name, data = "message", []
        for line in re.split(r"\r\n|\r|\n", block):
            field, colon, value = line.partition(":")
            assert colon, line
            if field == "data":
                data.append(value[1:] if value.startswith(" ") else value)
            elif field == "event":
                name = value.strip()
        events.append((name, "\n".join(data)))
    return events


def texts_in(value: Any) -> list[str]:
    """Every text that is not empty, in order."""
    match value:
        case str():
            return [value] if value else []
        case dict():
            return [text for item in value.values() for text in texts_in(item)]
        case list():
            return [text for item in value for text in texts_in(item)]
    return []


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(
    st.lists(PIECES, min_size=1, max_size=3),
    st.booleans(),
    st.none() | TREES,
    JOB_TREES,
    ACTION_TREES,
    st.sampled_from([None, 1, 2]),
)
async def test_chunks_join_to_the_output(
    sequences: list[list[str]], many: bool, output: Any, job_output: Any, action: Any, repeats: int | None
) -> None:
    def changes() -> dict[str, Any]:
        return {"output": output, "job": {"output": job_output, "repeat_count": repeats}, "action": action}

    task = Scripted(sequences, many)
    plain, _ = await run(task, changes(), streamed=False)
    whole, stream = await run(task, changes(), streamed=True)
    *chunks, (name, data) = parse(stream)
    assert whole == plain
    assert name == "done"
    assert json.loads(data).get("output") == plain
    joined: dict[str, str] = {}
    for kind, chunk in chunks:
        assert kind == "message"
        path, delta = ("", chunk) if isinstance(plain, str) else json.loads(chunk).values()
        joined[path] = joined.get(path, "") + delta
    if isinstance(plain, str):
        assert joined == ({"": normal(plain)} if plain else {})
    else:
        assert sorted(joined.values()) == sorted(texts_in(plain))
