"""The one error family of everything that speaks to a person at a terminal."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit status means; each kind of failure has its own."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FILE = 3
    ENVIRONMENT = 4
    NOT_RUNNING = 5
    TIMEOUT = 6
    INTERRUPTED = 130


class UserError(Exception):
    """One clear sentence for the user, what to do next, and the exit status it ends in."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class PassingError(UserError):
    """What may be over the next time."""

    @classmethod
    def of(cls, error: UserError) -> "PassingError":
        return cls(error.message, hint=error.hint, exit_code=error.exit_code)
