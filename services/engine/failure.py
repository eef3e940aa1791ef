"""Why a model could not be loaded, in a sentence for the user, and how the process then ends."""

import os

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
