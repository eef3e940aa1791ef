"""Compares the estimated memory of a task with what its process really holds: `python -m benchmarks.memory`.

The real figure is the resident size of one task, shared code included, after it has loaded and with a full cache: two
requests, which is as many as it may compute together, each as long as the model's context. The models are the bundled
one and random ones of several sizes, types and precisions.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builders.estimate import SHARED_BYTES, Memory, memory_of
from builders.headers import facts_of
from builders.weights import ModelSource, resolve
from services.engine.loading.machine import this_processor
from services.engine.loading.precision import computing_type
from services.settings import TaskSettings
from tests.services.tasks.serving import TaskProcess, serve

BUNDLED = Path(__file__).parent.parent / "examples" / "quickstart" / "model"

MAKE = """
import sys, json, pathlib, torch, transformers
from tests.models import make_model
folder, wide, dtype = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), getattr(torch, sys.argv[3])
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
make_model("llama", folder)
if wide:
    ends = {"bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": True}
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**wide, **ends))
    network.to(dtype).save_pretrained(folder)
"""
"""Run as a process of its own, so that this one holds no torch that the measured process would share."""

MIDDLE = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "vocab_size": 32_000,
}
LARGE = {**MIDDLE, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "vocab_size": 49_152}


ROWS = 2
"""Sequences computed together at most; the engine's own number would take long to fill."""


@dataclass(frozen=True)
class Case:
    """One model served in one way."""

    name: str
    folder: Path
    precision: str = "auto"
    quantization: str | None = None

    def settings(self) -> TaskSettings:
        return TaskSettings.model_validate(
            {
                "id": "measured",
                "task": "text-generation",
                "model": self.name,
                "model_path": self.folder,
                "device": "cpu",
                "precision": self.precision,
                "quantization": self.quantization,
                "max_concurrent_count": ROWS,
            }
        )


def estimate(case: Case) -> Memory:
    source = ModelSource(path=case.folder)
    facts = facts_of(source, resolve(source, task="text-generation", environ={}), {})
    processor = this_processor()
    dtype = computing_type(
        case.precision,
        case.quantization,
        stored=facts.stored,
        parameters=facts.parameters,
        processor=processor,
    )
    memory = memory_of(
        facts,
        dtype=dtype,
        quantization=case.quantization,
        longest=context(case.folder),
        processor=processor,
        rows=ROWS,
    )
    available = processor.available_bytes
    return memory.with_cache(None if available is None else available - memory.loaded - SHARED_BYTES)


def context(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])


def resident_bytes(pid: int) -> int:
    """All that is mapped and in memory. The proportional size would depend on who else has torch in memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    (line,) = [line for line in rollup.splitlines() if line.startswith("Rss:")]
    return int(line.split()[1]) * 1024


def measure(case: Case) -> tuple[int, int]:
    """Bytes after loading, and with a full cache."""
    longest = context(case.folder)

    def fill(task: TaskProcess, word: str) -> None:
        fields = {"prompt": f"def {word} " * longest, "max_input_length": longest - 32, "min_output_length": 32}
        usage = task.done({**fields, "max_output_length": 32, "do_sample": False}, stream=False)["usage"]
        assert usage["total_tokens"] == longest

    with serve(case.settings()) as task, ThreadPoolExecutor(ROWS) as readers:
        task.wait_ready()
        loaded = resident_bytes(task.process.pid)
        list(readers.map(fill, [task] * ROWS, ("hello", "return")))
        return loaded, resident_bytes(task.process.pid)


def make(folder: Path, wide: dict[str, int], dtype: str) -> Path:
    subprocess.run([sys.executable, "-c", MAKE, str(folder), json.dumps(wide), dtype], check=True)
    return folder


def models(root: Path, *, smoke: bool) -> list[Case]:
    """Written below `root`; only the smallest one for a smoke test."""
    tiny = Case("tiny, 34 k", make(root / "tiny", {}, "float32"))
    if smoke:
        return [tiny]
    middle, narrow = make(root / "middle", MIDDLE, "float32"), make(root / "narrow", MIDDLE, "bfloat16")
    large = make(root / "large", LARGE, "bfloat16")
    return [
        Case("bundled, 2.7 M", BUNDLED),
        tiny,
        Case("125 M in float32", middle),
        Case("125 M in float32", middle, precision="bfloat16"),
        Case("125 M in float32", middle, quantization="int8"),
        Case("125 M in bfloat16", narrow),
        Case("125 M in bfloat16", narrow, precision="float32"),
        Case("125 M in bfloat16", narrow, quantization="int8"),
        Case("295 M in bfloat16", large),
        Case("295 M in bfloat16", large, precision="float32"),
        Case("295 M in bfloat16", large, quantization="int8"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare estimated and real memory of tasks.")
    parser.add_argument("--smoke", action="store_true", help="only the smallest model")
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as temporary:
        head = f"{'model':<20}{'served in':<12}{'tokens':>7}"
        print(head + f"{'loaded, MB':>24}{'with a full cache, MB':>28}")
        print(f"{'':<39}" + f"{'estimate':>10}{'real':>6}{'error':>8}" + f"{'estimate':>14}{'real':>6}{'error':>8}")
        for case in models(Path(temporary), smoke=options.smoke):
            memory = estimate(case)
            loaded, full = measure(case)
            row = f"{case.name:<20}{case.quantization or case.precision:<12}{memory.tokens:>7}"
            print(
                row
                + _compared(memory.loaded + SHARED_BYTES, loaded, 10)
                + _compared(memory.total + SHARED_BYTES, full, 14),
                flush=True,
            )


def _compared(estimated: int, real: int, width: int) -> str:
    return f"{estimated / 1e6:>{width}.0f}{real / 1e6:>6.0f}{(estimated - real) / real * 100:>+7.1f}%"


if __name__ == "__main__":
    main()
