"""What an image holds above its base and its packages: the weights, our code, and what is its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from builders.baking import WeightsSet, pack
from builders.bento import SERVICE, SERVICE_FILE, BentoInputs, make_bento, settings_text
from builders.causes import Recipe
from builders.code import Code, ImageKind, code_for, tool_version
from builders.container import BENTO, BILL, CODE, SETTINGS, STATE
from builders.gathering import Ingredients
from builders.images.base import is_remote
from builders.images.layout import digest_of, exact_json
from builders.images.tar import Entry, File, Folder, Tree, folder_tree
from builders.sbom import Contents, bill_of_materials
from builders.spec import BuildSpec
from services.settings import TaskSettings

_BENTO_RULES: Final = [Path(__file__).with_name(name) for name in ("bento.py", "bento_child.py")]
_BILL_RULES: Final = [Path(__file__).with_name("sbom.py")]
"""What decides, beside its inputs, what a Bento and a bill are."""


@dataclass(frozen=True, slots=True)
class Content:
    """A layer to be.

    make: called only when no layer of this recipe is there, with a path at which it may make a folder; the tree may
    refer to files in it. mtime: of its files, in seconds since 1970.
    """

    recipe: Recipe
    make: Callable[[Path], Tree]
    mtime: int = 0

    def dated(self, mtime: int) -> "Content":
        """The same with files of another time."""
        if not mtime:
            return self
        parts = {**self.recipe.parts, "the time of its files": str(mtime)}
        return replace(self, recipe=replace(self.recipe, parts=parts), mtime=mtime)


@dataclass(frozen=True, slots=True)
class Own:
    """All of it. settings: the text that the service reads at start. facts: what labels say of a task."""

    settings: str
    contents: tuple[Content, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


def own_of(spec: BuildSpec, ingredients: Ingredients, mtime: int = 0) -> Own:
    """What makes the image of `spec` what it is; what changes more often lies higher.

    mtime: of all files but the weights, in seconds since 1970: no commit of a project is to send those again.
    """
    code = code_for(spec.kind)
    common = (code_layer(spec.kind, code).dated(mtime), bill_layer(spec.name, ingredients, mtime).dated(mtime))
    weights = ingredients.weights
    if weights is None or ingredients.locked is None:
        return Own(spec.settings, (*common, settings_layer(spec.kind, spec.settings).dated(mtime)))
    here = {"model_path": Path(weights.folder), "start_record": None}
    settings = TaskSettings.model_validate_json(spec.settings).model_copy(update=here)
    requirements = tuple(ingredients.wanted.requirements.splitlines())
    inputs = BentoInputs(settings, code, requirements, ingredients.wanted.python)
    revision = ingredients.locked.revision
    facts = {
        "task": settings.task,
        "model": settings.model,
        "weights": weights.digest,
        "device": "cuda" if spec.gpu else "cpu",
        **({"revision": revision} if revision else {}),
    }
    own = (*weights_layers(weights), *common, task_layer(inputs).dated(mtime))
    return Own(settings_text(settings), own, facts)


def weights_layers(weights: WeightsSet) -> list[Content]:
    """The model; equal for every task over the same weights."""
    return [
        Content(Recipe(packed.purpose, {"the weights": packed.key}), _given(packed.tree)) for packed in pack(weights)
    ]


def _given(tree: Tree) -> Callable[[Path], Tree]:
    return lambda _: tree


def code_layer(kind: ImageKind, code: Code) -> Content:
    """Our own packages; equal for every task."""
    parts = {"our code": code.digest, "the image's kind": kind, "its folder": CODE[kind]}
    tree: dict[str, Entry] = {f"{CODE[kind]}/{name}": File(content) for name, content in code.files.items()}
    if kind == "task":
        tree[f"{CODE[kind]}/{SERVICE_FILE}"] = File(SERVICE.encode())
        parts["the service"] = digest_of(SERVICE.encode())
    if kind == "router":
        tree[STATE] = Folder(shared=True)  # a new volume takes its rights from the folder in the image
        parts["the folder of its state"] = STATE
    return Content(Recipe("our code", parts), _given(tree))


def bill_layer(name: str, ingredients: Ingredients, mtime: int) -> Content:
    """The bill of materials, which goes wherever the image goes."""
    base = ingredients.base
    contents = Contents(
        name=name,
        version=tool_version(),
        tool=tool_version(),
        base=(base.reference if is_remote(base.reference) else "base image", base.digest),
        packages=ingredients.packages,
        models={ingredients.model: ingredients.locked} if ingredients.locked else {},
    )
    parts = {
        "the base image": " ".join(contents.base),
        "the packages": contents.packages.digest,
        "the model": digest_of(exact_json({key: model.to_toml() for key, model in contents.models.items()})),
        "model-compose": contents.tool,
        "how it is written": _digest_of(_BILL_RULES),
        "the libraries that write it": f"{version('cyclonedx-python-lib')} {version('packageurl-python')}",
        "its name": name,
        "its place": BILL,
    }
    return Content(Recipe("the bill of materials", parts), lambda _: {BILL: File(bill_of_materials(contents, mtime))})


def task_layer(inputs: BentoInputs) -> Content:
    """A task's own: its settings, and the rest of its Bento."""
    parts = {
        "its settings": digest_of(settings_text(inputs.settings).encode()),
        "our code": inputs.code.digest,
        "the packages that it asks for": digest_of("\n".join(inputs.packages).encode()),
        "how its Bento is made": _digest_of(_BENTO_RULES),
        "BentoML": version("bentoml"),
        "Python": inputs.python_version,
        "its places": f"{BENTO} {SETTINGS['task']}",
    }
    return Content(Recipe("the task's settings and its Bento", parts), lambda bento: _rest_of_bento(inputs, bento))


def _digest_of(rules: Sequence[Path]) -> str:
    return digest_of(b"".join(path.read_bytes() for path in rules))


def _rest_of_bento(inputs: BentoInputs, bento: Path) -> Tree:
    """The Bento, made in a folder, without what the layer of our code holds."""
    make_bento(inputs, bento)
    shared = {f"src/{SERVICE_FILE}", *(f"src/{name}" for name in inputs.code.files)}
    own = folder_tree(bento, BENTO, only=lambda path: str(path) not in shared)
    return {**own, SETTINGS["task"]: File(settings_text(inputs.settings).encode())}


def settings_layer(kind: ImageKind, text: str) -> Content:
    """What the router or the page reads at start."""
    content = text.encode()
    parts = {"its settings": digest_of(content), "the image's kind": kind, "its place": SETTINGS[kind]}
    return Content(Recipe("its settings", parts), _given({SETTINGS[kind]: File(content)}))
