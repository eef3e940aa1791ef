"""How the terminal follows a build: a line for each layer, a bar for what takes long, a table at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from builders.spec import Built, BuiltLayer
from compose.output import Console, columns
from infra.sizes import size

_BAR: Final = 20
_VERDICTS: Final = {True: "reused", False: "new"}


@dataclass
class BuildReport:
    """A `builders.spec.Listener`. images: the names of all that are built, in order. brief: what is new or lasts."""

    console: Console
    images: Sequence[str]
    brief: bool = False
    _last: str = ""
    """The step that was told last, where lines cannot be rewritten."""
    _width: int = field(init=False)

    def __post_init__(self) -> None:
        self._width = max(map(len, self.images), default=0)

    def step(self, image: str, what: str, progress: float | None = None) -> None:
        """On a terminal the last line, whose end may not fit; elsewhere a line for each new step.

        brief: not for one that is done as soon as it is begun, as those are for what is there already.
        """
        named = f"{image}: {what}" if image else what
        if self.console.is_live:
            self.console.status(named if progress is None else f"{bar(progress)}  {named}")
        elif named != self._last and not (self.brief and progress in (0.0, 1.0)):
            self._last = named
            self.console.say(named)

    def layer(self, image: str, built: BuiltLayer) -> None:
        """What it is for, whether it is new, how large it is, and why."""
        if built.reused and self.brief:
            return
        verdict, amount = _VERDICTS[built.reused], size(built.layer.size)
        self.console.say(f"{image:{self._width}}  {verdict:6}  {amount:>10}  {built.layer.purpose}  ({built.cause})")

    def built(self, image: Built) -> None:
        """The table tells of it."""

    def note(self, image: str, text: str) -> None:
        """Something that is known of a whole image."""
        self.console.say(f"{image:{self._width}}  {text}")

    def lines(self, image: str, printed: Sequence[str]) -> None:
        """What a container of the image printed."""
        for line in printed:
            self.console.say(f"{image:{self._width}}  | {line}")

    def finish(self, images: Sequence[Built]) -> None:
        """Print the table of all images, which is what the command was called for."""
        self.console.status("")
        rows = [
            (
                built.reference,
                size(built.image.size),
                str(sum(not layer.reused for layer in built.layers)),
                str(sum(layer.reused for layer in built.layers)),
                built.image.digest,
            )
            for built in images
        ]
        self.console.result(columns([("IMAGE", "SIZE", "NEW", "REUSED", "DIGEST"), *rows]))


def bar(progress: float) -> str:
    """`[########............] 43 %`."""
    done = round(min(max(progress, 0.0), 1.0) * _BAR)
    return f"[{'#' * done}{'.' * (_BAR - done)}] {progress:.0%}".replace("%", " %")
