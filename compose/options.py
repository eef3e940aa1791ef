"""What may be said on the command line before a command or after it, and the kinds of values that options take."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from compose.output import Console
    from compose.state import Selection

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


class Count(click.ParamType[int]):
    """How many of something, perhaps none."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not (isinstance(value, int) or (value.isascii() and value.isdigit())):
            self.fail("it takes a whole number from 0", param, ctx)
        return int(value)


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


def common_options(*, file_names: tuple[str, ...] = ("-f", "--file")) -> Callable[[F], F]:
    """The decorator that gives them to a command; file_names: less where `-f` means something else."""
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
