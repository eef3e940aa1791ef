"""Loading leaves out what serving never uses, and whoever wants it later still gets it."""

import json
import subprocess
import sys

import pytest

from tests.services.conftest import Tiny

pytestmark = pytest.mark.unit

LOAD = """
import collections, json, sys
scanned = collections.Counter()
def count(event, arguments):
    if event == "os.scandir":
        scanned[str(arguments[0])] += 1
sys.addaudithook(count)
from pathlib import Path
from services.engine.loading.libraries import import_libraries
import_libraries()
from services.engine.loading.checkpoint import read_checkpoint
from services.engine.loading.generators import load_model
from services.settings import TaskSettings

settings = TaskSettings.model_validate_json(sys.argv[1])
model = load_model(settings, read_checkpoint(settings.model_path, settings.model))
ids = model.tokenizer("Hello", return_tensors="pt").input_ids
model.network.generate(ids, max_new_tokens=2, do_sample=False)
print(json.dumps(sorted({"PIL", "pandas", "scipy", "sklearn", "sympy", "torch._dynamo"} & set(sys.modules))))
models = [path for path in scanned if "/transformers/models/" in path]
again = [path for path in models if scanned[path] > 1]
assert len(models) > 100 and len(again) < 10, (len(models), again[:20])  # those that are used are read for themselves
import torch, transformers
import PIL, torch._dynamo
assert torch._dynamo.exc and torch.arange(2, device="meta").is_meta
assert torch.nn.Embedding(2, 2).weight.abs().sum() > 0
"""


def test_a_model_is_loaded_and_generates_without_them(tiny: Tiny) -> None:
    """In a process of its own: this one has imported all of them."""
    settings = {"id": "x", "task": "text-generation", "model": "tiny", "model_path": str(tiny("llama")), "threads": 1}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, json.dumps(settings)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (loaded.returncode, loaded.stdout) == (0, "[]\n"), loaded.stderr
