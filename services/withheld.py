"""Settings as an image holds them, without what is known only where they are read: secrets, names, and a time."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

_KEY: Final = "withheld"
"""Where such a text says what it leaves out: `{"auth_token": "API_TOKEN", "database.url": "DATABASE_URL"}`, each by
its place and the variable that holds it."""

ALLOWED_HOSTS: Final = "MODEL_COMPOSE_ALLOWED_HOSTS"
"""The variable with names of this server beside those of its settings, parted by commas; such as a pod's address."""

SHUTDOWN_TIMEOUT: Final = "MODEL_COMPOSE_SHUTDOWN_TIMEOUT"
"""The variable with the seconds that a router waits for its runs when it must end, instead of those of its settings;
such as a cluster gives it that ends pods every day."""

IN_CLUSTER: Final = "MODEL_COMPOSE_IN_CLUSTER"
"""The variable that says, with any value, that a cluster starts others in place of what ends."""


class UnfitEnvironment(Exception):  # noqa: N818 - says what is wrong, as the other errors of services do
    """The environment lacks what the settings need, or has what cannot be read; its text is a sentence for the log."""


def withhold(settings: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Settings as JSON text, without what stands at `places`: a key, or BLOCK.KEY, and its variable."""
    document = {key: dict(value) if isinstance(value, dict) else value for key, value in settings.items()}
    for place in places:
        block, key = _at(document, place)
        del block[key]
    return json.dumps({**document, _KEY: dict(sorted(places.items()))} if places else document, ensure_ascii=False)


def withheld(text: str | bytes) -> dict[str, str]:
    """What a text leaves out: each place, and the variable that holds it."""
    places: dict[str, str] = json.loads(text).get(_KEY, {})
    return places


def read_settings(text: str | bytes, environ: Mapping[str, str]) -> dict[str, Any]:
    """Settings with every secret in its place, and what else the environment says. Raises UnfitEnvironment."""
    document: dict[str, Any] = json.loads(text)
    places: Mapping[str, str] = document.pop(_KEY, {})
    if missing := sorted({name for name in places.values() if not environ.get(name)}):
        them = "them" if missing[1:] else "it"
        raise UnfitEnvironment(f"the environment lacks {', '.join(missing)}: set {them} where the container is started")
    for place, name in places.items():
        block, key = _at(document, place)
        block[key] = environ[name]
    if hosts := [host.strip() for host in environ.get(ALLOWED_HOSTS, "").split(",") if host.strip()]:
        written = [*hosts, *(f"[{host}]" for host in hosts if ":" in host)]
        document["allowed_hosts"] = [*document.get("allowed_hosts", ()), *written]
    if SHUTDOWN_TIMEOUT in environ and "shutdown_timeout_s" in document:
        document["shutdown_timeout_s"] = _seconds(environ[SHUTDOWN_TIMEOUT], SHUTDOWN_TIMEOUT)
    if environ.get(IN_CLUSTER) and "in_cluster" in document:
        document["in_cluster"] = True
    return document


def _seconds(text: str, name: str) -> float:
    """What the variable of this name says. Raises UnfitEnvironment."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UnfitEnvironment(
            f'{name} is "{text}", which is no number of seconds: set it where the container is started'
        )
    return seconds


def _at(document: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
    """The block that a place is in, and its key there."""
    name, dot, key = place.partition(".")
    return (document.setdefault(name, {}), key) if dot else (document, name)
