"""What an image does not need is removed, and the RECORDs say what is left."""

import os
from pathlib import Path, PurePosixPath

import pytest

from builders.packages.pruning import is_kept, prune

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "path",
    [
        "torch/__init__.py",
        "torch/lib/libtorch_cpu.so",
        "torch/bin/torch_shm_manager",
        "torch/testing/_internal/common.py",
        "numpy.libs/libscipy_openblas64_.so",
        "snail-1.0.dist-info/METADATA",
        "snail-1.0.dist-info/licenses/third_party/tests/LICENSE",
        "werkzeug/test.py",
        "tests/__init__.py",
        "six.py",
    ],
)
def test_what_runs_or_must_be_said_is_kept(path: str) -> None:
    assert is_kept(PurePosixPath(path))


@pytest.mark.parametrize(
    "path",
    [
        "torch/test/x.py",
        "torch/include/ATen/ATen.h",
        "torch/share/cmake/x.txt",
        "torch/bin/test_api",
        "torch/bin/protoc",
        "numpy/_core/tests/test_x.py",
        "numpy/_core/include/numpy/arrayobject.h",
        "snail/__pycache__/a.cpython-311.pyc",
        "bin/hf",
        "share/man/man1/x.1",
        "snail-1.0.dist-info/direct_url.json",
        "snail-1.0.dist-info/uv_cache.json",
        "snail-1.0.dist-info/REQUESTED",
        ".lock",
    ],
)
def test_tests_headers_scripts_and_traces_of_the_installation_are_not(path: str) -> None:
    assert not is_kept(PurePosixPath(path))


def test_records_agree_with_what_is_left_and_shared_files_are_not_written_to(tmp_path: Path) -> None:
    folder, shared = tmp_path / "packages", tmp_path / "cache"
    rows = ["snail/__init__.py,sha256=x,0", "bin/snail,sha256=host,9", "snail/tests/t.py,sha256=y,0"]
    record = "\r\n".join([*rows, "snail-1.0.dist-info/RECORD,,", ""])
    for path in ("snail/__init__.py", "bin/snail", "snail/tests/t.py", "snail-1.0.dist-info/RECORD"):
        for root in (shared, folder):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        (shared / path).write_text(record if path.endswith("RECORD") else "", newline="")
        os.link(shared / path, folder / path)
    prune(folder)
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == ["snail-1.0.dist-info/RECORD", "snail/__init__.py"]
    assert sorted(path.name for path in folder.iterdir()) == ["snail", "snail-1.0.dist-info"]
    assert (folder / left[0]).read_bytes() == b"snail-1.0.dist-info/RECORD,,\nsnail/__init__.py,sha256=x,0\n"
    assert (shared / left[0]).read_text().count("\n") == 4
