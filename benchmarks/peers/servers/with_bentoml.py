"""Plain BentoML, one request at a time and with its adaptive batching; MODEL names the model's folder."""

import os
from typing import Any

import bentoml

from benchmarks.peers.servers.generation import Generation

PATIENT = {"timeout": 600}


@bentoml.service(traffic=PATIENT)
class Serial:
    """POST /predict: a request of `Generation`, and its text."""

    def __init__(self) -> None:
        self._generate = Generation(os.environ["MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]  # it is Any here
    def predict(self, model: str, prompt: str, tokens: int, sampled: bool) -> dict[str, str]:  # noqa: ARG002  # told
        (text,) = self._generate([{"prompt": prompt, "tokens": tokens, "sampled": sampled}])
        return {"text": text}


@bentoml.service(traffic=PATIENT)
class Adaptive:
    """POST /predict: a list of requests of `Generation`, which BentoML joins with others', and their texts."""

    def __init__(self) -> None:
        self._generate = Generation(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=600_000)  # type: ignore[untyped-decorator]  # it is Any here
    def predict(self, requests: list[dict[str, Any]]) -> list[dict[str, str]]:
        return [{"text": text} for text in self._generate(requests)]
