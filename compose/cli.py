"""The command line: each command reads its options, calls one function and prints.

Only click is imported here; everything else waits until a command needs it.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from infra.errors import ExitCode, UserError

if TYPE_CHECKING:
    from compose.output import Console
    from compose.state import Selection

NAME = "model-compose"

F = TypeVar("F", bound=Callable[..., Any])


class Common:
    """The options that may stand before the command or after it."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.env_files: list[Path] = []
        self.env: dict[str, str] = {}
        self.quiet = False
        self.verbose = False

    @cached_property
    def console(self) -> "Console":
        from compose.output import Console

        return Console(quiet=self.quiet, verbose=self.verbose)

    @property
    def selection(self) -> "Selection":
        from compose.state import Selection

        return Selection(tuple(self.files), tuple(self.env_files), self.env)


class Program(click.Group):
    """A group of commands that ends in an exit code and, if it must, in one sentence; never in a trace."""

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


def _add(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Note what one place of the command line gives; the other may give more."""
    common: Common = context.obj
    match parameter.name:
        case "files":
            common.files.extend(value)
        case "env_files":
            common.env_files.extend(value)
        case "env":
            common.env.update(map(_key_value, value))
        case "quiet":
            common.quiet = common.quiet or value
        case "verbose":
            common.verbose = common.verbose or value


def _key_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter("it takes KEY=VALUE")  # what was given may be a secret
    return name, value


def _common_options(*, file_names: tuple[str, ...] = ("-f", "--file")) -> Callable[[F], F]:
    noted: dict[str, Any] = {"callback": _add, "expose_value": False}
    many: dict[str, Any] = {"multiple": True, **noted}
    path: dict[str, Any] = {"type": click.Path(path_type=Path), "metavar": "FILE", **many}
    options = (
        click.option(*file_names, "files", help="Read this file; of several, later ones win.", **path),
        click.option("-e", "--env", metavar="KEY=VALUE", help="Give ${env.KEY} this value.", **many),
        click.option("--env-file", "env_files", help="Read variables from here instead of .env.", **path),
        click.option("-q", "--quiet", is_flag=True, help="Print only results, warnings and errors.", **noted),
        click.option("-v", "--verbose", is_flag=True, help="Print more of what happens.", **noted),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from compose.state import tool_version

        click.echo(f"{NAME} {tool_version()}")
        context.exit()


class Seconds(click.ParamType[float]):
    """A time that is not over at once."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0
        if not 0 < seconds < float("inf"):
            self.fail("it takes a number of seconds above 0", param, ctx)
        return seconds


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EPILOG = "`init` writes a first file, `up` starts what it describes."


@click.group(cls=Program, context_settings=_SETTINGS, epilog=_EPILOG)
@_common_options()
@click.option(
    "--version", is_flag=True, callback=_show_version, expose_value=False, is_eager=True, help="Show the version."
)
def cli() -> None:
    """One YAML file in, running model services out."""


@cli.command()
@click.argument("name", required=False)
@click.pass_obj
def init(common: Common, name: str | None) -> None:
    """Write a starter file here, or in the new folder NAME."""
    from compose.init import write_starter

    common.console.result(write_starter(Path.cwd() / name if name else Path.cwd()))


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Return once everything is ready, and leave it running.")
@click.option(
    "--runtime", type=click.Choice(["process", "docker"]), help="Where to run, whatever the file says (no docker yet)."
)
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="Give up when it is not ready by then.")
@_common_options()
@click.pass_obj
def up(common: Common, detach: bool, runtime: str | None, wait_timeout: float | None) -> int:
    """Start what the file describes, and show where it is.

    Ctrl-C stops it once accepted requests are answered; a second one hurries, a third one kills.
    """
    common.console.status("reading the file")
    from compose.detach import background_half, start_in_background
    from compose.up import Wishes, require_process_runtime
    from compose.up import up as start

    require_process_runtime(runtime)
    leave_terminal = background_half()
    if detach and leave_terminal is None:
        return start_in_background(sys.argv[1:])
    return start(common.selection, Wishes(wait_timeout, leave_terminal), common.console)


@cli.command()
@_common_options()
@click.pass_obj
def down(common: Common) -> None:
    """Stop it, and return once it is stopped."""
    from compose.stop import down as stop

    stop(common.selection, common.console)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_common_options()
@click.pass_obj
def ps(common: Common, as_json: bool) -> None:
    """List the services: state, memory, address, last error."""
    from compose.listing import list_services

    list_services(common.selection, common.console, as_json=as_json)


@cli.command()
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each service.")
@_common_options(file_names=("--file",))
@click.pass_obj
def logs(common: Common, service: str | None, follow: bool, tail: int | None) -> None:
    """Show what the services have printed, or one SERVICE."""
    from compose.listing import show_logs

    show_logs(common.selection, service, common.console, count=tail, keep_on=follow)


@cli.command()
@click.argument("workflow", required=False)
@click.option("-i", "--input", "inputs", multiple=True, metavar="JSON|@FILE|NAME=TEXT", help="What the workflow reads.")
@click.option("--no-stream", is_flag=True, help="Print the output once it is complete.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the output there instead.")
@_common_options()
@click.pass_obj
def run(common: Common, workflow: str | None, inputs: Sequence[str], no_stream: bool, output: Path | None) -> None:
    """Run a WORKFLOW once, and print its output.

    Asks the server that `up` has started here; without one, starts what the workflow needs and stops it afterwards.
    """
    common.console.status("reading the file")
    from compose.inputs import parse_inputs
    from compose.runs import Question
    from compose.runs import run as ask

    question = Question(workflow, parse_inputs(inputs), stream=not no_stream, target=output)
    ask(common.selection, question, common.console)


@cli.command()
@_common_options()
@click.pass_obj
def validate(common: Common) -> None:
    """Check the file, and show everything that is wrong with it."""
    from compose.execute import load
    from compose.output import count

    spec = load(common.selection, common.console).spec
    parts = f"{count(len(spec.components), 'component')}, {count(len(spec.workflows), 'workflow')}"
    common.console.result(f"the file is valid: {parts}")


@cli.command()
@_common_options()
@click.pass_obj
def config(common: Common) -> None:
    """Print the file as it is understood, without its secrets."""
    from compose.config import resolved_yaml
    from compose.execute import load

    common.console.text(resolved_yaml(load(common.selection, common.console)))


@cli.command()
@click.pass_obj
def schema(common: Common) -> None:
    """Print the JSON schema of the file, for editors."""
    from compose.schema import shipped_schema

    common.console.text(shipped_schema())


def main() -> NoReturn:
    """The process's own command line."""
    cli.main()
