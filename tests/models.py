"""Tiny random models of every architecture that the examples name, in the layout their repositories have on the hub.

`make_model` writes one in well under a second: two layers, a vocabulary trained on the text below, seeded weights.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

Architecture = Literal["smollm3", "llama", "mistral", "gpt2", "gpt_neo", "codegen", "blenderbot"]
ARCHITECTURES: tuple[Architecture, ...] = (
    "smollm3",
    "llama",
    "mistral",
    "gpt2",
    "gpt_neo",
    "codegen",
    "blenderbot",
)

CONTEXT = 256
"""Positions of every decoder model; Blenderbot has 128, as the real one."""

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}

TEXT = (
    "Once upon a time in a distant galaxy, a small robot learned to tell stories.",
    "You are a helpful AI assistant. Explain quantum computing in simple terms.",
    "def hello_world(name):\n    print('Hello', name)\n    return len(name) + 1",
    "Good morning! How are you today? I am fine, thank you. What is your name?",
    "user: Hello\nassistant: Hello! How can I help you?\nsystem: Be brief.",
    "Grüße aus Köln, café, naïve, 안녕하세요, 日本語, Привет, 😀",
)

SMOLLM3_TEMPLATE = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "{% set mode = '/think' if enable_thinking else '/no_think' %}"
    "{% if messages[0].role == 'system' %}{% set given = messages[0].content.rstrip() %}"
    "{% else %}{% set given = 'You are a helpful AI assistant.' %}{% endif %}"
    "{{ '<|im_start|>system\\nReasoning Mode: ' + mode + '\\n\\n' + given + '<|im_end|>\\n' }}"
    "{% for message in messages %}{% if message.role != 'system' %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if not enable_thinking %}{{ '<think>\\n\\n</think>\\n' }}{% endif %}{% endif %}"
)

ZEPHYR_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def make_model(
    architecture: Architecture,
    folder: Path,
    *,
    safetensors: bool = True,
    seed: int = 0,
    change: Callable[[transformers.PreTrainedModel], None] | None = None,
) -> Path:
    """Write one model into `folder`, which is made when absent, and return the folder.

    safetensors: False saves `pytorch_model.bin` instead, as old repositories have it.
    seed: another seed is another model of the same shape.
    change: called with the model before it is saved, to spoil it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _MAKERS[architecture](folder)
    torch.manual_seed(seed)
    model = _make_network(architecture, vocabulary)
    if change is not None:
        change(model)
    model.save_pretrained(folder)
    if not safetensors:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


def _make_network(architecture: Architecture, vocabulary: int) -> Any:
    """A fresh model with random weights, spread widely enough that greedy decoding does not repeat one token."""
    wide = {"vocab_size": vocabulary, "initializer_range": 0.4}
    gpt = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, "bos_token_id": 0, "eos_token_id": 0}
    match architecture:
        case "smollm3":
            return transformers.SmolLM3ForCausalLM(
                transformers.SmolLM3Config(
                    **SIZES, **wide, no_rope_layers=[1, 0], bos_token_id=0, eos_token_id=2, pad_token_id=1
                )
            )
        case "llama":
            return transformers.LlamaForCausalLM(
                transformers.LlamaConfig(**SIZES, **wide, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True)
            )
        case "mistral":
            return transformers.MistralForCausalLM(
                transformers.MistralConfig(**SIZES, **wide, sliding_window=64, bos_token_id=1, eos_token_id=2)
            )
        case "gpt2":
            return transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt, **wide))
        case "gpt_neo":
            return transformers.GPTNeoForCausalLM(
                transformers.GPTNeoConfig(
                    **wide,
                    hidden_size=32,
                    num_layers=2,
                    num_heads=4,
                    attention_types=[[["global", "local"], 1]],
                    window_size=8,
                    max_position_embeddings=CONTEXT,
                    bos_token_id=0,
                    eos_token_id=0,
                )
            )
        case "codegen":
            return transformers.CodeGenForCausalLM(
                transformers.CodeGenConfig(**gpt, **wide, n_ctx=CONTEXT, rotary_dim=4)
            )
        case "blenderbot":
            return _make_blenderbot(vocabulary)


def _make_blenderbot(vocabulary: int) -> Any:
    model = transformers.BlenderbotForConditionalGeneration(
        transformers.BlenderbotConfig(
            vocab_size=vocabulary,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=128,
            init_std=0.4,
            bos_token_id=1,
            pad_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    )
    model.generation_config.update(
        num_beams=4, min_length=5, max_length=24, length_penalty=0.65, no_repeat_ngram_size=3, forced_eos_token_id=2
    )
    return model


def _byte_level(specials: list[str]) -> Tokenizer:
    """GPT-2's kind of tokenizer: byte pairs, so that any text can be read."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def _make_chatml(folder: Path) -> int:
    tokenizer = _byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|im_end|>", "<|im_start|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    return _save_fast(
        folder,
        tokenizer,
        SMOLLM3_TEMPLATE,
        bos_token="<|begin_of_text|>",
        eos_token="<|im_end|>",
        pad_token="<|end_of_text|>",
    )


def _make_llama3(folder: Path) -> int:
    tokenizer = _byte_level(["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    return _save_fast(folder, tokenizer, LLAMA_TEMPLATE, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def _make_zephyr(folder: Path) -> int:
    """SentencePiece's kind: words begin with a mark for the space, unknown characters fall back to bytes."""
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator((text.replace("😀", "").replace("안녕하세요", "") for text in TEXT), trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = saved["added_tokens"][:3]
    return _save_fast(
        folder,
        Tokenizer.from_str(json.dumps(saved)),
        ZEPHYR_TEMPLATE,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def _save_fast(folder: Path, tokenizer: Tokenizer, chat_template: str, **specials: str) -> int:
    """tokenizer.json and tokenizer_config.json with the chat template inside."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "chat_template": chat_template}
    _write_json(folder / "tokenizer_config.json", {**config, **specials})
    return tokenizer.get_vocab_size()


def _make_gpt2(folder: Path) -> int:
    """vocab.json and merges.txt only, as DialoGPT has it."""
    return _save_pairs(folder, ["<|endoftext|>"], {"model_max_length": CONTEXT})


def _make_gpt_neo(folder: Path) -> int:
    end = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _write_json(folder / "special_tokens_map.json", end)
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": CONTEXT, "add_prefix_space": False, **end}
    return _save_pairs(folder, ["<|endoftext|>"], config)


def _make_codegen(folder: Path) -> int:
    end = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CodeGenTokenizer", "model_max_length": CONTEXT, "add_prefix_space": False, **end}
    return _save_pairs(folder, ["<|endoftext|>"], config)


def _make_blenderbot_tokenizer(folder: Path) -> int:
    config = {"tokenizer_class": "BlenderbotTokenizer", "model_max_length": 128, "add_prefix_space": True}
    return _save_pairs(folder, ["<pad>", "<s>", "</s>", "<unk>", "<mask>"], config)


def _save_pairs(folder: Path, specials: list[str], config: dict[str, Any]) -> int:
    """vocab.json, merges.txt and tokenizer_config.json."""
    tokenizer = _byte_level(specials)
    tokenizer.model.save(str(folder))
    _write_json(folder / "tokenizer_config.json", config)
    return tokenizer.get_vocab_size()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


_MAKERS: dict[Architecture, Callable[[Path], int]] = {
    "smollm3": _make_chatml,
    "llama": _make_llama3,
    "mistral": _make_zephyr,
    "gpt2": _make_gpt2,
    "gpt_neo": _make_gpt_neo,
    "codegen": _make_codegen,
    "blenderbot": _make_blenderbot_tokenizer,
}
