"""Loading leaves out what serving never uses, and whoever wants it later still gets it."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from services.engine.loading.libraries import _read_once
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


READ = """
from pathlib import Path
import services.engine.loading.libraries as libraries
if {lean}:
    libraries.import_libraries()
import transformers
from transformers.utils import import_utils
models = str(Path(transformers.__file__).parent / "models")
structure = import_utils.define_import_structure(models)
found = {{(*sorted(needs), module, *sorted(names)) for needs, of in structure.items() for module, names in of.items()}}
print(len(found), *sorted(found), sep="\\n")
"""


def test_what_models_define_is_read_as_transformers_does() -> None:
    commands = [[sys.executable, "-W", "ignore", "-c", READ.format(lean=lean)] for lean in (True, False)]
    lean, whole = (subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in commands)
    assert int(whole.split()[0]) > 1000
    assert lean == whole


def test_a_version_of_transformers_that_reads_otherwise_is_left_as_it_is() -> None:
    other = SimpleNamespace()
    _read_once(other)
    assert vars(other) == {}
