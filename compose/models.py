"""Finds the models of a file: in the user's cache, in a folder, or on the hub, with a few small requests."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builders.estimate import Facts
from builders.headers import facts_of
from builders.weights import ModelSource, Resolved, resolve
from compose.plan import ModelState, ObservedState
from compose.spec import ModelComponentSpec
from compose.surroundings import tracing
from infra.errors import UserError

if TYPE_CHECKING:
    from compose.loader import Loaded


@dataclass(frozen=True, slots=True)
class Known:
    """A model that was found, and what its headers say; the error where they cannot be had."""

    found: Resolved
    facts: Facts | UserError


def source_of(loaded: "Loaded", component: ModelComponentSpec) -> ModelSource:
    """Where the file says that a component's model is."""
    model = component.model
    folder = os.path.expanduser(model.path or "")  # noqa: PTH111 - Path's fails where there is no home
    return ModelSource(
        repository=model.repository,
        path=loaded.directory / folder if model.path else None,
        revision=model.revision,
        token=model.token,
        cache_dir=Path(model.cache_dir) if model.cache_dir else None,
        local_files_only=model.local_files_only,
    )


def find(
    loaded: "Loaded",
    component: ModelComponentSpec,
    commit: str | None = None,
    baked: Collection[str] | None = None,
) -> Resolved:
    """A component's model; raises UserError with the place in the file for one that cannot be had.

    commit: which one to take, whatever the file's revision stands for now. baked: see `builders.weights.resolve`.
    """
    source = source_of(loaded, component)
    try:
        return resolve(
            replace(source, revision=commit or source.revision),
            task=component.task,
            environ=loaded.env,
            labels=None if component.labels is None else len(component.labels),
            baked=baked,
        )
    except UserError as error:
        place = loaded.model_marks[component.name]
        raise UserError(f"{place}: {error.message}", hint=error.hint, exit_code=error.exit_code) from None


def learn(loaded: "Loaded", component: ModelComponentSpec, found: Resolved) -> Known:
    """What is known of a model that was found."""
    try:
        return Known(found, facts_of(source_of(loaded, component), found, loaded.env))
    except UserError as error:
        return Known(found, error)


def find_all(loaded: "Loaded") -> dict[str, Resolved]:
    """Every component's model, by the component's name. Raises UserError."""
    return {component.name: find(loaded, component) for component in loaded.spec.models}


def observed(found: Mapping[str, Resolved | None], directory: Path, socket_directory: Path) -> ObservedState:
    """What a plan is made for. found: None for a model that is not known. directory: where `.model-compose` is."""
    models = {name: _state(model) for name, model in found.items()}
    return ObservedState(directory, socket_directory, models, tracing(os.environ))


def _state(found: Resolved | None) -> ModelState:
    if found is None:
        return ModelState(Path(), prepare=("unknown",))
    return ModelState(
        path=found.path,
        prepare=found.prepare,
        prepare_environment=found.prepare_environment,
        bytes_to_fetch=found.bytes_to_fetch,
        revision=found.revision,
    )
