"""Keeps torch and transformers from importing what serving never uses: half of the time and of the modules.

Import it in the engine's thread only.
"""

import contextlib
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from services.importing import changed_at_import

_UNUSED = ("PIL", "accelerate", "pandas", "scipy", "sklearn", "torchvision")
"""What transformers imports for training and for pictures where it is installed; our tasks do not depend on it."""

_COMPILER = "torch._dynamo"


def import_libraries() -> None:
    """Call it before anything else imports them; raises ImportError as they do."""
    import torch

    torch.set_num_interop_threads(1)
    with _without_compiler(), _without_unused(), changed_at_import("transformers.utils.import_utils", _read_once):
        import transformers.utils

        for module in (transformers.utils, transformers.utils.import_utils):
            module.is_torch_distributed_available = lambda: False  # this process has the whole model
        import transformers.modeling_layers  # what networks are made of: nearly all of the library


@contextlib.contextmanager
def plain_construction() -> Iterator[None]:
    """Inside the block networks are made without two functions that torch computes in Python where there is no data.

    These would import a computer algebra system. Weights come from files, so nobody needs random ones, and `arange` is
    used for small tables, which may as well have data.
    """
    import torch

    fill, count = torch.nn.init.normal_, torch.arange

    def leave(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        return tensor if tensor.is_meta else fill(tensor, *arguments, **options)

    def count_with_data(*arguments: Any, device: Any = None, **options: Any) -> torch.Tensor:
        return count(*arguments, device=device or "cpu", **options)

    torch.nn.init.normal_, torch.arange = leave, count_with_data
    try:
        yield
    finally:
        torch.nn.init.normal_, torch.arange = fill, count


def _read_once(import_utils: Any) -> None:
    """transformers reads every file of its models twice as it is imported, for what they define, and line by line.

    It would remember, but of fewer folders than it has; and the list of names stands at the end of a file. A version
    that does not read them with these two functions is left as it is.
    """
    read = getattr(import_utils, "create_import_structure_from_path", None)
    names = getattr(import_utils, "fetch__all__", None)
    if read is not None:
        import_utils.create_import_structure_from_path = functools.cache(inspect.unwrap(read))
    if names is not None:
        import_utils.fetch__all__ = lambda content: names(content[content.rfind("\n__all__") + 1 :])


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    """Packages that are not imported yet are not found inside the block."""
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python marks what cannot be had
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Inside the block torch's compiler takes marks on functions and does nothing with them.

    transformers marks functions for it as it is imported, and nothing here is ever compiled.
    """
    spec = importlib.util.find_spec(_COMPILER)
    if spec is None or _COMPILER in sys.modules:
        yield
        return
    compiler: Any = ModuleType(_COMPILER)
    compiler.__spec__, compiler.__path__ = spec, spec.submodule_search_locations
    compiler.allow_in_graph = compiler.assume_constant_result = compiler.disable = _unchanged
    sys.modules[_COMPILER] = compiler
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


def _unchanged(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """A decorator that does nothing, also when it is called with options first."""
    return _unchanged if function is None else function
