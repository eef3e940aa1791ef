"""The benchmark of images runs: small, without the other side, and over layers that are there already."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.product import TIMEOUT_S, Product

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

REPOSITORY = Path(__file__).parents[2]


def test_it_measures_that_edits_make_no_layer_of_a_task(product: Product, base_tar: Path, tmp_path: Path) -> None:
    (tmp_path / "base.tar").symlink_to(base_tar)
    lock, cache = product.folder / "model-compose.lock", product.environment["MODEL_COMPOSE_CACHE"]
    options = ["--smoke", "--kept", str(tmp_path), "--lock", str(lock), "--cache", cache]
    command = [sys.executable, "-m", "benchmarks.images", *options]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    table = [line.strip("| ").split(" | ") for line in shown.stdout.splitlines() if line.startswith("| ")]
    assert {row[0]: re.sub(r"[\d.]+ (s|KB|MB/s)\b", r"N \1", row[2]) for row in table[2:]} == {
        "a new model of 10 MB, packages built before": "N s (N MB/s in all)",
        "all three again, nothing changed": "N s, no new layer, the same digests, no network",
        "a task with 10 MB of weights again": "N s, no new layer, the same digests",
        "after an edit of a prompt": "tasks untouched, all three in N s, 1 layer of N KB",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["base.tar"]
