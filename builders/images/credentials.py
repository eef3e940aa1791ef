"""Who we are at a registry: what `docker login` or podman keeps, found by oras."""

import base64
import logging
import shutil
from collections.abc import Mapping
from typing import Any

import oras.container
import requests
from oras.auth.basic import BasicAuth
from oras.auth.token import TokenAuth

from builders.images.logins import HUB_LOGIN, IDENTITY_USER, login_files
from builders.images.registry_errors import Explainer
from builders.images.session import Session, origin
from infra.errors import ExitCode, UserError

_CLIENT = "model-compose"

# oras reports on a helper's failure in the helper's own words; people get ours.
logging.getLogger("oras.logger").addHandler(logging.NullHandler())
logging.getLogger("oras.logger").propagate = False


class Credentials:
    """What proves who we are, for the `Authorization` of each kind of registry. Never shown and never logged."""

    def __init__(self, registry: str, environ: Mapping[str, str]) -> None:
        """Look the registry up, or ask the helper that a configuration names for it; raises UserError (exit 4)."""
        self._registry = registry
        self._container = oras.container.Container("any")
        self._container.registry = HUB_LOGIN if registry == "docker.io" else registry
        self._config: dict[str, Any] = {"auths": {}}  # of an empty one oras would read ~/.docker
        self._absent_helper: str | None = None
        self.exist = False
        try:
            for self._config in login_files(environ):
                self.exist = hasattr(self._loaded(_Basic("")), "_basic_auth")
                if self.exist:
                    break
                self._absent_helper = self._absent_helper or self._helper()
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            raise UserError(
                f"the Docker configuration has no usable login for {registry}",
                hint=f"run `docker login {registry}` again",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None

    def explainer(self, repository: str) -> Explainer:
        """Puts into words what goes wrong at this registry."""
        return Explainer(self._registry, repository, self.exist, None if self.exist else self._absent_helper)

    def _helper(self) -> str | None:
        """The program that the configuration names for this registry, when it is absent."""
        name = self._config["credHelpers"].get(self._container.registry) or self._config["credsStore"]
        program = f"docker-credential-{name}"
        return program if name and shutil.which(program) is None else None

    def backend(self, kind: str, session: Session, trust: str | bool, address: str) -> Any:
        """oras' authentication for one client. kind: basic or token; address: of the registry."""
        auth = self._loaded((_Basic if kind == "basic" else _Token)(address))
        auth.session = session
        auth.prefix = origin(address)[0]
        auth._tls_verify = trust
        return auth

    def _loaded(self, auth: Any) -> Any:
        # oras reads ~/.docker only, and mixes in whatever else it is given in no certain order.
        auth._auth_config = self._config
        auth.load_configs(self._container)
        return auth


class _AtHome:
    """Answers to the registry alone: what a redirect leads to may ask for a proof of us, and gets none."""

    def __init__(self, address: str) -> None:
        super().__init__()
        # oras would take ORAS_USER and ORAS_PASS, and show them to every registry.
        self.__dict__.pop("_basic_auth", None)
        self._home = address

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """The headers of the next attempt, and whether there should be one."""
        if origin(original.url) != origin(self._home):
            return headers, False
        answered: tuple[dict[str, str], bool] = super().authenticate_request(original, headers, refresh)  # type: ignore[misc] # of oras' class beside this one
        return answered


class _Basic(_AtHome, BasicAuth):  # type: ignore[misc] # oras has no types
    """A password with every request."""


class _Token(_AtHome, TokenAuth):  # type: ignore[misc] # as above
    """Tokens that the registry's own service gives for a password, or for an identity token as OAuth 2 has it."""

    def request_token(self, h: Any) -> str | None:
        """A token for what the challenge `h` asks; None when there is none for us. Raises ValueError, OSError."""
        try:
            user, _, secret = base64.b64decode(self._basic_auth).decode().partition(":")
            if user != IDENTITY_USER:
                token: str | None = super().request_token(h)
                return token
            answer = self.session.post(
                h.realm,
                data={
                    "grant_type": "refresh_token",
                    "refresh_token": secret,
                    "service": h.service or "",
                    "scope": h.scope or "",
                    "client_id": _CLIENT,
                },
                verify=self._tls_verify,
                allow_redirects=False,  # which would take the body elsewhere
            )
            return str(answer.json()["access_token"]) if answer.status_code == requests.codes.ok else None
        except (AttributeError, KeyError, TypeError):  # of a challenge or an answer that is none
            raise ValueError from None
