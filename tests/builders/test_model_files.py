"""Which files of a repository are fetched, and what is said when none of them can be loaded."""

import json

import pytest

from builders.model_files import (
    PICKLE_INDEX,
    SAFETENSORS_INDEX,
    companions_of,
    has_vocabulary,
    is_index,
    is_pickle,
    no_weights,
    shards_of,
    weights_of,
)
from infra.errors import ExitCode

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"], "model.safetensors"),
        (["model.safetensors.index.json", "pytorch_model.bin"], "model.safetensors.index.json"),
        (["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"], "pytorch_model.bin"),
        (["pytorch_model.bin.index.json"], "pytorch_model.bin.index.json"),
        (["consolidated.safetensors", "model.fp16.safetensors", "training_args.bin", "onnx/model.safetensors"], None),
    ],
)
def test_safetensors_go_before_pickles_and_other_weights_are_none(names: list[str], weights: str | None) -> None:
    assert weights_of(names) == weights


def test_kinds_of_weights_are_told_apart() -> None:
    names = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    assert [(is_pickle(name), is_index(name)) for name in names] == [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ]


def test_companions_are_what_configuration_and_tokenizer_need() -> None:
    wanted = [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "qwen.tiktoken",
        "source.spm",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.bpe",
        "vocab.json",
    ]
    unwanted = [
        ".credentials.json",
        ".env.json",
        ".gitattributes",
        ".spiece.model",
        "1_Pooling/code.py",
        "2_Dense/pytorch_model.bin",
        "README.md",
        "1_Pooling/deeper/config.json",
        "a/1_Pooling/config.json",
        "additional_chat_templates/code.py",
        "flax_model.msgpack.index.json",
        "model-00001-of-00002.safetensors",
        "model.gguf",
        "modeling_evil.py",
        "onnx/config.json",
        "onnx/vocab.json",
        "optimizer.pt",
        "original/tokenizer.model",
        "pytorch_model.bin.index.json",
        "rust_model.ot",
        "tf_model.h5",
        "training_args.bin",
        "vocab.key",
        "vocab.pem",
    ]
    assert companions_of([*unwanted, *reversed(wanted)]) == tuple(wanted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tokenizer.json"], True),
        (["spiece.model"], True),
        (["vocab.txt"], True),
        (["source.spm", "target.spm", "vocab.json"], True),
        (["vocab.json", "merges.txt"], True),
        (["vocab.json"], False),
        (["tokenizer_config.json", "merges.txt"], False),
    ],
)
def test_a_vocabulary_is_seen(names: list[str], expected: bool) -> None:
    assert has_vocabulary(names) is expected


def test_an_index_lists_its_shards_once() -> None:
    weight_map = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    assert shards_of(index, SAFETENSORS_INDEX) == ("model-1.safetensors", "model-2.safetensors")


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": []}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": {}}}',
        '{"weight_map": {"a": "../secret.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": ".."}}',
        '{"weight_map": {"a": "evil.bin"}}',
        '{"weight_map": {"a": "safetensors"}}',
    ],
)
def test_what_is_no_index_is_refused(index: str) -> None:
    with pytest.raises(ValueError, match=r"not an index of weights|Expecting value"):
        shards_of(index, SAFETENSORS_INDEX)


def test_an_index_of_pickles_lists_pickles() -> None:
    assert shards_of('{"weight_map": {"a": "pytorch_model-1.bin"}}', PICKLE_INDEX) == ("pytorch_model-1.bin",)
    with pytest.raises(ValueError, match="not an index of weights"):
        shards_of('{"weight_map": {"a": "model.safetensors"}}', PICKLE_INDEX)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["adapter_config.json", "adapter_model.safetensors"],
            "a/b is a PEFT adapter, not a whole model; adapters are not supported yet",
        ),
        (["b-q4.gguf", "README.md"], "a/b holds GGUF files only, which cannot be loaded here"),
        (["config.json", "onnx/model.onnx"], "a/b holds ONNX files only, which cannot be loaded here"),
        (
            ["config.json", "tf_model.h5", "flax_model.msgpack"],
            "a/b holds Flax weights and TensorFlow weights only, which cannot be loaded here",
        ),
        (
            ["consolidated.00.pth", "params.json"],
            "a/b holds weights in their maker's own format only, which cannot be loaded here",
        ),
        (["README.md"], "a/b is not a transformers model: it has no config.json"),
        (["config.json"], "a/b has no weights: neither model.safetensors nor pytorch_model.bin is there"),
    ],
)
def test_a_repository_without_loadable_weights_is_refused_by_what_it_is(names: list[str], message: str) -> None:
    error = no_weights("a/b", names)
    assert (error.message, error.exit_code) == (message, ExitCode.FILE)
    assert error.hint is not None
