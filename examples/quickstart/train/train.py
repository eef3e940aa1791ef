"""Trains the toy model of the quickstart from nothing and writes it beside this folder.

    python examples/quickstart/train/train.py [--steps 2000] [--output examples/quickstart/model]

A Llama of about 2.7 million parameters, saved as bfloat16 safetensors of under 6 MB; on two cores training takes
a quarter of an hour.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from corpus import Conversation, documents
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 1536
CONTEXT = 1024
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
OPENERS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "text": ""}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def as_text(turns: Conversation) -> str:
    """What the chat template makes of these turns."""
    return "".join(f"{OPENERS[role]}{content}{END}" for role, content in turns)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the training text, so that any input can be read."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def batches(tokenizer: PreTrainedTokenizerFast, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches (size, longest) of token ids, documents of like length together, padded at the end."""
    for epoch in range(1_000_000):
        encoded = tokenizer([as_text(turns) for turns in documents(size * 64, seed + epoch)])["input_ids"]
        encoded.sort(key=len)
        groups = [encoded[start : start + size] for start in range(0, len(encoded), size)]
        random.Random(epoch).shuffle(groups)
        for group in groups:
            longest = max(len(ids) for ids in group)
            yield torch.tensor([ids + [tokenizer.pad_token_id] * (longest - len(ids)) for ids in group])


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int, size: int) -> None:
    """AdamW with a short warm-up and a cosine decay; prints the loss as it falls."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    )
    started, total = time.monotonic(), 0.0
    for step, ids in zip(range(1, steps + 1), batches(tokenizer, size, seed=1), strict=False):
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        loss = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
        if step % 100 == 0:
            print(f"step {step}/{steps}  loss {total / 100:.3f}  {time.monotonic() - started:.0f} s", flush=True)
            total = 0.0


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A folder as the Hugging Face hub has them: config, generation defaults, tokenizer, safetensors."""
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.3,
        top_p=0.9,
        top_k=50,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(folder.iterdir())}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the toy model of the quickstart.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "model")
    options = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = make_tokenizer([as_text(turns) for turns in documents(4000, seed=0)])
    model = make_model(tokenizer)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, options.steps, options.batch)
    save(model, tokenizer, options.output)


if __name__ == "__main__":
    main()
