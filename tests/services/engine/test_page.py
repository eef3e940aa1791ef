"""The page about the engine names the tested architectures, each under the way it runs."""

import re
from pathlib import Path

import pytest

from tests.services.engine.continuous.networks import CONTINUOUS
from tests.services.engine.static.networks import ALONE, DECODERS, ENCODER_DECODERS, SAME_LENGTH

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs" / "engine.md"


def test_the_table_says_how_each_tested_architecture_runs() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| tested | runs |\n| --- | --- |\n")[2].partition("\n\n")[0]
    said: dict[str, set[str]] = {}
    for line in table.splitlines():
        names, runs = line.strip("| ").split(" | ")
        said.setdefault(runs, set()).update(map(plain, names.split(", ")))
    padded = {*DECODERS, *ENCODER_DECODERS} - {*CONTINUOUS, *SAME_LENGTH, *ALONE}
    assert said == {
        "continuous": set(map(plain, CONTINUOUS)),
        "batches of `generate()`, padded": set(map(plain, padded)),
        "batches of `generate()`, same length": set(map(plain, SAME_LENGTH)),
        "one at a time": set(map(plain, ALONE)),
    }


def plain(name: str) -> str:
    """Without capitals, marks and what stands in brackets."""
    return re.sub(r"\(.*\)|[^a-z0-9]", "", name.lower())
