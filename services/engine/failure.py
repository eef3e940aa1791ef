"""Why a model could not be loaded, and how the process then ends; why a request could not be computed."""

import logging
import os

from services.errors import ServiceError

_log = logging.getLogger(__name__)

MODEL_UNFIT = os.EX_CONFIG
"""78: the model, or what the file says about it; starting again changes nothing."""
NO_MEMORY = os.EX_TEMPFAIL
"""75: not enough memory just now."""
DEVICE_ABSENT = os.EX_UNAVAILABLE
"""69: the device asked for is not there."""
UNEXPECTED = os.EX_SOFTWARE
"""70: a library failed in a way that we do not know, or a computation hung."""


class LoadError(Exception):
    """`message` is shown as it is; `exit_code` is one of the above."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def lacks_memory(error: Exception) -> bool:
    """Whether there was not enough memory, on whichever device. Call it where torch is loaded."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def explain(error: Exception) -> ServiceError:
    """What a client is told of whatever was raised while its request was computed; the log has the rest."""
    if isinstance(error, ServiceError):
        return error
    if lacks_memory(error):
        _log.error("out of memory while computing")
        return ServiceError(
            503,
            "out_of_memory",
            "There was not enough memory for this request.",
            hint="Shorten the input, or ask for less at once.",
            retry_after_s=1,
        )
    _log.error("computing failed", exc_info=error)
    return ServiceError(500, "generation_failed", "The model failed while it computed the answer.")


def not_finite() -> ServiceError:
    """For a request whose logits are NaN or infinite."""
    return ServiceError(
        500,
        "non_finite_output",
        "The model computed numbers that are not finite (NaN or infinity), so there is no answer.",
        hint="Try `precision: float32` in the file, or check the model's weights.",
    )


def beyond_cache(prompt: int, answer: int, tokens: int) -> ServiceError:
    """For a prompt and an answer, in tokens, that a cache of `tokens` cannot hold together."""
    return ServiceError(
        422,
        "prompt_too_long",
        f"The prompt has {prompt} tokens and the answer may have {answer}, but there is memory for {tokens} only.",
        hint='Shorten the prompt, or lower "max_output_length".',
    )
