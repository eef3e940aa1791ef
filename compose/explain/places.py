"""How a template, an expression and its place read in a sentence, and where they stand in the file."""

from collections.abc import Iterator
from dataclasses import dataclass

from compose.blocks import Location, node_at
from compose.reading.nodes import Mapping, Scalar
from services.router.expression import EACH, Expression, Slice, Step, Template, Tree


@dataclass(frozen=True, slots=True)
class File:
    """The file in today's dialect, to look up places in."""

    root: Mapping

    def place(self, location: Location, expression: Expression) -> str | None:
        """`model-compose.yml:3:14`, where an expression stands; None when the file does not hold it."""
        node = node_at(self.root, location)
        return str(node.mark_of(expression.text)) if isinstance(node, Scalar) else None


def shown(tree: Tree) -> str:
    """A template or literal on one line, its expressions without types and annotations."""
    match tree:
        case Template():
            text = "".join(part if isinstance(part, str) else _expression(part) for part in tree.parts)
            return text.strip().replace("\n", "\\n")
        case str():
            return f'"{tree}"'
        case None:
            return "null"
        case bool():
            return "true" if tree else "false"
        case dict():
            return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in tree.items()) + "}"
        case list():
            return "[" + ", ".join(map(shown, tree)) + "]"
    return str(tree)


def _expression(expression: Expression) -> str:
    default = f" | {shown(expression.default)}" if expression.default is not None else ""
    return f"${{{read_by(expression)}{default}}}"


def read_by(expression: Expression) -> str:
    """What an expression reads: `input.items[0].name`, `jobs.a.output`, `index`."""
    return expression.source + "".join(_steps(expression.path))


def path_shown(path: tuple[Step, ...]) -> str:
    """`items[0].name`."""
    return "".join(_steps(path)).removeprefix(".")


def key_path(location: tuple[str | int, ...]) -> str:
    """`input.messages[0].content`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")


def _steps(path: tuple[Step, ...]) -> Iterator[str]:
    for step in path:
        match step:
            case str():
                yield f".{step}"
            case Slice():
                start, stop = ("" if bound is None else bound for bound in (step.start, step.stop))
                yield f"[{start}:{stop}]"
            case Template():
                yield f"[{', '.join(read_by(inner) for inner in step.expressions)}]"
            case _:
                yield "[*]" if step is EACH else f"[{step}]"
