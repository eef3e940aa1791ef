"""Which runner serves a loaded network: by what it is, where it runs, and whether it proved itself.

Import it in the engine's thread only: it imports torch and transformers.
"""

from services.engine.base import AnyHost, AnyRunner
from services.engine.decoding import GenerateRunner
from services.engine.loading import LoadedModel
from services.settings import TaskSettings


def make_runner(model: LoadedModel, settings: TaskSettings, host: AnyHost) -> AnyRunner:  # noqa: ARG001
    """A runner that is warm."""
    return GenerateRunner(model, host)
