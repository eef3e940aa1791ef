"""LitServe with batches of up to 32: `python -m benchmarks.peers.servers.with_litserve PORT`; MODEL is the folder."""

import os
import sys
from typing import Any

import litserve

from benchmarks.peers.servers.generation import Generation


class Continuation(litserve.LitAPI):  # type: ignore[misc]  # it is Any here
    """POST /predict: a request of `Generation`, and its text."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe names it
        self._generate = Generation(os.environ["MODEL"])

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def predict(self, requests: list[dict[str, Any]]) -> list[str]:
        return self._generate(requests)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output: str) -> dict[str, str]:
        return {"text": output}


if __name__ == "__main__":
    api = Continuation(max_batch_size=32, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", timeout=600)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
