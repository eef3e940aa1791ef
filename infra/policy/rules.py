"""What a rule is: a name, what it demands, and how it finds what breaks it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from infra.policy.objects import Manifest, Objects, Pod

Problem = tuple[Manifest, str]
"""An object, and a clause that says how it breaks a rule."""
Broken = Iterable[Problem]

REASON: Final = "model-compose.policy/"
"""An annotation of this prefix and the name of a rule says why an object knowingly breaks it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """remedy: what to do about it. has_exceptions: whether a reason in an annotation is enough to break it.

    only_by_hand: whether that is so only where images come to the nodes by hand, which is no way to run for others.
    """

    name: str
    remedy: str
    broken: Callable[[Objects], Broken]
    has_exceptions: bool = False
    only_by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """An object that breaks a rule. reason: why it may; None when it may not. application: as its labels name it."""

    rule: str
    kind: str
    name: str
    problem: str
    remedy: str
    reason: str | None = None
    application: str | None = None


def of_pods(check: Callable[[Pod], Iterable[str]]) -> Callable[[Objects], Broken]:
    """A rule about each pod by itself."""

    def broken(objects: Objects) -> Iterator[Problem]:
        return ((pod.owner, problem) for pod in objects.pods for problem in check(pod))

    return broken


def of_each(check: Callable[[Manifest], Iterable[str]], *kinds: str) -> Callable[[Objects], Broken]:
    """A rule about each object of these kinds by itself; of all when there are none."""

    def broken(objects: Objects) -> Iterator[Problem]:
        found = objects.of(*kinds) if kinds else objects.manifests
        return ((each, problem) for each in found for problem in check(each))

    return broken
