"""How a task's network is loaded, and which runner serves it: by what it is, where it runs, and how it proved itself.

Import it in the engine's thread only: it imports torch and transformers.
"""

from services.catalog import TASKS
from services.engine.base import AnyHost, AnyRunner
from services.engine.checkpoint import Checkpoint
from services.engine.decoding import GenerateRunner
from services.engine.encoding import EncodeRunner
from services.engine.loading import LoadedModel, load_model
from services.engine.loading_encoders import LoadedEncoder, load_classifier, load_embedder
from services.settings import TaskSettings


def load(settings: TaskSettings, checkpoint: Checkpoint) -> LoadedModel | LoadedEncoder:
    """The kind of network that the task needs; raises LoadError with a sentence for the user."""
    match TASKS[settings.task].network:
        case "embedding":
            return load_embedder(settings, checkpoint)
        case "classification":
            return load_classifier(settings, checkpoint)
        case _:
            return load_model(settings, checkpoint)


def make_runner(model: LoadedModel | LoadedEncoder, settings: TaskSettings, host: AnyHost) -> AnyRunner:
    """A runner that is warm."""
    if isinstance(model, LoadedEncoder):
        return EncodeRunner(model, host, max_rows=settings.max_concurrent_count)
    return GenerateRunner(model, host)
