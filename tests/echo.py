"""A task service without a model: it speaks services.wire, echoes its input, and misbehaves on request.

Started like services.entry: `python -P tests/echo.py SETTINGS (--fd N | --host H --port P)`.
A user text that is a JSON object holds knobs instead of text:

    text: what to answer               tokens: answer so many words           ms: time for each token
    width: characters of each of the words
    name: remember under this name when the work ended
    crash_at: exit at token N          hang: never answer                     ignore_cancel: go on without the client
    allocate_mb: hold so much          broken: json | utf8 | surrogate | nan | cut | type
    fail_at: a `Failed` line at token N           refuse: [status, code], before the first line
    result: any JSON, as the result without deltas
    finish: why each text ended, a list of reasons; `stop` otherwise
    fields: true answers with the fields as JSON, messages: true with the messages

`GET /counters` tells how many requests were started, compute now and were cancelled, and how often readiness was asked
for; `GET /requests` how often each request id came; `GET /headers` shows those of the last request; `GET /ended` when
named work ended, on the machine's monotonic clock. The environment variable ECHO_READY_AFTER_S delays readiness,
ECHO_READY_WHEN does so until this file is there, ECHO_FAILED makes it `failed` with this reason.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from services.errors import ServiceError
from services.process import open_socket, start
from services.wire import CONTENT_TYPE, LIVE_PATH, PREDICT_PATH, READY_PATH, Delta, Done, Failed, Readiness

BROKEN = {
    "json": b"{this is not json}\n",
    "utf8": b'{"type":"delta","text":"\xff\xfe","path":[]}\n',
    "surrogate": b'{"type":"delta","text":"\\ud800","path":[]}\n',
    "nan": b'{"type":"done","result":NaN,"usage":{},"warnings":[]}\n',
    "cut": b"",
    "type": b'{"type":"riddle"}\n',
}


@dataclass
class Counters:
    """started and cancelled count requests since the start; computing are under way; probed counts `/readyz`."""

    started: int = 0
    computing: int = 0
    cancelled: int = 0
    probed: int = 0


class Echo:
    """The ASGI application."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.requests: Counter[str] = Counter()
        self.ended: dict[str, float] = {}
        self.headers: dict[str, str] = {}
        self.ready_at = time.monotonic() + float(os.environ.get("ECHO_READY_AFTER_S", "0"))
        self.ready_when = os.environ.get("ECHO_READY_WHEN", os.curdir)
        self.failed = os.environ.get("ECHO_FAILED")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["path"]:
            case path if path == PREDICT_PATH:
                self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                await self.predict(receive, send)
            case path if path == READY_PATH:
                self.counters.probed += 1
                readiness = self.readiness()
                await answer(send, 200 if readiness.stage == "ready" else 503, readiness.to_json())
            case path if path == LIVE_PATH:
                await answer(send, 200, {"status": "ok"})
            case "/counters":
                await answer(send, 200, vars(self.counters))
            case "/ended":
                await answer(send, 200, self.ended)
            case "/headers":
                await answer(send, 200, self.headers)
            case "/requests":
                await answer(send, 200, self.requests)
            case _:
                await answer(send, 404, {})

    def readiness(self) -> Readiness:
        if self.failed:
            return Readiness("failed", message=self.failed)
        if not os.path.exists(self.ready_when):  # noqa: PTH110 - a question for the event loop, which is quick
            return Readiness("loading", progress=0.5)
        left = self.ready_at - time.monotonic()
        return Readiness("loading", progress=0.5, seconds_left=left) if left > 0 else Readiness("ready")

    async def predict(self, receive: Receive, send: Send) -> None:
        request = json.loads(await read(receive))
        readiness = self.readiness()
        if readiness.stage != "ready":
            error = ServiceError(503, "not_ready", f"The model is {readiness.stage}.", retry_after_s=1)
            await answer(send, 503, {"error": error.to_wire()})
            return
        self.requests[request["request_id"]] += 1
        self.counters.started += 1
        self.counters.computing += 1
        work = asyncio.current_task()
        assert work is not None
        knobs = knobs_of(request["fields"])
        watcher = asyncio.create_task(cancel_when_gone(receive, work, bool(knobs.get("ignore_cancel"))))
        try:
            await self.compute(request, knobs, send)
        except asyncio.CancelledError:
            self.counters.cancelled += 1
        finally:
            watcher.cancel()
            self.counters.computing -= 1
            if "name" in knobs:
                self.ended[knobs["name"]] = time.monotonic()

    async def compute(self, request: dict[str, Any], knobs: dict[str, Any], send: Send) -> None:
        if "refuse" in knobs:
            status, code = knobs["refuse"]
            retry_after_s = 7 if status in (429, 503) else None
            error = ServiceError(status, code, "Refused on request.", retry_after_s=retry_after_s)
            await answer(send, status, {"error": error.to_wire()})
            return
        if knobs.get("hang"):
            await asyncio.Event().wait()
        ballast = bytearray(int(knobs.get("allocate_mb", 0)) * 1024 * 1024)
        lines = Lines(send)
        texts = texts_of(request["fields"], knobs)
        count = 0
        for path, text in texts.items():
            for token in tokens_of(text):
                if knobs.get("ms"):
                    await asyncio.sleep(knobs["ms"] / 1000)
                if knobs.get("crash_at") == count:
                    os.kill(os.getpid(), signal.SIGKILL)
                if knobs.get("fail_at") == count:
                    await lines.send(Failed(ServiceError(500, "generation_failed", "Failed on request.").to_wire()))
                    return
                count += 1
                if request["stream"] and "result" not in knobs:
                    await lines.send(Delta(token, path))
        if "broken" in knobs:
            await lines.send_raw(BROKEN[knobs["broken"]])
            return
        seed = request["fields"].get("seed", request["seed"])
        prompt = sum(len(list(tokens_of(text))) for text in prompts_of(request["fields"]))
        usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count, "seed": seed}
        reasons = knobs.get("finish", ["stop"] * len(texts))
        await lines.send(Done(knobs.get("result", result_of(texts)), usage, [], reasons))
        del ballast


class Lines:
    """The body of an answer, begun with its first line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def send(self, frame: Delta | Done | Failed) -> None:
        line = json.dumps(frame.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        await self.send_raw(line, more=isinstance(frame, Delta))

    async def send_raw(self, line: bytes, more: bool = False) -> None:
        if not self._begun:
            headers = [(b"content-type", CONTENT_TYPE.encode())]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            self._begun = True
        await self._send({"type": "http.response.body", "body": line, "more_body": more})


def prompts_of(fields: dict[str, Any]) -> list[str]:
    """The last user message, else an empty one; or the text or texts."""
    if "messages" in fields:
        users = (item["content"] for item in reversed(fields["messages"]) if item["role"] == "user")
        return [next(users, "")]
    given = fields.get("text", fields.get("prompt", ""))
    return given if isinstance(given, list) else [given]


def knobs_of(fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in the text, else `text` alone."""
    text = prompts_of(fields)[0] if prompts_of(fields) else ""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError:
            pass
    return {}


def texts_of(fields: dict[str, Any], knobs: dict[str, Any]) -> dict[tuple[int, ...], str]:
    """The answers by their paths in the result."""
    if "messages" in knobs:
        return {(): json.dumps(fields["messages"])}
    if "fields" in knobs:
        return {(): json.dumps(fields, sort_keys=True)}
    if "tokens" in knobs:
        answers = [" ".join(f"w{index}".ljust(knobs.get("width", 0), "x") for index in range(knobs["tokens"]))]
    elif knobs:
        answers = [str(knobs.get("text", "ok"))]
    else:
        answers = prompts_of(fields)
    sequences = fields.get("num_return_sequences", 1)
    many = isinstance(fields.get("text", fields.get("prompt")), list)
    return {
        (prompt,) * many + (sequence,) * (sequences > 1): text
        for prompt, text in enumerate(answers)
        for sequence in range(sequences)
    }


def result_of(texts: dict[tuple[int, ...], str]) -> Any:
    """One text, a list, or a list for each prompt."""
    if () in texts:
        return texts[()]
    rows: dict[int, list[str]] = {}
    for path, text in texts.items():
        rows.setdefault(path[0], []).append(text)
    return [row if len(path) > 1 else row[0] for row in rows.values()]


def tokens_of(text: str) -> Iterator[str]:
    """Words with the blanks before them, as models make them."""
    return (found[0] for found in re.finditer(r"\s*\S+|\s+", text))


async def read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def cancel_when_gone(receive: Receive, work: "asyncio.Task[Any]", ignore: bool) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not ignore:
        work.cancel()


async def answer(send: Send, status: int, value: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


def main() -> None:
    arguments = start()
    config = uvicorn.Config(Echo(), http="httptools", ws="none", lifespan="off", access_log=False, log_level="critical")
    uvicorn.Server(config).run([open_socket(arguments)])


if __name__ == "__main__":
    main()
