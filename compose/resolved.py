"""`validate` and `config`: the file as it was understood, in few words or in full."""

from typing import TYPE_CHECKING, Any

from infra.secrets import REDACTED

if TYPE_CHECKING:
    from compose.loader import Loaded

_SECRET_KEYS = frozenset({"token"})


def summary(loaded: "Loaded") -> str:
    """`model-compose.yml is valid: 1 component, 2 workflows`."""
    names = ", ".join(path.name for path in loaded.files)
    parts = (_count(len(loaded.spec.components), "component"), _count(len(loaded.spec.workflows), "workflow"))
    return f"{names} {'is' if len(loaded.files) == 1 else 'are'} valid: {', '.join(parts)}"


def resolved(loaded: "Loaded") -> str:
    """YAML that means the same as the files together: today's dialect, values put in, secrets taken out."""
    import yaml

    data = loaded.spec.model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(_without_secrets(data), sort_keys=False, allow_unicode=True, width=120)


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: REDACTED if key in _SECRET_KEYS and isinstance(item, str) else _without_secrets(item)
                for key, item in value.items()
            }
        case list():
            return [_without_secrets(item) for item in value]
        case _:
            return value


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
