"""What services are told when they run in containers: addresses of their network and no secret."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builders.container import PORTS, STATE
from compose.blocks import Location, node_at
from compose.plan import RUNS_FILE, page_settings, task_settings
from compose.reading.interpolation import EnvText, to_data
from compose.reading.nodes import Scalar
from compose.routing import router_settings
from compose.spec import ModelComponentSpec
from compose.templates import uses
from infra.docker.container import STAGES
from infra.errors import ExitCode, UserError
from infra.secrets import is_secret_name
from services.router.expression import parse
from services.service import service_name
from services.settings import TaskSettings
from services.withheld import withhold

if TYPE_CHECKING:
    from compose.loader import Loaded

_SHORTEST_SECRET: Final = 6
"""A shorter value stands in ordinary words."""


@dataclass(frozen=True, slots=True)
class Told:
    """The settings that an image holds, as JSON, and the variables that its container needs beside them: secrets."""

    settings: str
    secrets: Mapping[str, str] = field(default_factory=dict)


def task_told(loaded: "Loaded", component: ModelComponentSpec, model_path: Path) -> TaskSettings:
    """model_path: where the weights are in the image. Raises UserError for a secret that would be seen there."""
    settings = task_settings(component, model_path)
    _refuse_secrets(settings.model_dump_json(), loaded, component.name)
    return settings


def router_told(loaded: "Loaded") -> Told:
    """The router's settings. Raises UserError for a secret that would be seen in its image."""
    spec = loaded.spec
    endpoints = {component.name: task_url(component.name) for component in spec.models}
    runs_path = Path(STATE, Path(spec.controller.database.path or RUNS_FILE).name)
    settings: dict[str, Any] = router_settings(loaded, endpoints, runs_path, Path(STAGES)).model_dump(mode="json")
    settings["allowed_hosts"] = [*settings["allowed_hosts"], host_name("router")]
    secrets = {
        **({"auth_token": _token_variable(loaded)} if settings["auth_token"] else {}),
        **({"database.url": _variable(loaded, _DATABASE, "DATABASE_URL")} if "url" in settings["database"] else {}),
        **{f"env.{name}": name for name, value in settings["env"].items() if value and is_secret_name(name)},
    }
    return _told(settings, secrets, loaded, "router")


def page_told(loaded: "Loaded") -> Told:
    """The page's settings; the file has one. Raises as `router_told` does."""
    base_path = loaded.spec.controller.adapter.base_path
    settings = page_settings(loaded.spec, f"http://{host_name('router')}:{PORTS['router']}{base_path}").model_dump(
        mode="json"
    )
    secrets = {"auth_token": _token_variable(loaded)} if settings["auth_token"] else {}
    return _told(settings, secrets, loaded, "page")


def host_name(service: str) -> str:
    """What a service is called on the containers' network, and its image in the project."""
    return service if service in ("router", "page") else service_name(service)


def task_url(component: str) -> str:
    """Where the router reaches a task."""
    return f"http://{host_name(component)}:{PORTS['task']}"


_DATABASE: Final[Location] = ("controller", "database")
_TOKEN: Final[Location] = ("controller", "auth", "token")


def _token_variable(loaded: "Loaded") -> str:
    return _variable(loaded, _TOKEN, "AUTH_TOKEN")


def _variable(loaded: "Loaded", place: Location, name: str) -> str:
    """The variable that the file takes a secret from; `MODEL_COMPOSE_` and `name` where it is written out, or made of
    several."""
    node = node_at(loaded.root, (*place, "url")) or node_at(loaded.root, place)
    if isinstance(node, Scalar) and isinstance(node.value, str):
        expression = parse(node.value).whole
        if expression is not None and expression.source == "env":
            return str(expression.path[0])
    return f"MODEL_COMPOSE_{name}"


def _told(settings: dict[str, Any], places: Mapping[str, str], loaded: "Loaded", service: str) -> Told:
    text = withhold(settings, places)
    _refuse_secrets(text, loaded, service)
    return Told(text, {variable: _value(settings, place) for place, variable in places.items()})


def _value(settings: Mapping[str, Any], place: str) -> str:
    block, dot, key = place.partition(".")
    return str(settings[block][key] if dot else settings[block])


def _refuse_secrets(text: str, loaded: "Loaded", service: str) -> None:
    values = [str(value) for value in _leaves(json.loads(text))]
    for name in sorted(_put_into_settings(loaded)):
        secret = loaded.env.get(name, "")
        if is_secret_name(name) and len(secret) >= _SHORTEST_SECRET and any(secret in value for value in values):
            raise UserError(
                f"the value of `{name}` would stand in the image of `{service}`, where everybody can read it",
                hint="keep it to templates, `auth.token`, `database` and a model's `token`, which no image holds",
                exit_code=ExitCode.FILE,
            )


def _put_into_settings(loaded: "Loaded") -> set[str]:
    """The variables of texts that read nothing else: of these a setting takes the value, where a template keeps the
    name. What no image holds is left out, so that a password may be called as a driver is."""
    outside = [_TOKEN, *([_DATABASE] if loaded.spec.controller.database.url else [])]
    return {
        str(use.expression.path[0])
        for place, text in _texts(to_data(loaded.root, loaded.env).data)
        if isinstance(text, EnvText)
        and not any(place[: len(withheld)] == withheld for withheld in outside)
        and not (place[0] == "components" and place[2:4] == ("model", "token"))
        for use in uses(text)
        if use.expression.source == "env"
    }


def _texts(data: Any, place: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Every value that is no list and no block, and where it stands."""
    match data:
        case dict() | list():
            for key, value in data.items() if isinstance(data, dict) else enumerate(data):
                yield from _texts(value, (*place, key))
        case _:
            yield place, data


def _leaves(data: Any) -> Iterator[Any]:
    return (value for _, value in _texts(data))
