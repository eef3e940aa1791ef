"""The language of `${...}` in a file: read once by `parse` and `compile_tree`, followed on every run by `render`."""

from services.router.expression.conversion import KNOWN_TYPES, TypeSpec, convert, parse_type
from services.router.expression.parser import compile_tree, parse
from services.router.expression.rendering import MISSING, input_key, render, render_or_missing
from services.router.expression.syntax import (
    EACH,
    ConversionError,
    Expression,
    ExpressionError,
    Slice,
    Step,
    Template,
    Tree,
    Use,
    walk,
)

__all__ = [
    "EACH",
    "KNOWN_TYPES",
    "MISSING",
    "ConversionError",
    "Expression",
    "ExpressionError",
    "Slice",
    "Step",
    "Template",
    "Tree",
    "TypeSpec",
    "Use",
    "compile_tree",
    "convert",
    "input_key",
    "parse",
    "parse_type",
    "render",
    "render_or_missing",
    "walk",
]
