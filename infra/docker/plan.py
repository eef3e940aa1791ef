"""What has to be done so that an engine runs what is wanted, and why: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from infra.docker.engine import Found


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a service. old: its containers that go. kept: the one that stays."""

    verb: Literal["keep", "start", "replace", "remove"]
    service: str
    cause: str
    old: tuple[str, ...] = ()
    kept: str | None = None


def reconcile(wanted: Mapping[str, str], found: Sequence[Found]) -> tuple[Step, ...]:
    """A step for each service, those that go first. wanted: the digest of each service's container."""
    removed = [
        Step("remove", container.service, "no longer in the file", (container.id,))
        for container in sorted(found, key=lambda container: container.service)
        if container.service not in wanted
    ]
    return (*removed, *(_step(service, digest, found) for service, digest in wanted.items()))


def _step(service: str, digest: str, found: Sequence[Found]) -> Step:
    own = [container for container in found if container.service == service]
    kept = next((container for container in own if container.running and container.digest == digest), None)
    old = tuple(container.id for container in own if container is not kept)
    if kept is not None:
        return Step("keep", service, "runs as the file says", old, kept.id)
    if not own:
        return Step("start", service, "does not run yet")
    changed = all(container.digest != digest for container in own)
    return Step("replace", service, "its image or its settings changed" if changed else "it had ended", old)
