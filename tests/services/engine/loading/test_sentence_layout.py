"""What is read of sentence-transformers' files, and what is refused by its name rather than left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.engine.failure import MODEL_UNFIT, LoadError
from services.engine.loading.sentence_layout import DenseLayer, SentenceLayout, read_sentence_layout

pytestmark = pytest.mark.unit

STEPS = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}


def write(folder: Path, steps: dict[str, str] = STEPS, **files: Any) -> Path:
    """`files`: contents by name, in which `__` stands for a slash."""
    kind = "sentence_transformers.models."
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": kind + name}
        for index, (path, name) in enumerate(steps.items())
    ]
    for name, contents in {"modules": modules, "1_Pooling__config": {"pooling_mode": "mean"}, **files}.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(contents), encoding="utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(LoadError) as caught:
        read_sentence_layout(folder, "the/model")
    assert caught.value.exit_code == MODEL_UNFIT
    return caught.value.message


def test_other_folders_have_none(tmp_path: Path) -> None:
    assert read_sentence_layout(tmp_path, "m") is None


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["max"]}, "max"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({}, "mean"),
    ],
)
def test_pooling_of_both_ages(tmp_path: Path, config: dict[str, Any], pooling: str) -> None:
    layout = read_sentence_layout(write(tmp_path, **{"1_Pooling__config": config}), "m")
    assert layout is not None
    assert layout.pooling == pooling


@pytest.mark.parametrize(
    ("config", "how"),
    [
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls and mean"),
    ],
)
def test_other_poolings_are_refused_by_name(tmp_path: Path, config: dict[str, Any], how: str) -> None:
    folder = write(tmp_path, **{"1_Pooling__config": config})
    assert refused(folder) == f"the/model pools by {how}, which is not supported"


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    dense = {
        "in_features": 4,
        "out_features": 2,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    folder = write(
        tmp_path,
        {**STEPS, "3_Dense": "Dense"},
        **{"3_Dense__config": dense},
        sentence_bert_config={"max_seq_length": 256, "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "query: ", "document": "", "passage": "passage: "},
            "default_prompt_name": "passage",
            "activation_fn": "torch.nn.modules.activation.Tanh",
        },
    )
    (folder / "3_Dense" / "model.safetensors").touch()
    assert read_sentence_layout(folder, "m") == SentenceLayout(
        pooling="mean",
        max_length=256,
        lower_case=True,
        dense=(DenseLayer(folder / "3_Dense", 4, 2, bias=False, activation="Identity"),),
        prompt="passage: ",
        other_prompts=("query",),
        activation="Tanh",
    )


def test_what_cannot_be_done_is_refused_by_name(tmp_path: Path) -> None:
    steps = {**STEPS, "3_LSTM": "LSTM"}
    assert refused(write(tmp_path, steps)) == (
        "the/model needs the step LSTM in 3_LSTM of sentence-transformers, which is not supported"
    )
    dense = {"in_features": 4, "out_features": 2}
    files: dict[str, Any] = {"3_Dense__config": {**dense, "use_residual": True}}
    steps = {**STEPS, "3_Dense": "Dense"}
    assert refused(write(tmp_path, steps, **files)) == (
        "the/model wires its layer 3_Dense in a way of its own, which is not supported"
    )
    assert refused(write(tmp_path, steps, **{"3_Dense__config": dense})) == (
        "the/model: the layer 3_Dense has no model.safetensors; save the model again with sentence-transformers, which"
        " writes one"
    )
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    files = {"1_Pooling__config": {"include_prompt": False}, "config_sentence_transformers": prompts}
    assert refused(write(tmp_path, **files)) == (
        "the/model leaves its prompt out of the pooling, which is not supported"
    )


def test_absent_and_broken_files(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "1_Pooling" / "config.json").write_text("{", encoding="utf-8")
    assert refused(folder) == "the/model: the files that modules.json names cannot be read"
    (folder / "1_Pooling" / "config.json").unlink()
    assert refused(folder) == "the/model lacks 1_Pooling/config.json, which its modules.json names; fetch it again"
    for outside in ("..", "../other", "/etc", "a/b"):
        write(tmp_path, {"": "Transformer", outside: "Pooling"})
        assert refused(folder) == "the/model: the files that modules.json names cannot be read"
    write(tmp_path, modules={"not": "a list"})
    assert refused(folder) == "the/model: the files that modules.json names cannot be read"
