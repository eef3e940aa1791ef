"""model-compose.lock: what a build took from elsewhere, so that the next one, anywhere, takes the same."""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from builders.code import tool_version
from builders.packages.resolving import Package, Resolution
from builders.packages.wanted import Wanted
from infra.errors import ExitCode, UserError
from infra.files import not_readable

LOCK_FILE: Final = "model-compose.lock"

_FORMAT: Final = 1
_HEADING: Final = "# Written by `model-compose build`. Keep it with the file: the next build takes the same again.\n\n"
_NAMED: Final = 5
"""How many differences a refusal names."""


@dataclass(frozen=True, slots=True)
class LockedModel:
    """A model that was baked.

    revision: the commit; None for a folder of the user's. files: sha256 of each by its path, such as `config.json`.
    weights_bytes, parameters: how large the safetensors among them are, and how many numbers they hold; None where an
    older version wrote the lock.
    """

    revision: str | None
    files: Mapping[str, str]
    weights_bytes: int | None = None
    parameters: int | None = None

    def to_toml(self) -> dict[str, Any]:
        known = {"revision": self.revision, "weights_bytes": self.weights_bytes, "parameters": self.parameters}
        return {**{key: value for key, value in known.items() if value}, "files": dict(sorted(self.files.items()))}


@dataclass(frozen=True, slots=True)
class Lock:
    """What stands in the file.

    tool: our version. bases: digests by reference and platform, see `base_name`. models: see `model_name`.
    packages: by what they are for, see `packages_name`.
    """

    tool: str
    bases: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, LockedModel] = field(default_factory=dict)
    packages: Mapping[str, Resolution] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None where there is no such file. Raises UserError (exit 3) for one that is not readable or not ours."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise not_readable(path, error) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"{path} cannot be read: it was edited, or another version of model-compose wrote it",
                hint="bring it back from version control, or remove it and build again",
                exit_code=ExitCode.FILE,
            ) from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, KeyError, TypeError or AttributeError for another text than `text` gives."""
        value = tomllib.loads(text)
        if value["format"] != _FORMAT:
            raise ValueError(value["format"])
        return cls(
            tool=_text(value["tool"]),
            bases={name: _text(digest) for name, digest in value.get("bases", {}).items()},
            models={
                name: LockedModel(
                    _text(model.get("revision", "")) or None,
                    {path: _text(file) for path, file in model["files"].items()},
                    _count(model.get("weights_bytes")),
                    _count(model.get("parameters")),
                )
                for name, model in value.get("models", {}).items()
            },
            packages={
                name: Resolution(_text(group["wanted"]), tuple(sorted(_packages(group["wheels"]))))
                for name, group in value.get("packages", {}).items()
            },
        )

    @property
    def text(self) -> str:
        """The one spelling of it: sorted, a line for each thing that can change."""
        import tomli_w

        value = {
            "format": _FORMAT,
            "tool": self.tool,
            "bases": dict(sorted(self.bases.items())),
            "models": {name: model.to_toml() for name, model in sorted(self.models.items())},
            "packages": {
                name: {
                    "wanted": group.wanted,
                    "wheels": {str(package): list(package.hashes) for package in group.packages},
                }
                for name, group in sorted(self.packages.items())
            },
        }
        return _HEADING + tomli_w.dumps(value)

    def beside(self, others: "Lock | None") -> "Lock":
        """With what of `others` is not in this one: a build of one component leaves the lines of its neighbours.

        Of bases the last one for each platform stays: it is what the next build stands on.
        """
        if others is None:
            return self
        built = set(map(_platform, self.bases))
        bases = {name: digest for name, digest in others.bases.items() if _platform(name) not in built}
        return Lock(
            tool=self.tool,
            bases={**bases, **self.bases},
            models={**others.models, **self.models},
            packages={**others.packages, **self.packages},
        )

    def base(self, platform: object) -> str | None:
        """What was built on for a platform."""
        suffix = base_name("", platform)
        return next((name.removesuffix(suffix) for name in self.bases if name.endswith(suffix)), None)

    def commit(self, model: str, revision: str | None) -> str | None:
        """Which one was baked of a model of the hub; None when none was, or for a folder of the user's."""
        found = self.models.get(model_name(model, revision))
        return found.revision if found else None

    def files(self, model: str, revision: str | None, commit: str | None) -> Collection[str]:
        """Which ones were baked of this commit; empty where nobody can tell, or another version of ours chose them."""
        found = self.models.get(model_name(model, revision))
        known = found is not None and found.revision is not None and found.revision == commit
        return found.files if found and known and self.tool == tool_version() else ()

    def resolution(self, wanted: Wanted) -> Resolution | None:
        """The packages, unless other ones are wanted by now."""
        found = self.packages.get(packages_name(wanted))
        return found if found is not None and found.wanted == wanted.digest else None


def base_name(reference: str, platform: object) -> str:
    """Under which name a base stands in the file."""
    return f"{reference} for {platform}"


def _platform(base: str) -> str:
    return base.rpartition(" for ")[2]


def model_name(model: str, revision: str | None) -> str:
    """Under which name a model stands in the file: as the user wrote it, with the revision that the user named."""
    return f"{model} at {revision}" if revision else model


def packages_name(wanted: Wanted) -> str:
    """Under which name packages stand in the file, such as `task-cpu for linux/amd64, Python 3.11`."""
    kind = f"{wanted.kind}-{wanted.torch}" if wanted.torch else wanted.kind
    return f"{kind} for {wanted.platform}, Python {wanted.python}"


def check_locked(path: Path, lock: Lock | None, now: Lock) -> None:
    """Raises UserError (exit 4) unless the file holds all of what was built; `lock` is what it holds."""
    if lock is None:
        raise UserError(
            f"--locked needs {path.name}, and there is none in {path.parent}",
            hint="build once without --locked, and keep the file that it writes",
            exit_code=ExitCode.ENVIRONMENT,
        )
    found = list(differences(lock, now))
    if found:
        more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise UserError(
            f"{path.name} does not fit: {'; '.join(found[:_NAMED])}{more}",
            hint="build without --locked to bring it up to date",
            exit_code=ExitCode.ENVIRONMENT,
        )


def check_beforehand(path: Path, lock: Lock | None, bases: Collection[str], models: Collection[str]) -> None:
    """`check_locked` before a network is needed: whether this version wrote the file, and these names stand in it."""
    had = lock or Lock(tool_version())
    now = Lock(
        tool_version(),
        bases={name: had.bases.get(name, "") for name in bases},
        models={name: had.models.get(name, LockedModel(None, {})) for name in models},
    )
    check_locked(path, lock, now)


def differences(lock: Lock, now: Lock) -> Iterator[str]:
    """What of `now` the lock has otherwise or not at all, each in a few words; what only the lock has is no matter."""
    if lock.tool != now.tool:
        yield f"model-compose is {now.tool}, not {lock.tool}"
    for name, digest in sorted(now.bases.items()):
        if (had := lock.bases.get(name)) is None:
            yield f"it does not have the base {name}"
        elif had != digest:
            yield f"the base {name} is {digest}, not {had}"
    for name, model in sorted(now.models.items()):
        yield from _model_differences(name, lock.models.get(name), model)
    for name, group in sorted(now.packages.items()):
        yield from _package_differences(name, lock.packages.get(name), group)


def _model_differences(name: str, had: LockedModel | None, now: LockedModel) -> Iterator[str]:
    if had is None:
        yield f"it does not have the model {name}"
        return
    if had.revision != now.revision:
        yield f"{name} is at {now.revision or 'no commit'}, not {had.revision or 'no commit'}"
    for path in sorted(had.files.keys() | now.files.keys()):
        if had.files.get(path) != now.files.get(path):
            word = "is new" if path not in had.files else "is gone" if path not in now.files else "has changed"
            yield f"{path} of {name} {word}"


def _package_differences(name: str, had: Resolution | None, now: Resolution) -> Iterator[str]:
    if had is None:
        yield f"it does not have the packages of {name}"
        return
    before = {package.name: package for package in had.packages}
    after = {package.name: package for package in now.packages}
    for package in sorted(before.keys() | after.keys()):
        old, new = before.get(package), after.get(package)
        if old == new:
            continue
        if old and new and old.version == new.version:
            yield f"{package} {old.version} has other wheels"
        else:
            yield f"{package} is {new.version if new else 'gone'}, not {old.version if old else 'absent'}"
    if before == after and had.wanted != now.wanted:
        yield f"the requirements of {name} have changed"


def _packages(wheels: Mapping[str, Any]) -> Iterator[Package]:
    for key, hashes in wheels.items():
        name, _, version = key.partition("==")
        yield Package(name, version, tuple(map(_text, hashes)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _count(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
        raise TypeError(value)
    return value
