"""Objects as YAML text that every reader understands alike, whichever version of YAML it knows."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

_PLAIN: Final = re.compile(r"(\.\./)*[A-Za-z/][\w./-]*[\w/]|[0-9]+([KMGTP]i|m|s)", re.ASCII)
_OTHERWISE: Final = frozenset({"yes", "no", "on", "off", "true", "false", "null"})
"""Words that are no text to some reader."""


def yaml_text(document: Mapping[str, Any]) -> str:
    """One document with sorted keys."""
    return yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=2**20
    )


class _Dumper(yaml.SafeDumper):
    """Quotes whatever some reader might take for no text: `on`, `y`, `1e3`, `0o17`. Lines stay lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style: str | None = '"'
    if _PLAIN.fullmatch(value) and value.lower() not in _OTHERWISE:
        style = None
    elif "\n" in value:
        style = "|"
    elif '"' in value and "'" not in value:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
