"""`plan`: what `up` would do and need, told before anything is fetched or started."""

import json
from dataclasses import asdict
from pathlib import Path

from compose.machine import this_machine
from compose.models import Known, find, learn, observed
from compose.needs import needs_of
from compose.output import Console
from compose.plan import make_plan
from compose.state import Selection
from infra.errors import ExitCode, UserError


def preview(selection: Selection, console: Console, *, as_json: bool) -> ExitCode:
    """Print the steps and the needs; the exit code says whether `up` can work as far as that is known."""
    loaded = selection.load(console)
    found: dict[str, Known | UserError] = {}
    for component in loaded.spec.models:
        console.status(f"looking for {component.model.name}")
        try:
            found[component.name] = learn(loaded, component, find(loaded, component))
        except UserError as error:
            found[component.name] = error
    models = {name: known.found if isinstance(known, Known) else None for name, known in found.items()}
    plan = make_plan(loaded, observed(models, selection.directory, Path()))
    needs = needs_of(loaded, found, this_machine())
    console.status("")
    if as_json:
        console.result(json.dumps({"steps": [*map(asdict, plan.steps)], **needs.to_json()}, indent=2))
    else:
        console.result(f"{plan}\n\n{needs}")
        for hint in dict.fromkeys(need.problem.hint for need in needs.models if need.problem):
            console.say(f"hint: {hint}")
    return needs.exit_code
