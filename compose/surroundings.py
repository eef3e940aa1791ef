"""What a container is told of this machine, because a process here would see it by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.secrets import without_secrets
from services.logs import FORMAT, LEVEL

LOCAL_TIME: Final = Path("/etc/localtime")


def surroundings(environ: Mapping[str, str], local_time: Path = LOCAL_TIME) -> dict[str, str]:
    """How logs are written, where traces go, and the machine's time zone.

    environ: of the command. local_time: a link to the zone's file, as Linux and macOS have it.
    """
    passed = {name: value for name, value in environ.items() if name in (FORMAT, LEVEL) or name.startswith("OTEL_")}
    zone = environ.get("TZ") or str(local_time.resolve()).partition("/zoneinfo/")[2]
    return without_secrets(passed) | ({"TZ": zone} if zone else {})
