"""How the command ends: in an exit code and, if it must, in one sentence; never in a trace."""

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import click

from compose.options import Common
from infra.errors import ExitCode, UserError

NAME = "model-compose"


class Program(click.Group):
    """A group of commands whose failures are told to people."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own
        """In the order in which they are needed, which is that below."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, **_extra: Any) -> NoReturn:  # type: ignore[override] # it always leaves
        """Run the command line `args`, by default that of the process; leaves by SystemExit."""
        common = Common()
        try:
            with _ended_in_order():
                status = super().main(args, prog_name=NAME, standalone_mode=False, obj=common)
            sys.exit(status if isinstance(status, int) else ExitCode.OK)
        except UserError as error:
            failure = error
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(ExitCode.USAGE)
        except click.ClickException as error:
            failure = _wrong_usage(error)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(ExitCode.INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - people get a sentence, and the trace goes to a file
            failure = _unforeseen(error)
        common.console.status("")
        common.console.error(failure)
        sys.exit(failure.exit_code)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Inside, a request to end is an interrupt, so that what is half done is cleared away."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wrong_usage(error: click.ClickException) -> UserError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context is not None else NAME
    possible = [f"`{name}`" for name in getattr(error, "possibilities", None) or ()]
    message = (error.message if possible else error.format_message()).rstrip(".").replace("'", "`")
    message = message[:1].lower() + message[1:]
    doubt = f"did you mean {' or '.join(possible)}? " if possible else ""
    return UserError(message, hint=f"{doubt}`{command} --help` shows what is possible", exit_code=ExitCode.USAGE)


def _unforeseen(error: Exception) -> UserError:
    import os
    import tempfile
    import traceback

    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{NAME}-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
        where = f"; {path} says where it happened"
    except OSError:
        where = ""
    return UserError(
        f"{NAME} failed in a way that was not foreseen ({type(error).__name__})",
        hint=f"please report it{where}",
        exit_code=ExitCode.FAILED,
    )
