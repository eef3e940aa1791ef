"""`plan`: what `up` would do and need, told before anything is fetched, built or started."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.code import tool_version
from builders.container import own_labels
from builders.images.layout import Image
from builders.images.store import BlobStore
from builders.spec import stored_name
from compose.images import image_name, is_current, services_of
from compose.machine import this_machine
from compose.models import Known, find, learn, observed
from compose.needs import needs_of
from compose.output import Console
from compose.plan import Step, in_lines, make_plan
from compose.runtime import chosen_runtime
from compose.state import Selection
from infra.docker.errors import EngineError
from infra.errors import ExitCode, UserError

if TYPE_CHECKING:
    from compose.loader import Loaded
    from infra.docker.engine import Engine


def preview(selection: Selection, runtime: str | None, console: Console, *, as_json: bool) -> ExitCode:
    """Print the steps and the needs; the exit code says whether `up` can work as far as that is known.

    runtime: as it stands on the command line.
    """
    loaded = selection.load(console)
    in_containers = chosen_runtime(loaded, runtime) == "docker"
    found: dict[str, Known | UserError] = {}
    for component in loaded.spec.models:
        console.status(f"looking for {component.model.name}")
        try:
            found[component.name] = learn(loaded, component, find(loaded, component))
        except UserError as error:
            found[component.name] = error
    models = {name: known.found if isinstance(known, Known) else None for name, known in found.items()}
    steps = list(make_plan(loaded, observed(models, selection.directory, Path())).steps)
    problem: UserError | None = None
    if in_containers:
        steps = [step for step in steps if step.verb in ("fetch", "convert")]
        try:
            kept = _kept(loaded)
            steps += [Step("build", each.service, each.reference, each.cause) for each in kept if each.cause]
            steps += _container_steps(loaded, kept)
        except EngineError as error:
            problem = error  # what is needed is told all the same
    needs = needs_of(loaded, found, this_machine())
    console.status("")
    if as_json:
        console.result(json.dumps({"steps": [*map(asdict, steps)], **needs.to_json()}, indent=2))
    else:
        console.result(f"{in_lines(steps)}\n\n{needs}")
        for hint in dict.fromkeys(need.problem.hint for need in needs.models if need.problem):
            console.say(f"hint: {hint}")
    if problem is not None:
        console.error(problem)
    return problem.exit_code if problem else needs.exit_code


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the store has for a service. cause: why it is built; None where a build would make the same."""

    service: str
    reference: str
    image: Image | None
    cause: str | None


def _kept(loaded: "Loaded") -> list[_Kept]:
    """For each service, as far as labels tell."""
    store = BlobStore.of(os.environ)
    kept = []
    for service in services_of(loaded):
        reference = image_name(loaded, service)
        image = store.image(stored_name(loaded.directory, reference))
        kept.append(_Kept(service, reference, image, _cause(loaded, service, image)))
    return kept


def _cause(loaded: "Loaded", service: str, image: Image | None) -> str | None:
    """Why an image is built; None where it is what a build would make."""
    if image is None:
        return "not built before"
    if not is_current(loaded, service, image):
        return "the file has changed since it was built"
    version = own_labels(image).get("version")
    return None if version == tool_version() else f"model-compose {version} built it"


def _container_steps(loaded: "Loaded", kept: Sequence[_Kept]) -> tuple[Step, ...]:
    """What becomes of the containers. Raises EngineError, and UserError for a secret that would be in an image."""
    from compose.commands.container_run import reconciled, shown_steps
    from infra.docker.engine import connect

    with contextlib.closing(connect()) as engine:
        run = reconciled(loaded, {each.service: _id(engine, each) for each in kept}, engine)
    return shown_steps(loaded, run)


def _id(engine: "Engine", kept: _Kept) -> str:
    """What the engine calls the image, or will call it; empty for one that is yet to be built."""
    if kept.image is None or kept.cause is not None:
        return ""
    ids = (kept.image.config_descriptor.digest, kept.image.digest)  # the latter where containerd keeps images
    with contextlib.suppress(EngineError):
        if (found := engine.images.id(kept.reference)) in ids:
            return found
    return ids[0]
