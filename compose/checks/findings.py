"""Where the checks of meaning write down what they find."""

from dataclasses import dataclass, field

from compose.blocks import Location, node_at
from compose.reading.nodes import Mapping, Scalar, mark_at
from compose.reading.problems import Mark, Problem


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems and warnings about the nodes of one file.

    known: every id in the file by the kind of block that bears it, also of blocks that were set aside as faulty.
    partial: blocks were set aside, so that what is missing may have been among them. damaged: the places of the blocks
    out of which something was set aside.
    """

    root: Mapping
    known: dict[str, frozenset[str]]
    partial: bool = False
    damaged: frozenset[Mark] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def is_whole(self, location: Location) -> bool:
        """Whether the block there is what the user has written, so that what is missing in it is missing."""
        node = node_at(self.root, location)
        return node is None or node.mark not in self.damaged

    def mark(self, location: Location, *, key: bool = False) -> Mark:
        """The place in the file."""
        return mark_at(self.root, location, key=key)

    def error(self, location: Location, message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Something wrong with the value there, or with its key."""
        self.problems.append(Problem(self.mark(location, key=key), message, hint, "wrong meaning"))

    def error_in_text(
        self, location: Location, fragment: str, message: str, hint: str | None = None, *, offset: int = 0
    ) -> None:
        """Something wrong `offset` characters into a piece of the text there."""
        node = node_at(self.root, location)
        mark = node.mark_of(fragment, offset) if isinstance(node, Scalar) else self.mark(location)
        self.problems.append(Problem(mark, message, hint, "wrong meaning"))

    def warn(
        self, location: Location, message: str, hint: str | None = None, *, fragment: str = "", key: bool = False
    ) -> None:
        """Something that is accepted, and that the user should know."""
        node = node_at(self.root, location)
        mark = node.mark_of(fragment) if isinstance(node, Scalar) and not key else self.mark(location, key=key)
        self.warnings.append(Problem(mark, message, hint))
