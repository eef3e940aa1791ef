"""How each kind of server is asked to continue a text, and where its answer has the continuation."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.raw import Target

Dialect = Literal["compose", "completions", "predict", "predict-batch"]


@dataclass(frozen=True)
class Question:
    """One text to continue by `tokens` new ones. sampled: with temperature 0.7, the 50 likeliest tokens, top_p 0.9."""

    prompt: str
    tokens: int
    sampled: bool = False
    stream: bool = False


def target(dialect: Dialect, port: int, model: str, question: Question) -> Target:
    """The request. model: a workflow's id for `compose`, and what else a server calls the model."""
    path, body = _REQUESTS[dialect](model, question)
    headers = ("Accept: text/event-stream",) if question.stream else ()
    return Target(dialect, port, path, json.dumps(body).encode(), headers)


def _compose(model: str, question: Question) -> tuple[str, Any]:
    asked = {"prompt": question.prompt, "tokens": question.tokens}
    workflow = f"{model}-sampled" if question.sampled else model
    return "/api/workflows/runs", {"workflow_id": workflow, "input": asked}


def _completions(model: str, question: Question) -> tuple[str, Any]:
    asked = {"model": model, "prompt": question.prompt, "max_tokens": question.tokens, "stream": question.stream}
    return "/v1/completions", {**asked, **({} if question.sampled else {"temperature": 0})}


def _predict(model: str, question: Question) -> tuple[str, Any]:
    asked = {"prompt": question.prompt, "tokens": question.tokens, "sampled": question.sampled}
    return "/predict", {"model": model, **asked}


def _predict_batch(model: str, question: Question) -> tuple[str, Any]:
    return "/predict", {"requests": [_predict(model, question)[1]]}


_REQUESTS: Mapping[Dialect, Callable[[str, Question], tuple[str, Any]]] = {
    "compose": _compose,
    "completions": _completions,
    "predict": _predict,
    "predict-batch": _predict_batch,
}


def text(dialect: Dialect, answer: bytes) -> str:
    """The continuation in a whole answer that was not streamed."""
    body = json.loads(answer)
    match dialect:
        case "compose":
            return str(body["output"])
        case "completions":
            return str(body["choices"][0]["text"])
        case "predict":
            return str(body["text"])
        case "predict-batch":
            return str(body[0]["text"])


def piece(dialect: Dialect, line: bytes) -> str:
    """The text in one line of an event stream, empty when it holds none."""
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return ""
    data = line.removeprefix(b"data: ").removesuffix(b"\n")
    if dialect == "compose":
        return data.decode()
    return str(json.loads(data)["choices"][0].get("text") or "")
