"""The files in which `docker login` and podman keep what they know."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.errors import ExitCode, UserError

HUB_LOGIN = "https://index.docker.io/v1/"
"""What Docker calls docker.io there."""
IDENTITY_USER = "<token>"
"""Whose password is an identity token, with Docker's helpers."""


def login_files(environ: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Logins and the names of helpers, Docker's before podman's: `auths`, `credHelpers`, `credsStore`.

    Raises UserError (exit 4) for a file that is no configuration.
    """
    for whose, command, path in _places(environ):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            yield {
                "auths": _by_host(found.get("auths") or {}),
                "credHelpers": dict(found.get("credHelpers") or {}),
                "credsStore": found.get("credsStore"),
            }
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, TypeError, AttributeError):
            raise UserError(
                f"the {whose} configuration {path} cannot be read",
                hint=f"mend or remove it, then log in again with `{command}`",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None


def _places(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Path]]:
    """Each file, whose it is and how it is made."""
    folder = environ.get("DOCKER_CONFIG")
    docker = Path(folder) if folder else Path(environ.get("HOME", "~")).expanduser() / ".docker"
    yield "Docker", "docker login", docker / "config.json"
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield "podman", "podman login", Path(named)
    elif runtime := environ.get("XDG_RUNTIME_DIR"):
        yield "podman", "podman login", Path(runtime, "containers", "auth.json")


def _by_host(auths: Mapping[str, Any]) -> dict[str, Any]:
    """Entries by `HOST[:PORT]`, which some tools write as an address; an identity token is a password here."""
    entries = {name: _entry(entry) for name, entry in auths.items()}
    hosts = {urlsplit(name).netloc: entry for name, entry in entries.items() if "://" in name}
    hub = {HUB_LOGIN: entries["docker.io"]} if "docker.io" in entries else {}
    return {**hosts, **hub, **entries}


def _entry(entry: Any) -> Any:
    token = entry.get("identitytoken")
    return {"auth": base64.b64encode(f"{IDENTITY_USER}:{token}".encode()).decode()} if token else entry
