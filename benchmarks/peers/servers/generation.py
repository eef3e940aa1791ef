"""`generate()` for a batch of texts, as the tools' own examples call it."""

from typing import Any

import torch
import transformers


class Generation:
    """The model in float32 on the processor."""

    def __init__(self, folder: str) -> None:
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def __call__(self, requests: list[dict[str, Any]]) -> list[str]:
        """The continuation of each `prompt`, by `tokens` new ones; all of them are sampled, or none."""
        inputs = self._tokenizer([request["prompt"] for request in requests], return_tensors="pt", padding=True)
        sampling = {"temperature": 0.7, "top_k": 50, "top_p": 0.9} if requests[0]["sampled"] else {}
        with torch.inference_mode():
            ids = self._network.generate(
                **inputs,
                do_sample=requests[0]["sampled"],
                max_new_tokens=max(request["tokens"] for request in requests),
                **sampling,
            )
        return list(self._tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
