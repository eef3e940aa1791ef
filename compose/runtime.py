"""Where a file's services run: as processes or in containers, by whoever says so most strongly."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, get_args

from compose.reading.nodes import mark_at
from compose.spec import ModelComponentSpec, Runtime, RuntimeSpec
from infra.errors import ExitCode, UserError

if TYPE_CHECKING:
    from compose.loader import Loaded

VARIABLE: Final = "MODEL_COMPOSE_RUNTIME"
RUNTIMES: Final[tuple[Runtime, ...]] = get_args(Runtime)

_WORDS: Final = {"process": "as a process", "docker": "in a container"}


def chosen_runtime(loaded: "Loaded", asked: str | None) -> Runtime:
    """`asked` on the command line, else what the components say, else the controller, else MODEL_COMPOSE_RUNTIME.

    Router and page run where the tasks do, which is one place for all. Raises UserError when it is not, and for a name
    that is none.
    """
    if asked is not None:
        return _known(asked, "--runtime")
    spec = loaded.spec
    shared = _own(spec.controller.runtime) or _known(loaded.env.get(VARIABLE) or "process", VARIABLE)
    runtimes = {component.name: _own(component.runtime) or shared for component in spec.models}
    if len(set(runtimes.values())) > 1:
        raise _mixed(loaded, runtimes, shared)
    return next(iter(runtimes.values()), shared)


def _own(runtime: RuntimeSpec | None) -> Runtime | None:
    return runtime.type if runtime else None


def _mixed(loaded: "Loaded", runtimes: Mapping[str, Runtime], shared: Runtime) -> UserError:
    index, component = next(
        (index, component)
        for index, component in enumerate(loaded.spec.components)
        if isinstance(component, ModelComponentSpec) and runtimes[component.name] != shared
    )
    other = next(name for name, runtime in runtimes.items() if runtime != runtimes[component.name])
    return UserError(
        f"{mark_at(loaded.root, ('components', index, 'runtime'))}: `{component.name}` runs"
        f" {_WORDS[runtimes[component.name]]} and `{other}` {_WORDS[runtimes[other]]}, which is not supported yet",
        hint="name one runtime for all, on the controller or with --runtime",
        exit_code=ExitCode.FILE,
    )


def _known(name: str, where: str) -> Runtime:
    for runtime in RUNTIMES:
        if name == runtime:
            return runtime
    raise UserError(
        f"there is no runtime `{name}`, which {where} names",
        hint=f"there are {' and '.join(RUNTIMES)}",
        exit_code=ExitCode.USAGE,
    )
