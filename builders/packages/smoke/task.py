"""Imports what a task process imports, and lets a tiny network write: `task.py IMPORTING LIBRARIES`.

LIBRARIES is the file that imports torch and transformers as a task does, with the help of IMPORTING. Nothing else of
ours is used, so that an edit of our code changes no layer of packages.
"""

import contextlib
import importlib.util
import runpy
import sys
from types import ModuleType

SERVING = (
    "httptools",
    "jinja2.sandbox",
    "prometheus_client",
    "pydantic.types",
    "sacremoses",
    "sentencepiece",
    "starlette.applications",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
)
COMPUTING = (
    "numpy.typing",
    "safetensors.torch",
    "tokenizers",
    "transformers.cache_utils",
    "transformers.generation",
    "transformers.integrations.hub_kernels",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.tokenization_utils_sentencepiece",
)
ARCHITECTURES = (
    "bart",
    "bert",
    "blenderbot",
    "codegen",
    "deberta_v2",
    "distilbert",
    "gemma3",
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "llama",
    "m2m_100",
    "marian",
    "mistral",
    "modernbert",
    "mpnet",
    "mt5",
    "opt",
    "pegasus",
    "phi3",
    "qwen2",
    "qwen3",
    "roberta",
    "smollm3",
    "t5",
    "xlm_roberta",
)


def main() -> None:
    """Import and generate."""
    for name in SERVING:
        importlib.import_module(name)
    importlib.import_module("pydantic").create_model("Settings", count=(int, 1))
    know("services.importing", sys.argv[1])
    runpy.run_path(sys.argv[2])["import_libraries"]()
    for name in COMPUTING:
        importlib.import_module(name)
    for name in ARCHITECTURES:
        with contextlib.suppress(ImportError):  # of another version of transformers
            importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    write()


def know(name: str, path: str) -> None:
    """Have a file as the module of a package that is not here."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name.partition(".")[0]] = ModuleType(name.partition(".")[0])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def write() -> None:
    """Two tokens with a network of two layers."""
    import torch
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=16
    )
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        network.generate(torch.tensor([[1, 2]]), max_new_tokens=2, do_sample=True, top_p=0.9, repetition_penalty=1.1)


main()
