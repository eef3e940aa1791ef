"""Whether names are unique, defaults are single, and what a name that leads nowhere probably meant."""

from collections.abc import Iterable, Sequence

from compose.blocks import Location, node_at
from compose.checks.findings import Findings
from services.router.names import closest, fold


def check_names(kind: str, names: Sequence[str], here: Location, findings: Findings) -> None:
    """No two of one kind bear the same name."""
    for index, name in enumerate(names):
        first = names.index(name)
        if first < index:
            at = (*here, index, "id")
            named = node_at(findings.root, at) is not None
            if not named and not (findings.is_whole((*here, index)) and findings.is_whole((*here, first))):
                continue  # an id was set aside as faulty
            message = f"two {kind}s are called `{name}`" if named else f"this {kind} needs an `id` of its own"
            findings.error(at, message, f"the other one is on line {findings.mark((*here, first)).line}")


def check_distinct(names: Sequence[str], here: Location, findings: Findings) -> None:
    """No two components' ids differ only in case, `_` and `-`, for their images would bear one name."""
    folded = [fold(name).lower() for name in names]
    for index, name in enumerate(names):
        first = folded.index(folded[index])
        if first < index and names[first] != name:
            line = findings.mark((*here, first)).line
            message = f"`{name}` differs from `{names[first]}` on line {line} only in case, `_` or `-`"
            findings.error((*here, index, "id"), message, "both would be one image: choose another id")


def check_default(kind: str, defaults: Iterable[bool], here: Location, findings: Findings) -> None:
    """At most one of one kind is the default."""
    marked = [index for index, is_default in enumerate(defaults) if is_default]
    for index in marked[1:]:
        line = findings.mark((*here, marked[0], "default")).line
        message = f"two {kind}s are the default"
        findings.error((*here, index, "default"), message, f"the other one is on line {line}; keep one")


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint for a name that leads nowhere: the near one, else all there are."""
    names = [name for name in known if not name.startswith("__")]
    meant = closest(name, names)
    if meant:
        return f"did you mean `{meant}`?"
    return f"known: {', '.join(names)}" if names else None
