"""Who we are at a registry: what `docker login` keeps, found by oras."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import oras.auth
import oras.container
import requests

from builders.images.registry_errors import Explainer
from infra.errors import ExitCode, UserError

_HUB_LOGIN = "https://index.docker.io/v1/"
"""What Docker calls docker.io in its configuration."""

# oras reports on a helper's failure in the helper's own words; people get ours.
logging.getLogger("oras.logger").addHandler(logging.NullHandler())
logging.getLogger("oras.logger").propagate = False


def docker_config(environ: Mapping[str, str]) -> dict[str, Any]:
    """Docker's logins and the names of its helpers; raises UserError (exit 4) for a file that is no configuration."""
    path = _config_path(environ)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            "auths": dict(found.get("auths") or {}),
            "credHelpers": dict(found.get("credHelpers") or {}),
            "credsStore": found.get("credsStore"),
        }
    except (FileNotFoundError, NotADirectoryError):
        return {"auths": {}, "credHelpers": {}, "credsStore": None}
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(
            f"the Docker configuration {path} cannot be read",
            hint="mend or remove it, then log in again with `docker login`",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def _config_path(environ: Mapping[str, str]) -> Path:
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path(environ.get("HOME", "~")).expanduser() / ".docker") / "config.json"


class Credentials:
    """What proves who we are, for the `Authorization` of each kind of registry. Never shown and never logged."""

    def __init__(self, registry: str, environ: Mapping[str, str]) -> None:
        """Look the registry up, or ask the helper that the configuration names for it; raises UserError (exit 4)."""
        self._registry = registry
        self._config = docker_config(environ)
        self._container = oras.container.Container("any")
        self._container.registry = _HUB_LOGIN if registry == "docker.io" else registry
        try:
            self.exist = hasattr(self._loaded("basic", requests.Session()), "_basic_auth")
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            raise UserError(
                f"the Docker configuration has no usable login for {registry}",
                hint=f"run `docker login {registry}` again",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None

    def explainer(self, repository: str) -> Explainer:
        """Puts into words what goes wrong at this registry."""
        return Explainer(self._registry, repository, self.exist, self._absent_helper())

    def _absent_helper(self) -> str | None:
        """The program that the configuration names for this registry, when there is no login because it is absent."""
        name = self._config["credHelpers"].get(self._container.registry) or self._config["credsStore"]
        program = f"docker-credential-{name}"
        return program if name and not self.exist and shutil.which(program) is None else None

    def backend(self, kind: str, session: requests.Session, trust: str | bool, *, insecure: bool) -> Any:
        """oras' authentication for one client. kind: basic or token."""
        auth = self._loaded(kind, session)
        auth.prefix = "http" if insecure else "https"
        auth._tls_verify = trust
        return auth

    def _loaded(self, kind: str, session: requests.Session) -> Any:
        auth = oras.auth.get_auth_backend(kind, session)
        # oras reads ~/.docker only, and mixes in whatever else it is given in no certain order.
        auth._auth_config = self._config
        auth.load_configs(self._container)
        return auth
