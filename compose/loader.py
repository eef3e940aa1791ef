"""From the user's files to a checked spec, or to one error that holds everything wrong with them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Final

from compose.blocks import CHILDREN
from compose.checks.findings import Findings
from compose.checks.planned import refuse
from compose.checks.references import check_references
from compose.checks.shape import read_shape
from compose.dialect import modernise
from compose.reading import nodes
from compose.reading.interpolation import read_env_file
from compose.reading.problems import Mark, Problem, SourceError, render_problems
from compose.reading.source import decode, read_yaml
from compose.spec import ComposeSpec
from infra.errors import ExitCode, UserError
from infra.secrets import Redactor

FILE_NAMES: Final = ("model-compose.yml", "model-compose.yaml")
ENV_FILE_NAME: Final = ".env"


class InvalidFile(UserError):  # noqa: N818 - says what the file is, as UserError's other kinds do
    """Everything that is wrong with the file, each with its place, sorted by line.

    sources: the texts whose lines may be shown. redact: takes out the values of secret variables.
    """

    def __init__(
        self, problems: Sequence[Problem], sources: Mapping[str, str], redact: Callable[[str], str] = str
    ) -> None:
        count = len(set(problems))
        heading = f"the file has {count} problems\n" if count > 1 else ""
        super().__init__(heading + redact(render_problems(problems, sources)), exit_code=ExitCode.FILE)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that may be planned.

    directory: of the first file; relative paths in the file start there. env: every variable that `${env.NAME}` can
    read, the strongest value of each. digest: changes when what the file asks for does. model_marks: where each
    component's model is named, by the component's name. root: the file in today's dialect, to look up places in.
    """

    spec: ComposeSpec
    warnings: tuple[str, ...]
    directory: Path
    files: tuple[Path, ...]
    digest: str
    env: Mapping[str, str]
    model_marks: Mapping[str, Mark]
    root: nodes.Mapping


def load_spec(
    files: Sequence[Path] | None = None,
    *,
    env_files: Sequence[Path] | None = None,
    env: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Loaded:
    """Read and check the files; later ones win.

    files: None finds one in `directory`. env_files: None reads `.env` beside the first file, if there is one.
    env: the values given on the command line, stronger than `environ` (the process environment), stronger than
    env_files. Raises InvalidFile, or UserError for a file that is not there or cannot be opened.
    """
    paths = tuple(files) if files else (_find_file(directory or Path.cwd()),)
    home = paths[0].parent.absolute()
    names = {path: str(path) if files else path.name for path in paths}
    given = _env_values(_env_names(env_files, home, names[paths[0]]))
    environment = {**given, **(os.environ if environ is None else environ), **(env or {})}
    sources = {name: _read(path, name) for path, name in names.items()}
    redact = Redactor(environment)
    root = _merged(sources, redact)

    modern, ambiguities = modernise(root)
    refused = refuse(modern)
    shaped = read_shape(refused.rest, environment)
    partial = bool(ambiguities or refused.problems or shaped.problems)
    findings = Findings(shaped.node, _ids(modern), partial, refused.damaged | shaped.damaged)
    if shaped.spec is not None:
        check_references(shaped.spec, findings)
    problems = [*ambiguities, *refused.problems, *shaped.problems, *findings.problems]
    if problems or shaped.spec is None:
        raise InvalidFile(problems, sources, redact)
    warnings = [*nodes.repeated_keys(root), *findings.warnings]
    return Loaded(
        shaped.spec,
        tuple(redact(_sentence(warning)) for warning in sorted(warnings, key=lambda warning: warning.mark)),
        home,
        paths,
        _digest(shaped.spec, shaped.used),
        environment,
        {
            component.name: findings.mark(("components", index, "model"))
            for index, component in enumerate(shaped.spec.components)
            if component in shaped.spec.models
        },
        shaped.node,
    )


def _find_file(directory: Path) -> Path:
    for name in FILE_NAMES:
        if (directory / name).is_file():
            return directory / name
    raise UserError(
        f"there is no {' or '.join(FILE_NAMES)} in {directory}",
        hint="`model-compose init` writes one, `-f FILE` names another",
        exit_code=ExitCode.FILE,
    )


def _env_names(env_files: Sequence[Path] | None, home: Path, file: str) -> dict[Path, str]:
    """The environment files, and what messages call them; by default the one beside `file`, which lies in `home`."""
    if env_files is not None:
        return {path: str(path) for path in env_files}
    default = home / ENV_FILE_NAME
    return {default: str(Path(file).with_name(ENV_FILE_NAME))} if default.is_file() else {}


def _env_values(files: Mapping[Path, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path, name in files.items():
        try:
            values |= read_env_file(_read(path, name), name)
        except SourceError as error:
            raise InvalidFile(error.problems, {}) from None  # its lines hold secrets, so none is shown
    return values


def _read(path: Path, name: str) -> str:
    """The text of `path`, which messages call `name`."""
    try:
        return decode(path.read_bytes(), name)
    except SourceError as error:
        raise InvalidFile(error.problems, {}) from None
    except OSError as error:
        reason, hint = {
            FileNotFoundError: ("it does not exist", "check the name and the folder that you are in"),
            IsADirectoryError: ("it is a folder", "name a file in it"),
            PermissionError: ("it may not be read", "change its permissions, or be the user who may"),
        }.get(type(error), (os.strerror(error.errno or 0).lower(), None))
        raise UserError(f"cannot read {name}: {reason}", hint=hint, exit_code=ExitCode.FILE) from None


def _merged(sources: Mapping[str, str], redact: Redactor) -> nodes.Mapping:
    roots: list[nodes.Mapping] = []
    problems: list[Problem] = []
    for name, text in sources.items():
        try:
            roots.append(read_yaml(text, name))
        except SourceError as error:
            problems += error.problems
    if problems:
        raise InvalidFile(problems, sources, redact)
    return reduce(nodes.merge, roots)


def _ids(root: nodes.Node) -> dict[str, frozenset[str]]:
    """Every id that stands in the file, by the kind of block that bears it."""
    found: dict[str, set[str]] = {}
    for kind, name in _walk_ids(root, "file"):
        found.setdefault(kind, set()).add(name)
    return {kind: frozenset(names) for kind, names in found.items()}


def _walk_ids(node: nodes.Node, kind: str) -> Iterator[tuple[str, str]]:
    match node:
        case nodes.Sequence():
            for item in node.items:
                yield from _walk_ids(item, kind)
        case nodes.Mapping():
            for key, entry in node.entries.items():
                if key == "id" and isinstance(entry.value, nodes.Scalar):
                    yield kind, entry.value.raw
                child = CHILDREN.get(kind, {}).get(key)
                if child:
                    yield from _walk_ids(entry.value, child)


def _sentence(warning: Problem) -> str:
    return f"{warning}; {warning.hint}" if warning.hint else str(warning)


def _digest(spec: ComposeSpec, used: Mapping[str, str]) -> str:
    text = json.dumps([spec.model_dump(mode="json"), used], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
