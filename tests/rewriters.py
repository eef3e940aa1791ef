"""Tiny random encoder-decoder models in the layout their repositories have on the hub: what rewrites a text."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.models import TEXT

Rewriter = Literal["t5", "bart", "marian", "m2m_100"]

POSITIONS = 128
"""Tokens that Bart and Marian read and write; T5 counts distances instead, and was trained on so many."""

_SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": POSITIONS,
    "init_std": 0.4,
}


def make_rewriter(kind: Rewriter, folder: Path, **config: Any) -> Path:
    """Write one model into `folder`, which is made, and return the folder; config: more keys of config.json."""
    folder.mkdir(parents=True)
    save = {"t5": _save_t5_tokenizer, "bart": _save_bart_tokenizer, "marian": _save_marian_tokenizer}
    vocabulary = save.get(kind, _save_bart_tokenizer)(folder)
    make_network(kind, vocabulary, **config).save_pretrained(folder)
    return folder


def make_network(kind: Rewriter, vocabulary: int, **config: Any) -> Any:
    """The model alone, for so many tokens."""
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    match kind:
        case "t5":
            return _make_t5(vocabulary, config)
        case "bart":
            return _make_bart(vocabulary, config)
        case "marian":
            return _make_marian(vocabulary, config)
        case "m2m_100":
            return transformers.M2M100ForConditionalGeneration(
                transformers.M2M100Config(**_SIZES, vocab_size=vocabulary, **config)
            )


def _make_t5(vocabulary: int, config: dict[str, Any]) -> Any:
    network = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=vocabulary,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            n_positions=POSITIONS,
            decoder_start_token_id=0,
            tie_word_embeddings=False,  # tied and random, it would repeat the token before
            **config,
        )
    )
    torch.nn.init.normal_(network.lm_head.weight)
    return network


def _make_bart(vocabulary: int, config: dict[str, Any]) -> Any:
    network = transformers.BartForConditionalGeneration(
        transformers.BartConfig(**_SIZES, vocab_size=vocabulary, forced_bos_token_id=0, **config)
    )
    network.generation_config.update(num_beams=2, max_length=32, min_length=6, no_repeat_ngram_size=3)
    return network


def _make_marian(vocabulary: int, config: dict[str, Any]) -> Any:
    pad = vocabulary - 1
    network = transformers.MarianMTModel(
        transformers.MarianConfig(
            **_SIZES, vocab_size=vocabulary, eos_token_id=0, pad_token_id=pad, decoder_start_token_id=pad, **config
        )
    )
    network.generation_config.update(bad_words_ids=[[pad]], num_beams=2, max_length=POSITIONS)
    return network


def _save_t5_tokenizer(folder: Path) -> int:
    """Words that begin with a mark for the space, the end token behind them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.UnigramTrainer(
            vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, **specials},
    )
    return int(tokenizer.get_vocab_size())


def _save_bart_tokenizer(folder: Path) -> int:
    """GPT-2's byte pairs between a begin and an end token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, **specials},
    )
    return int(tokenizer.get_vocab_size())


def _save_marian_tokenizer(folder: Path) -> int:
    """source.spm, target.spm and the vocabulary that both share, as Opus-MT has them; there is no tokenizer.json."""
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(_train_pieces())
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    known = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    names = ["</s>", "<unk>", *(piece for piece in known if piece not in ("<s>", "</s>", "<unk>")), "<pad>"]
    _write_json(folder / "vocab.json", {name: number for number, name in enumerate(names)})
    config = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    _write_json(folder / "tokenizer_config.json", {**config, "model_max_length": POSITIONS})
    return len(names)


def _train_pieces() -> bytes:
    written = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 5), model_writer=written, vocab_size=120, hard_vocab_limit=False, minloglevel=2
    )
    return written.getvalue()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
