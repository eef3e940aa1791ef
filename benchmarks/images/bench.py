"""What measurements share within a run: projects and Bentos, each built when somebody first asks for it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.images.ours import LARGE, SERVICES, SMALL, Build, Project
from benchmarks.images.place import Place, copy_model, make_large_model, works
from benchmarks.images.registry import Registry, registry
from benchmarks.images.stock import Containerized, Stock, stock


@dataclass(frozen=True)
class Row:
    """A line of the table. stock: empty where stock BentoML has no such thing."""

    what: str
    target: str
    ours: str
    stock: str = ""


@dataclass
class Bench:
    """place: where. stock: the other side; None where it is left out."""

    place: Place
    stock: Stock | None
    _stack: ExitStack
    builds: dict[str, Build] = field(default_factory=dict)

    @cached_property
    def small_model(self) -> Path:
        return copy_model(self.place.scratch / "small-model")

    @cached_property
    def large_model(self) -> Path:
        return make_large_model(self.place.scratch / "large-model", self.place.megabytes)

    @cached_property
    def small(self) -> Project:
        """The quickstart example, built: its task as `builds["task"]`, then router and page as `builds["rest"]`."""
        text = SMALL.read_text(encoding="utf-8")
        project = Project.make(self.place, self.place.scratch / "measured", text, self.small_model)
        self.builds["task"] = project.build("chat-completion")
        self.builds["rest"] = project.build("router", "page")
        return project

    @cached_property
    def large(self) -> Project:
        """Two tasks over the large model, of which `chat` is built, as `builds["large"]`. Only its weights were new."""
        project = Project.make(self.place, self.place.scratch / "large", LARGE, self.large_model, self.small.cache)
        self.builds["large"] = project.build("chat")
        return project

    @cached_property
    def registry(self) -> Registry:
        """With `chat` of the large project in it, and the other side's image of it."""
        made = self._stack.enter_context(registry(self.place.scratch))
        self.large.command("push", made.name, "chat")
        if self.stock:
            self.stock.push(self.stock_large.tag, made.name)
        return made

    @cached_property
    def stock_small(self) -> Containerized:
        """Made from nothing but uv's cache."""
        return self._bento("small", "Small", self.small_model, cold=True)

    @cached_property
    def stock_large(self) -> Containerized:
        """Made with the packages of an earlier image."""
        assert self.stock_small
        return self._bento("chat", "Chat", self.large_model)

    def _bento(self, folder: str, name: str, model: Path, *, cold: bool = False) -> Containerized:
        assert self.stock is not None
        self.stock.write(self.stock_folder(folder), name, model)
        return self.stock.containerize(self.stock_folder(folder), name, cold=cold)

    def stock_second(self) -> Containerized:
        """Another service over the large model."""
        return self._bento("story", "Story", self.large_model)

    def stock_folder(self, name: str) -> Path:
        return self.place.scratch / f"stock-{name}"


@contextmanager
def bench(place: Place, *, with_stock: bool) -> Iterator[Bench]:
    """Whatever it makes outside of its folder is gone afterwards."""
    with ExitStack() as stack:
        made = Bench(place, stack.enter_context(stock(place)) if with_stock else None, stack)
        yield made
        if "small" in made.__dict__:
            for service in SERVICES:
                works("docker", "image", "rm", "--force", f"{made.small.reference(service)}:latest")
