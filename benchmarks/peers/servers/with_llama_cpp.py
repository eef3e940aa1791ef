"""llama-cpp-python in process, one request at a time: `python -m benchmarks.peers.servers.with_llama_cpp PORT`.

MODEL names the model's folder. It is written as GGUF in three precisions at the start; Python's own HTTP server, which
adds about a millisecond to a request, stands in front.
"""

import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

KINDS = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def tensors(path: Path) -> dict[str, Any]:
    """The float32 arrays of a safetensors file, by name."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(data[start:end], np.float32).reshape(entry["shape"])
    return found


def write(model: Path, path: Path, kind: gguf.GGMLQuantizationType) -> None:
    """The Llama of benchmarks.peers.model as GGUF; matrices in this kind, vectors in float32."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(vocabulary) - 1)])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    for name, array in tensors(model / "model.safetensors").items():
        _, _, inner = name.partition("model.layers.")
        layer, _, inner = inner.partition(".")
        renamed = f"blk.{layer}.{NAMES[inner]}" if inner else NAMES[name]
        if inner.startswith(("self_attn.q_proj", "self_attn.k_proj")):
            array = _interleaved(array, heads)  # noqa: PLW2901  # the same weights in another order
        stored = kind if array.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(renamed, gguf.quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(weight: Any, heads: int) -> Any:
    """llama.cpp turns neighbouring pairs of each head, Hugging Face its two halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)


def load(model: Path) -> dict[str, llama_cpp.Llama]:
    """By precision."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            path = Path(folder) / f"{name}.gguf"
            write(model, path, kind)
            threads = os.cpu_count()
            found[name] = llama_cpp.Llama(
                str(path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False
            )
    return found


class Handler(BaseHTTPRequestHandler):
    """POST /predict: `model`, `prompt`, `tokens`, `sampled`, and the text."""

    protocol_version = "HTTP/1.1"
    models: dict[str, llama_cpp.Llama]
    turn = threading.Lock()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sampling = {"temperature": 0.7, "top_k": 50, "top_p": 0.9} if asked["sampled"] else {"temperature": 0.0}
        with self.turn:
            answer: Any = self.models[asked["model"]].create_completion(
                asked["prompt"], max_tokens=asked["tokens"], repeat_penalty=1.0, min_p=0.0, **sampling
            )
        body = json.dumps({"text": answer["choices"][0]["text"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it
        """Nothing."""


if __name__ == "__main__":
    Handler.models = load(Path(os.environ["MODEL"]))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
