"""Which configurations fit which task."""

from typing import Any

import pytest

from builders.model_config import check_fit
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"},
        {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"},
        {"architectures": ["BlenderbotForConditionalGeneration"], "model_type": "blenderbot"},
        {"architectures": ["T5WithLMHeadModel"], "model_type": "t5"},
        {"architectures": ["CodeGenForCausalLM"], "model_type": "codegen"},
        {"architectures": ["ChatGLMModel"], "auto_map": {"AutoModel": "modeling_chatglm.ChatGLM"}},
        {"model_type": "mistral"},
        {"architectures": None, "model_type": "mistral"},
    ],
)
@pytest.mark.parametrize("task", ["chat-completion", "text-generation"])
def test_what_generates_text_or_cannot_be_judged_passes(config: dict[str, Any], task: str) -> None:
    check_fit(config, model="a/b", task=task)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"architectures": ["BertForSequenceClassification"]},
            "a/b does not fit chat-completion: it is a BertForSequenceClassification, which fits text-classification",
        ),
        (
            {"architectures": ["BertForMaskedLM"]},
            "a/b does not fit chat-completion: it is a BertForMaskedLM, which fits text-embedding",
        ),
        (
            {"architectures": ["XLMRobertaModel"]},
            "a/b does not fit chat-completion: it is a XLMRobertaModel, which fits text-embedding",
        ),
        (
            {"architectures": ["DetrForObjectDetection"]},
            "a/b does not fit chat-completion: it is a DetrForObjectDetection, which no task here can use",
        ),
        (
            {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"},
            "a/b reads speech, not text, so it does not fit chat-completion",
        ),
        (
            {"architectures": ["LlamaForCausalLM"], "_attn_implementation_internal": "evil/kernel"},
            "a/b is refused: its config.json sets `_attn_implementation_internal`, which would load code from "
            "elsewhere",
        ),
        (
            {"architectures": ["LlamaForCausalLM"], "parts": [{"text": {"_attn_implementation_internal": "x"}}]},
            "a/b is refused: its config.json sets `_attn_implementation_internal`, which would load code from "
            "elsewhere",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_fit(config, model="a/b", task="chat-completion")
    assert (caught.value.message, caught.value.exit_code) == (message, ExitCode.FILE)


@pytest.mark.parametrize(
    ("task", "architecture", "purpose"),
    [
        ("text-to-text", "T5ForConditionalGeneration", None),
        ("translation", "MarianMTModel", None),
        ("summarization", "T5WithLMHeadModel", None),
        ("summarization", "LlamaForCausalLM", "text-generation"),
        ("translation", "GPT2LMHeadModel", "text-generation"),
        ("text-to-text", "BertModel", "text-embedding"),
        ("text-generation", "MarianMTModel", None),
        ("text-embedding", "BertModel", None),
        ("text-embedding", "RobertaForMaskedLM", None),
        ("text-embedding", "T5EncoderModel", None),
        ("text-embedding", "Qwen3ForCausalLM", None),
        ("text-embedding", "BertForSequenceClassification", "text-classification"),
        ("text-embedding", "BertForTokenClassification", "token-classification"),
        ("text-classification", "DistilBertForSequenceClassification", None),
        ("text-reranking", "XLMRobertaForSequenceClassification", None),
        ("text-reranking", "XLMRobertaModel", "text-embedding"),
        ("text-classification", "LlamaForCausalLM", "text-generation"),
    ],
)
def test_every_task_wants_its_kind_of_network(task: str, architecture: str, purpose: str | None) -> None:
    config = {"architectures": [architecture]}
    if purpose is None:
        check_fit(config, model="a/b", task=task)
        return
    with pytest.raises(UserError) as caught:
        check_fit(config, model="a/b", task=task)
    assert caught.value.message == f"a/b does not fit {task}: it is a {architecture}, which fits {purpose}"
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("config", "task", "labels", "message"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "text-classification", 3, None),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "text-classification", None, None),
        ({}, "text-classification", 2, None),
        ({"num_labels": 3}, "text-classification", 3, None),
        ({}, "text-classification", 3, "`labels` names 3 classes, and a/b has 2"),
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            "text-classification",
            2,
            "`labels` names 2 classes, and a/b has 3",
        ),
        ({"id2label": {"0": "LABEL_0"}}, "text-reranking", None, None),
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            "text-reranking",
            None,
            "a/b tells 3 classes apart, so it does not fit text-reranking, which wants one score",
        ),
    ],
)
def test_classes_are_counted_before_anything_is_fetched(
    config: dict[str, Any], task: str, labels: int | None, message: str | None
) -> None:
    config = {"architectures": ["BertForSequenceClassification"], **config}
    if message is None:
        check_fit(config, model="a/b", task=task, labels=labels)
        return
    with pytest.raises(UserError) as caught:
        check_fit(config, model="a/b", task=task, labels=labels)
    assert (caught.value.message, caught.value.exit_code) == (message, ExitCode.FILE)
