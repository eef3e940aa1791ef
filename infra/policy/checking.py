"""All rules over all objects: what is broken, and which of that may be."""

from collections.abc import Iterable, Iterator
from typing import Final

from infra.policy import doors, naming, network, running, scaling, security
from infra.policy.objects import Manifest, Objects, annotations_of, name_of
from infra.policy.rules import REASON, Finding, Rule

RULES: Final[tuple[Rule, ...]] = (
    *naming.RULES,
    *security.RULES,
    *running.RULES,
    *scaling.RULES,
    *network.RULES,
    *doors.RULES,
)


def findings(manifests: Iterable[Manifest]) -> Iterator[Finding]:
    """What breaks a rule among objects that are applied together, with the reasons that they give themselves.

    The objects must fit their schemas: a key that the API demands is taken for granted.
    """
    objects = Objects(tuple(manifests))
    for rule in RULES:
        for manifest, problem in rule.broken(objects):
            reason = annotations_of(manifest).get(REASON + rule.name) if rule.has_exceptions else None
            yield Finding(rule.name, manifest["kind"], name_of(manifest), problem, rule.remedy, reason)
