"""What each layer of ours holds, beside the packages: the weights, our code, and what is an image's own."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from builders.baking import WeightsSet, pack
from builders.bento import SERVICE, SERVICE_FILE, BentoInputs, make_bento, settings_text
from builders.causes import Recipe
from builders.code import Code, ImageKind
from builders.container import BENTO, CODE, SETTINGS
from builders.images.layout import digest_of
from builders.images.tar import Entry, File, Tree


@dataclass(frozen=True, slots=True)
class Content:
    """A layer to be: what it is made of, and how; `make` is called only when no layer of this recipe is there."""

    recipe: Recipe
    make: Callable[[], Tree]


def weights_layers(weights: WeightsSet) -> list[Content]:
    """The model; equal for every task over the same weights."""
    return [
        Content(Recipe(packed.purpose, {"the weights": packed.key}), partial(dict, packed.tree))
        for packed in pack(weights)
    ]


def code_layer(kind: ImageKind, code: Code) -> Content:
    """Our own packages; equal for every task."""

    def make() -> Tree:
        tree: dict[str, Entry] = {f"{CODE[kind]}/{name}": File(path) for name, path in code.files.items()}
        if kind == "task":
            tree[f"{CODE[kind]}/{SERVICE_FILE}"] = File(SERVICE.encode())
        return tree

    return Content(Recipe("our code", {"our code": code.digest, "the image's kind": kind}), make)


def task_layer(inputs: BentoInputs) -> Content:
    """A task's own: its settings, and the rest of its Bento."""
    text = settings_text(inputs.settings)
    parts = {
        "its settings": digest_of(text.encode()),
        "our code": inputs.code.digest,
        "the packages that it asks for": digest_of("\n".join(inputs.packages).encode()),
        "BentoML": version("bentoml"),
        "Python": inputs.python_version,
    }
    return Content(Recipe("the task's settings and its Bento", parts), lambda: _rest_of_bento(inputs, text))


def _rest_of_bento(inputs: BentoInputs, text: str) -> Tree:
    """The Bento without what the layer of our code holds."""
    shared = {f"src/{SERVICE_FILE}", *(f"src/{name}" for name in inputs.code.files)}
    with tempfile.TemporaryDirectory(prefix="model-compose-bento-") as scratch:
        bento = Path(scratch, "bento")
        make_bento(inputs, bento)
        files = {path.relative_to(bento).as_posix(): path for path in bento.rglob("*") if path.is_file()}
        own = {f"{BENTO}/{name}": File(path.read_bytes()) for name, path in files.items() if name not in shared}
    return {**own, SETTINGS["task"]: File(text.encode())}


def settings_layer(kind: ImageKind, text: str) -> Content:
    """What the router or the page reads at start."""
    content = text.encode()
    parts = {"its settings": digest_of(content), "the image's kind": kind}
    return Content(Recipe("its settings", parts), lambda: {SETTINGS[kind]: File(content)})
