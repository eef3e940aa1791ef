"""Tiny models for every test of what runs as a service."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.models import Architecture

Tiny = Callable[["Architecture"], Path]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The folder of a model, made at the first call."""
    import torch

    from tests.models import make_model

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    return cache(lambda architecture: make_model(architecture, root / architecture))
