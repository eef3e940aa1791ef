"""Which value a scalar has: the core schema of YAML 1.2, in which `on`, `22:22`, `1_000` and dates are text."""

import re

Value = str | int | float | bool | None

_CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Python refuses to convert integers of several thousand digits; from 401 digits on, digits are text.
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_BASED_INTEGER = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|[0-9]{1,400}(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,400})?")
_SPECIAL_FLOAT = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")

_TAG_PREFIX = "tag:yaml.org,2002:"
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}


def resolve(text: str) -> Value:
    """The value of a plain scalar without a tag."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED_INTEGER.fullmatch(text):
        return int(text, base=0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def construct(tag: str, text: str) -> Value:
    """The value of a scalar with a tag. Raises ValueError with a sentence for a tag or value we do not take."""
    if tag == "!":
        return text
    name = tag.removeprefix(_TAG_PREFIX)
    if name not in _TYPES or name == tag:
        raise ValueError(f"the tag {shown_tag(tag)} is not allowed")
    if name == "str":
        return text
    value = resolve(text)
    if name == "float" and type(value) is int:
        return float(value)
    if type(value) is not _TYPES[name]:
        raise ValueError(f"{text!r} is no {shown_tag(tag)}")
    return value


def shown_tag(tag: str) -> str:
    """The tag as one writes it in a file."""
    return tag.replace(_TAG_PREFIX, "!!") if tag.startswith(_TAG_PREFIX) else tag
