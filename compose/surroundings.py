"""What services are told of this machine: containers see nothing of it, and no process sees secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.secrets import without_secrets
from services.logs import FORMAT, LEVEL

LOCAL_TIME: Final = Path("/etc/localtime")


def surroundings(environ: Mapping[str, str], local_time: Path = LOCAL_TIME) -> dict[str, str]:
    """How logs are written, and the machine's time zone.

    environ: of the command. local_time: a link to the zone's file, as Linux and macOS have it.
    """
    passed = {name: value for name, value in environ.items() if name in (FORMAT, LEVEL)}
    zone = environ.get("TZ") or str(local_time.resolve()).partition("/zoneinfo/")[2]
    return passed | ({"TZ": zone} if zone else {})


def tracing(environ: Mapping[str, str]) -> dict[str, str]:
    """Where traces go, for the router alone: headers are secret, and traces go nowhere without them."""
    named = {name: value for name, value in environ.items() if name.startswith("OTEL_")}
    return without_secrets(named) | {name: value for name, value in named.items() if name.endswith("_HEADERS")}
