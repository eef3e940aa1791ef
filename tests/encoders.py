"""Tiny random encoders, bare or with a head for classification, in the layout their repositories have on the hub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.models import TEXT

Encoder = Literal["bert", "distilbert", "mpnet", "xlm-roberta", "modernbert", "t5", "qwen3"]
ENCODERS: tuple[Encoder, ...] = ("bert", "distilbert", "mpnet", "xlm-roberta", "modernbert", "t5", "qwen3")

POSITIONS = 64
"""Tokens that each of them reads."""

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.4,
}


def make_encoder(
    kind: Encoder,
    folder: Path,
    *,
    labels: int = 0,
    seed: int = 0,
    change: Callable[[transformers.PreTrainedModel], None] | None = None,
    **config: Any,
) -> Path:
    """Write one model into `folder`, which is made, and return the folder.

    labels: classes that a head tells apart; 0: no head.
    seed: another seed is another model of the same shape.
    change: called with the model before it is saved, to spoil it.
    config: more keys of config.json.
    """
    folder.mkdir(parents=True)
    byte_level = kind in ("mpnet", "xlm-roberta", "modernbert", "qwen3")
    vocabulary = (_save_byte_level if byte_level else _save_word_pieces)(folder, pairs_have_types=kind == "bert")
    torch.manual_seed(seed)
    model = _make_network(kind, vocabulary, labels, config)
    if change is not None:
        change(model)
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def make_sentence_layout(folder: Path, *, pooling: str = "mean", width: int = 0, **files: Any) -> Path:
    """Add sentence-transformers' files to an encoder.

    width: that of a dense layer with tanh behind the pooling; 0: none.
    files: contents of sentence_bert_config and config_sentence_transformers, by these names.
    """
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode": pooling})
    if width:
        steps.append(("2_Dense", "Dense"))
        names = {"in_features": 32, "out_features": width, "bias": True}
        _write_json(
            folder / "2_Dense" / "config.json",
            {**names, "activation_function": "torch.nn.modules.activation.Tanh"},
        )
        linear = torch.nn.Linear(32, width)
        tensors = {"linear.weight": linear.weight.detach(), "linear.bias": linear.bias.detach()}
        save_file(tensors, folder / "2_Dense" / "model.safetensors")
    steps.append((f"{len(steps)}_Normalize", "Normalize"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(steps)
    ]
    _write_json(folder / "modules.json", modules)
    for name, contents in files.items():
        _write_json(folder / f"{name}.json", contents)
    return folder


def _make_network(kind: Encoder, vocabulary: int, labels: int, more: dict[str, Any]) -> Any:
    if labels:
        more = {"num_labels": labels, **more}
    config: Any
    match kind:
        case "bert":
            config = transformers.BertConfig(
                **_SIZES, vocab_size=vocabulary, max_position_embeddings=POSITIONS, pad_token_id=0, **more
            )
        case "distilbert":
            config = transformers.DistilBertConfig(
                vocab_size=vocabulary,
                dim=32,
                hidden_dim=64,
                n_layers=2,
                n_heads=4,
                initializer_range=0.4,
                max_position_embeddings=POSITIONS,
                **more,
            )
        case "mpnet":
            config = transformers.MPNetConfig(
                **_SIZES, vocab_size=vocabulary, max_position_embeddings=POSITIONS + 2, pad_token_id=1, **more
            )
        case "xlm-roberta":
            config = transformers.XLMRobertaConfig(
                **_SIZES,
                vocab_size=vocabulary,
                max_position_embeddings=POSITIONS + 2,
                type_vocab_size=1,
                bos_token_id=0,
                pad_token_id=1,
                eos_token_id=2,
                **more,
            )
        case "modernbert":
            config = transformers.ModernBertConfig(
                **_SIZES,
                vocab_size=vocabulary,
                max_position_embeddings=POSITIONS,
                local_attention=16,
                pad_token_id=1,
                bos_token_id=0,
                eos_token_id=2,
                cls_token_id=0,
                sep_token_id=2,
                **more,
            )
        case "t5":
            config = transformers.T5Config(
                vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0, **more
            )
            return transformers.T5EncoderModel(config)
        case "qwen3":
            config = transformers.Qwen3Config(
                **_SIZES,
                vocab_size=vocabulary,
                num_key_value_heads=2,
                head_dim=8,
                max_position_embeddings=POSITIONS,
                pad_token_id=1,
                **more,
            )
    auto = transformers.AutoModelForSequenceClassification if labels else transformers.AutoModel
    return auto.from_config(config)


def _save_word_pieces(folder: Path, *, pairs_have_types: bool) -> int:
    """BERT's kind of tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    second = ":1" if pairs_have_types else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] $B{second} [SEP]{second}",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    types = ["token_type_ids"] if pairs_have_types else []
    return _save(
        folder,
        tokenizer,
        {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
        types,
    )


def _save_byte_level(folder: Path, *, pairs_have_types: bool) -> int:
    """RoBERTa's kind of tokenizer."""
    assert not pairs_have_types
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _save(folder, tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}, [])


def _save(folder: Path, tokenizer: Tokenizer, specials: dict[str, str], types: list[str]) -> int:
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", *types, "attention_mask"],
        **specials,
    }
    _write_json(folder / "tokenizer_config.json", config)
    return tokenizer.get_vocab_size()


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
