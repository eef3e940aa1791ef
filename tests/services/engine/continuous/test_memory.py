"""The cache has a share of what is free, and a model without room for one is not served."""

from typing import TYPE_CHECKING

import pytest

from services.engine.continuous import memory
from services.engine.continuous.memory import affordable_tokens, bounded_tokens, cache_tokens
from services.engine.failure import NO_MEMORY, LoadError
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import Recorder
from tests.services.tasks.serving import settings_of

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

pytestmark = pytest.mark.unit

GIB = 1024**3


@pytest.mark.parametrize(
    ("free", "rows", "context", "tokens"),
    [
        (1_000_000, 8, None, 400),
        (1_000_000, 8, 100, 400),
        (1_000_000, 2, 100, 200),
        (0, 8, 100, 0),
        (None, 8, None, int(2 * GIB * 0.4) // 1000),
    ],
)
def test_a_share_of_what_is_free_for_no_more_than_the_rows_can_have(
    free: int | None, rows: int, context: int | None, tokens: int
) -> None:
    assert bounded_tokens(free, 1000, rows=rows, context=context) == tokens


@pytest.fixture
def model(tiny: Tiny) -> "LoadedModel":
    return load(tiny, "llama")


def set_free(monkeypatch: pytest.MonkeyPatch, available: int | None, mapped: int = 0) -> None:
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: available)
    monkeypatch.setattr(memory, "mapped_bytes", lambda: mapped)


def test_mapped_weights_are_not_free(model: "LoadedModel", monkeypatch: pytest.MonkeyPatch) -> None:
    device = model.network.device
    set_free(monkeypatch, 3000, mapped=1000)
    assert affordable_tokens(device, 2, rows=1, context=None) == 400
    set_free(monkeypatch, 1000, mapped=2000)
    assert affordable_tokens(device, 2, rows=1, context=None) == 0
    set_free(monkeypatch, None)
    assert affordable_tokens(device, 2, rows=1, context=None) == GIB * 2 // 5


def test_a_short_context_is_no_lack_of_memory(model: "LoadedModel", monkeypatch: pytest.MonkeyPatch) -> None:
    set_free(monkeypatch, GIB)
    assert cache_tokens(model.network.device, 1000, rows=1, context=16) == 16


def test_a_model_that_leaves_no_room_for_a_cache_does_not_load(
    tiny: Tiny, model: "LoadedModel", monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.engine.choice import make_runner

    set_free(monkeypatch, 20_000)
    with pytest.raises(LoadError) as refused:
        make_runner(model, settings_of(tiny("llama")), Recorder().host)
    assert refused.value.exit_code == NO_MEMORY
    assert refused.value.message == (
        "the model leaves too little memory to compute with it: room for 31 tokens of 0.3 kB each; end other programs,"
        " or use a smaller model"
    )
