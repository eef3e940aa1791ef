"""All rules over all objects: what is broken, and which of that may be."""

from collections.abc import Iterable, Iterator
from typing import Final

from infra.policy import doors, known, naming, network, running, scaling, security
from infra.policy.objects import APPLICATION, Manifest, Objects, annotations_of, labels_of, name_of
from infra.policy.rules import REASON, Finding, Rule

RULES: Final[tuple[Rule, ...]] = (
    *known.RULES,
    *naming.RULES,
    *security.RULES,
    *running.RULES,
    *scaling.RULES,
    *network.RULES,
    *doors.RULES,
)


def findings(manifests: Iterable[Manifest], *, by_hand: bool = False) -> Iterator[Finding]:
    """What breaks a rule among objects that are applied together, with the reasons that they give themselves.

    by_hand: whether the nodes are given the images by hand. The objects must fit their schemas: a key that the API
    demands is taken for granted.
    """
    objects = Objects(tuple(manifests))
    for rule in RULES:
        is_excusable = rule.has_exceptions and (by_hand or not rule.only_by_hand)
        for manifest, problem in rule.broken(objects):
            reason = annotations_of(manifest).get(REASON + rule.name, "").strip() if is_excusable else ""
            application = labels_of(manifest).get(APPLICATION)
            yield Finding(
                rule.name, manifest["kind"], name_of(manifest), problem, rule.remedy, reason or None, application
            )
