"""Writes the model that everybody serves, and what `generate()` answers with it.

    python -m benchmarks.peers.model FOLDER SIZE TOKENS N

A process of its own, so that no measured process shares its torch. SIZE is a key of SIZES. The answers to the first
N prompts of each checked kind go to FOLDER/answers.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.peers.prompts import CHECKED, prompt, words

SIZES: dict[str, dict[str, int]] = {
    "full": {
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "vocab_size": 8192,
    },
    "smoke": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 8192,
    },
}
CONTEXT = 2048
END = "<|end|>"


def write(folder: Path, size: str) -> Any:
    """A Llama with random weights in float32 and a tokenizer with about one token a word; the network."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, SIZES[size]["vocab_size"])
    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **SIZES[size],
            max_position_embeddings=CONTEXT,
            initializer_range=1.8 / SIZES[size]["hidden_size"] ** 0.5,  # less, and the answers repeat themselves
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    # An end token with a logit of 0 is never the likeliest of thousands: every answer has the length asked for.
    network.get_input_embeddings().weight.data[0] = 0
    network.eval().save_pretrained(folder)
    return network


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(words())], trainer)
    if (count := tokenizer.get_vocab_size()) != vocabulary:
        raise SystemExit(f"the words give {count} tokens")
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def answers(network: Any, folder: Path, tokens: int, checked: int) -> dict[str, list[str]]:
    """What follows the first prompts of each kind that is checked, greedily, each computed alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found: dict[str, list[str]] = {}
    for kind in CHECKED:
        found[kind] = []
        for number in range(checked):
            inputs = tokenizer(prompt(kind, number), return_tensors="pt")
            ids = network.generate(**inputs, do_sample=False, max_new_tokens=tokens)
            found[kind].append(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


def main() -> None:
    place, size, tokens, checked = sys.argv[1:]
    folder = Path(place)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    network = write(folder, size)
    found = answers(network, folder, int(tokens), int(checked))
    (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
