"""From a condition's settings to the comparison that is made on each run."""

from typing import Any

from services.router.compiling.components import optional
from services.router.execution.conditions import compiled
from services.router.expression import compile_tree
from services.router.graph import Combine, Compare, Condition, GraphError
from services.router.settings import ConditionSettings, Operator


def condition(settings: ConditionSettings) -> Condition:
    """A comparison or a combination of several; raises GraphError when it is none or both."""
    forms = [name for name in ("all", "any", "not_") if getattr(settings, name) is not None]
    compares = settings.input is not None or settings.operator is not None or settings.value is not None
    if len(forms) + compares != 1:
        raise GraphError("a condition is one comparison, or one of `all`, `any` and `not`")
    if settings.all is not None:
        return Combine("all", tuple(map(condition, settings.all)))
    if settings.any is not None:
        return Combine("any", tuple(map(condition, settings.any)))
    if settings.not_ is not None:
        return Combine("not", (condition(settings.not_),))
    return compare(settings.input, settings.operator or "eq", settings.value)


def compare(own_input: Any, operator: Operator, value: Any) -> Compare:
    """One comparison. Raises GraphError for a written pattern that cannot work."""
    tree = compile_tree(value)
    if operator == "match" and isinstance(tree, str):
        try:
            compiled(tree)
        except ValueError as error:
            raise GraphError(str(error)) from error
    return Compare(optional(own_input), operator, tree)
