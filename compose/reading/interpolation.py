"""Where `${env.NAME}` gets its value: environment files, and the file's data with these values beside its own words."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dotenv.parser import parse_stream

from compose.reading.nodes import Node, Scalar, Sequence
from compose.reading.problems import Mark, Problem, SourceError
from services.router.expression import ExpressionError, Template, parse, render, walk
from services.router.names import closest


class EnvText(str):
    """A text of the file that reads nothing but the environment, as written.

    resolved: what it stands for, in its own type when the text is one expression. A setting takes this; a template
    keeps the words, and the router renders them.
    """

    resolved: Any

    def __new__(cls, text: str, resolved: Any) -> "EnvText":
        self = super().__new__(cls, text)
        self.resolved = resolved
        return self

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]  # str has one argument, this has two
        return str(self), self.resolved


@dataclass(frozen=True, slots=True)
class Interpolated:
    """data: dicts, lists and scalars, texts that read only the environment as EnvText. used: variables that are read,
    with their values."""

    data: Any
    used: dict[str, str]
    problems: tuple[Problem, ...]


def read_env_file(text: str, name: str) -> dict[str, str]:
    """The variables of a `KEY=VALUE` file called `name`; a value is literal, also where it holds `$`.

    A key without `=` gives nothing. Raises SourceError with every line that cannot be read.
    """
    values: dict[str, str] = {}
    problems = []
    # dotenv's parser, because its `dotenv_values` only logs what it cannot read.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or "\0" in (binding.value or ""):
            words = binding.original.string.lstrip()
            blank_lines = binding.original.string.removesuffix(words).count("\n")
            mark = Mark(name, binding.original.line + blank_lines, 1)
            hint = "is a quote left open?" if "'" in words or '"' in words else None
            problems.append(Problem(mark, "this line is not `NAME=VALUE`", hint, "cannot read"))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    if problems:
        raise SourceError(*problems)
    return values


def to_data(node: Node, environment: Mapping[str, str]) -> Interpolated:
    """The file's plain data, and what is wrong with the variables it reads: not set, or not of the type asked for."""
    interpolation = _Interpolation(dict(environment))
    data = interpolation.data(node)
    return Interpolated(data, interpolation.used, tuple(dict.fromkeys(interpolation.problems)))


class _Interpolation:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.used: dict[str, str] = {}
        self.problems: list[Problem] = []

    def data(self, node: Node) -> Any:
        match node:
            case Scalar(value=str() as text) if "${" in text:
                return self._text(text, node)
            case Scalar():
                return node.value
            case Sequence():
                return [self.data(item) for item in node.items]
        return {key: self.data(entry.value) for key, entry in node.entries.items()}

    def _text(self, text: str, scalar: Scalar) -> str:
        try:
            template = parse(text)
            known = self._look_up(template, scalar)
            if known and all(use.expression.source == "env" for use in walk(template)):
                return EnvText(text, render(template, {"env": self.environment}))
        except ExpressionError as error:
            # Templates are checked elsewhere, and other texts need not hold expressions; a variable is one anywhere.
            if "${env" in text:
                start = text.rfind("\n", 0, error.position) + 1
                mark = scalar.mark_of(text[start:].partition("\n")[0], error.position - start)
                self.problems.append(Problem(mark, error.message, None, "wrong meaning"))
        return text

    def _look_up(self, template: Template, scalar: Scalar) -> bool:
        """Note the variables that the template reads; whether each is set or has a default."""
        known = True
        for expression in template.expressions:
            if expression.source == "env":
                name = str(expression.path[0])
                if name in self.environment:
                    self.used[name] = self.environment[name]
                    continue
                if expression.default is None:
                    self._not_set(name, scalar.mark_of(expression.text))
                    known = False
            for inner in (expression.default, *expression.path):
                if isinstance(inner, Template):
                    known &= self._look_up(inner, scalar)
        return known

    def _not_set(self, name: str, mark: Mark) -> None:
        meant = closest(name, self.environment)
        hint = f"did you mean `{meant}`?" if meant else f"set it in .env or with -e {name}=VALUE, or give a default"
        self.problems.append(Problem(mark, f"the variable `{name}` is not set", hint, "wrong meaning"))
