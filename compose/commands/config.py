"""The file as it is understood: today's dialect, settings with their values, templates as written, no secret shown."""

from typing import Any

import yaml

from compose.loader import Loaded
from compose.reading.scalars import resolve
from compose.spec import OnErrorSpec, Spec
from infra.secrets import REDACTED, Redactor, is_secret_name


def resolved_yaml(loaded: Loaded) -> str:
    """YAML text that loads as the same spec, but for the secrets; what the user left to the defaults is left out."""
    data = _shown(loaded.spec, Redactor(loaded.env))
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _shown(value: Any, redact: Redactor) -> Any:
    """Plain data."""
    match value:
        case OnErrorSpec() if not value.model_fields_set:
            return "ignore"
        case Spec():
            fields = {
                field.alias or name: getattr(value, name)
                for name, field in type(value).model_fields.items()
                if name in value.model_fields_set
            }
            shown = {name: _shown(item, redact) for name, item in (fields | (value.model_extra or {})).items()}
            return _without_secrets(shown)
        case tuple() | list():
            return [_shown(item, redact) for item in value]
        case dict():
            return {str(key): _shown(item, redact) for key, item in value.items()}
        case float() if value.is_integer():
            return int(value)
        case str():
            return redact(value)
    return value


def _without_secrets(block: dict[str, Any]) -> dict[str, Any]:
    """Hides `auth.token`, a model's `token`, a database's `url`, and variables with the names of secrets."""
    shown = {key: REDACTED if key in ("token", "url") else value for key, value in block.items()}
    environment = shown.get("environment")
    if isinstance(environment, dict):
        shown["environment"] = {key: REDACTED if is_secret_name(key) else value for key, value in environment.items()}
    return shown


class _Dumper(yaml.SafeDumper):
    """Indents lists below their keys; texts of several lines are blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quotes what this tool, unlike PyYAML, would read as a number."""
    style = "|" if "\n" in text else None if isinstance(resolve(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
