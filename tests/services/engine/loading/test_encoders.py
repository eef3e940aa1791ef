"""What a folder becomes for the tasks that read: limits, pooling, layers behind it, and what does not fit."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.failure import MODEL_UNFIT, LoadError
from services.engine.loading.checkpoint import read_checkpoint
from services.engine.loading.encoders import LoadedEncoder, load_classifier, load_embedder
from tests.encoders import POSITIONS, Encoder, make_encoder, make_sentence_layout
from tests.services.conftest import Tiny
from tests.services.tasks.serving import settings_of

pytestmark = pytest.mark.unit


def embedder(folder: Path, **changes: Any) -> LoadedEncoder:
    settings = settings_of(folder, "text-embedding", **changes)
    return load_embedder(settings, read_checkpoint(folder, settings.model))


def classifier(folder: Path) -> LoadedEncoder:
    settings = settings_of(folder, "text-classification")
    return load_classifier(settings, read_checkpoint(folder, settings.model))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def refused(folder: Path, load: Any) -> str:
    with pytest.raises(LoadError) as caught:
        load(folder)
    assert caught.value.exit_code == MODEL_UNFIT
    return caught.value.message


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_the_limit_is_the_least_of_what_is_said(kind: Encoder, tmp_path: Path) -> None:
    folder = make_encoder(kind, tmp_path / kind)
    assert embedder(folder).limit == POSITIONS
    edit(folder / "tokenizer_config.json", model_max_length=40)
    assert embedder(folder).limit == 40
    make_sentence_layout(folder, sentence_bert_config={"max_seq_length": 24})
    assert embedder(folder).limit == 24


def test_a_pooler_that_nobody_uses_may_be_absent(tmp_path: Path) -> None:
    def without_pooler(model: Any) -> None:
        model.pooler = None

    assert embedder(make_encoder("bert", tmp_path / "bert", change=without_pooler)).pooling == "mean"


def test_other_absent_weights_are_refused(tmp_path: Path) -> None:
    def without_layer(model: Any) -> None:
        del model.encoder.layer[1]

    folder = make_encoder("bert", tmp_path / "bert", change=without_layer)
    assert refused(folder, embedder) == "tiny/bert lacks 16 of its weights"


def test_quantization_and_precision_are_those_of_every_model(tmp_path: Path) -> None:
    folder = make_encoder("bert", tmp_path / "bert")
    assert embedder(folder, quantization="int8").placement == "cpu, int8, 1 threads"
    assert embedder(folder, precision="bfloat16").network.dtype is torch.bfloat16


def test_the_layers_behind_the_pooling(tmp_path: Path) -> None:
    folder = make_sentence_layout(make_encoder("bert", tmp_path / "bert"), width=8)
    head = embedder(folder).head
    assert [type(layer).__name__ for layer in head] == ["Linear", "Tanh"]
    assert head(torch.zeros(3, 32)).shape == (3, 8)
    edit(folder / "2_Dense" / "config.json", out_features=9)
    assert refused(folder, embedder) == "tiny/bert: the weights in 2_Dense do not fit it"
    edit(folder / "2_Dense" / "config.json", activation_function="evil.Function")
    assert refused(folder, embedder) == "tiny/bert needs the activation Function, which is not known"


def test_what_is_not_done_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_encoder("bert", tmp_path / "bert")
    caplog.set_level(logging.INFO)
    embedder(folder)
    assert (
        "tiny/bert has no modules.json here, which would say how its tokens' vectors become one: it is their mean"
    ) in caplog.messages
    make_sentence_layout(folder, config_sentence_transformers={"prompts": {"query": "query: ", "passage": "p: "}})
    embedder(folder)
    line = "tiny/bert knows prompts for passage, query; write the one you want in front of `text`"
    assert line in caplog.messages


def test_models_of_another_purpose_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    assert refused(tiny("llama"), embedder) == (
        "tiny/llama is a LlamaForCausalLM, which generates text, and it says nowhere how to make vectors of it; take a"
        " model from the sentence-transformers library"
    )
    assert refused(tiny("blenderbot"), embedder) == (
        "tiny/blenderbot is a BlenderbotForConditionalGeneration, which does not fit text-embedding"
    )
    bare = make_encoder("bert", tmp_path / "bert")
    assert refused(bare, classifier) == (
        "tiny/bert is a BertModel, which has no head for classification, so it does not fit text-classification"
    )
    edit(bare / "config.json", model_type="remote", auto_map={"AutoModel": "evil.Model"})
    for load in (embedder, classifier):
        assert refused(bare, load) == (
            "tiny/bert runs code from its repository, which is never done here; choose a model of a type that"
            " transformers knows"
        )


def test_a_decoder_that_classifies_learns_what_padding_is(tmp_path: Path) -> None:
    folder = make_encoder("qwen3", tmp_path / "qwen3", labels=2)
    edit(folder / "config.json", pad_token_id=None)
    assert (classifier(folder).pad_token_id, classifier(folder).config.pad_token_id) == (1, 1)
    edit(folder / "tokenizer_config.json", pad_token=None)
    assert classifier(folder).pad_token_id is None


@pytest.mark.parametrize(
    "config",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
    ],
)
def test_the_activation_of_a_cross_encoder(config: dict[str, Any], tmp_path: Path) -> None:
    folder = make_encoder("bert", tmp_path / "bert", labels=1, **config)
    assert classifier(folder).activation == "Identity"
