"""Whether a comparison can be made: one form, a value, and one that its operator can work with."""

from typing import Any, Final

from compose.blocks import Location
from compose.checks.expressions import Place, check
from compose.checks.findings import Findings
from compose.spec import BranchSpec, ConditionSpec
from compose.templates import constant, is_constant
from services.router.execution.conditions import compiled

_COMBINATIONS: Final = {"all": "all", "any": "any", "not_": "not"}
_COMPARISON: Final = ("input", "operator", "value")
_ORDER: Final = ("gt", "gte", "lt", "lte")


def check_condition(condition: ConditionSpec, here: Location, place: Place, findings: Findings) -> None:
    """One condition and all those in it."""
    given = condition.model_fields_set
    combined = [written for name, written in _COMBINATIONS.items() if name in given]
    compared = [name for name in _COMPARISON if name in given]
    if len(combined) > 1 or (combined and compared):
        *most, last = [f"`{name}`" for name in [*combined, *compared]]
        message = f"{', '.join(most)} and {last} cannot stand beside each other"
        findings.error(here, message, "put one condition into the other")
    elif not combined and not compared and findings.is_whole(here):
        findings.error(
            here, "the condition says nothing", "write `input`, `operator` and `value`, or `all`, `any`, `not`"
        )
    elif compared:
        check_comparison(condition, here, place, findings)
    for name in ("all", "any"):
        inner: tuple[ConditionSpec, ...] | None = getattr(condition, name)
        if inner == () and findings.is_whole(here):
            findings.error((*here, name), f"`{name}` holds no condition", "leave it out, or write one")
        for index, item in enumerate(inner or ()):
            check_condition(item, (*here, name, index), place, findings)
    if condition.not_ is not None:
        check_condition(condition.not_, (*here, "not"), place, findings)


def check_comparison(comparison: ConditionSpec | BranchSpec, here: Location, place: Place, findings: Findings) -> None:
    """Both sides, and whether the operator can work with what is known of the second."""
    check(comparison.input, (*here, "input"), place, findings)
    at = (*here, "value")
    if "value" not in comparison.model_fields_set:
        if findings.is_whole(here):
            findings.error(here, "there is nothing to compare with", "write `value: ...`; `value: null` is nothing")
        return
    tree = check(comparison.value, at, place, findings)
    if tree is None or not is_constant(comparison.value):
        return
    try:
        value = constant(comparison.value)
    except LookupError:
        return
    wrong = _misfit(comparison.operator, value)
    if wrong:
        findings.error(at, f"`{comparison.operator}` {wrong[0]}", wrong[1])


def _misfit(operator: str, value: Any) -> tuple[str, str | None] | None:
    """What is wrong with a known value for an operator, and a hint."""
    shown = f", not `{value}`" if isinstance(value, str | int | float) else ""
    if operator in ("in", "not-in") and not isinstance(value, list):
        return f"needs a list{shown}", "write `[ONE, OTHER]`"
    if operator in _ORDER and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        return f"needs a number or a text{shown.lower()}", None
    if operator in ("starts-with", "ends-with") and (
        isinstance(value, bool) or not isinstance(value, str | int | float)
    ):
        return f"needs a text{shown.lower()}", "put it in quotes"
    if operator == "match":
        return _bad_pattern(value)
    return None


def _bad_pattern(pattern: Any) -> tuple[str, str | None] | None:
    if not isinstance(pattern, str):
        return "needs a regular expression", "put it in quotes"
    try:
        compiled(pattern)
    except ValueError as error:
        return f"cannot be made: {error}", None
    return None
