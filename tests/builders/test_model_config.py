"""Which configurations fit a task that generates text."""

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
            "a/b does not fit chat-completion: it is a DetrForObjectDetection, which generates no text",
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


def test_another_task_is_not_judged() -> None:
    check_fit({"architectures": ["BertForSequenceClassification"]}, model="a/b", task="text-classification")
