"""Where packages come from: what the user says, else what uv or pip is told on this machine, else the public index."""

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.child import run_child
from infra.errors import ExitCode, UserError

_MOST_S = 60.0
_KEPT = re.compile(
    r"UV_(CACHE_DIR|CONFIG_FILE|CREDENTIALS_DIR|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|HTTP_\w+|INDEX\w*|"
    r"INSECURE_HOST|KEYRING_PROVIDER|NATIVE_TLS|NO_CACHE|OFFLINE|REQUEST_TIMEOUT|SYSTEM_CERTS)"
)
"""uv's variables that say where packages are and how to get there; others could change which ones are taken."""

_INDEXES = ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL")
_PIP_LINE = re.compile(r"""^(\S+)\.([\w-]+)=('.*'|".*")$""", re.MULTILINE)
_PIP_SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration, the later ones win."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the user says on the command line.

    wheels: a folder of wheels; alone, nothing else is asked. index_url: an index instead of the machine's own.
    """

    index_url: str | None = None
    wheels: Path | None = None

    def __post_init__(self) -> None:
        """Raises UserError (exit 2) for a folder that is none."""
        if self.wheels is not None and not self.wheels.is_dir():
            raise UserError(
                f"there is no folder {self.wheels}",
                hint="--wheels names a folder with the wheels of all packages",
                exit_code=ExitCode.USAGE,
            )

    @property
    def closed(self) -> bool:
        """Whether no index is asked at all."""
        return self.wheels is not None and self.index_url is None

    def environment(self, environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
        """The environment to run uv in: addresses may hold passwords, and others can read arguments.

        scratch: a folder to work in. Raises UserError (exit 4) when pip does not answer.
        """
        kept = {name: value for name, value in environ.items() if not name.startswith("UV_") or _KEPT.fullmatch(name)}
        kept = {name: value for name, value in kept.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
        if self.closed:
            kept = {name: value for name, value in kept.items() if name not in _INDEXES}
        elif not any(name in kept for name in _INDEXES):
            kept = {**_as_uv(pip_configuration(kept, scratch)), **kept}
        if self.index_url is not None:
            kept.pop("UV_INDEX_URL", None)
            kept["UV_DEFAULT_INDEX"] = self.index_url
        if self.wheels is not None:
            kept["UV_FIND_LINKS"] = str(self.wheels.absolute())
        return kept


def pip_configuration(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """What pip is told on this machine, in its files and variables, by option; empty where there is no pip."""
    command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = run_child(command, "`pip config list`", folder=scratch, environment=environ, most_s=_MOST_S)
    if listed.returncode != 0:
        return {}
    sections: dict[str, dict[str, str]] = {}
    for section, option, value in _PIP_LINE.findall(listed.stdout):
        sections.setdefault(section, {})[option] = str(ast.literal_eval(value))
    return {option: value for name in _PIP_SECTIONS for option, value in sections.get(name, {}).items()}


def _as_uv(pip: Mapping[str, str]) -> dict[str, str]:
    """The same in uv's variables. pip takes the best of all indexes, uv by itself the first that knows a package."""
    variables = {
        "UV_DEFAULT_INDEX": pip.get("index-url"),
        "UV_INDEX": _words(pip.get("extra-index-url")),
        "UV_FIND_LINKS": _words(pip.get("find-links"), ","),
        "UV_INSECURE_HOST": _words(pip.get("trusted-host")),
        "SSL_CERT_FILE": pip.get("cert"),
    }
    found = {name: value for name, value in variables.items() if value}
    return {**found, "UV_INDEX_STRATEGY": "unsafe-best-match"} if "UV_INDEX" in found else found


def _words(text: str | None, separator: str = " ") -> str:
    return separator.join((text or "").split())
