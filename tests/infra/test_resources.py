from typing import Any

import pytest

from infra.resources import Resources, read_cpu, read_gpu, read_gpu_type, read_memory, write_cpu, write_memory

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("written", "cpu"), [("500m", 0.5), ("2", 2), (2, 2), (1.5, 1.5), ("0.25", 0.25), ("10m", 0.01), (" 4 ", 4)]
)
def test_processors(written: Any, cpu: float) -> None:
    assert read_cpu(written) == cpu


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("512Mi", 512 * 2**20),
        ("16Gi", 16 * 2**30),
        ("8G", 8 * 10**9),
        ("1.5Gi", 1536 * 2**20),
        (2_000_000_000, 2_000_000_000),
        (2e9, 2_000_000_000),
    ],
)
def test_memory(written: Any, count: int) -> None:
    assert read_memory(written) == count


@pytest.mark.parametrize(("written", "gpu"), [(0, (0, None)), ("2", (2, None)), ("H100:2", (2, "H100"))])
def test_gpus(written: Any, gpu: tuple[int, str | None]) -> None:
    assert read_gpu(written) == gpu


@pytest.mark.parametrize(
    ("read", "written", "phrase"),
    [
        (read_cpu, "two", "must be a number of processors such as 2 or 500m, not `two`"),
        (read_cpu, True, "must be a number of processors such as 2 or 500m"),
        (read_cpu, -1, "must be a number of processors such as 2 or 500m, not `-1`"),
        (read_cpu, "5m", "must be at least 10m, not `5m`"),
        (read_cpu, 0, "must be at least 10m, not `0`"),
        (read_memory, "16GB", "must be an amount such as 512Mi or 16Gi, not `16GB`; did you mean `16G`?"),
        (read_memory, "16GiB", "must be an amount such as 512Mi or 16Gi, not `16GiB`; did you mean `16Gi`?"),
        (read_memory, "512m", "must be an amount such as 512Mi or 16Gi, not `512m`; did you mean `512Mi`?"),
        (read_memory, "16 Gi", "must be an amount such as 512Mi or 16Gi, not `16 Gi`"),
        (read_memory, None, "must be an amount such as 512Mi or 16Gi"),
        (read_memory, 512, "must be at least 64Mi, not `512`; did you mean `512Mi`?"),
        (read_memory, "1Mi", "must be at least 64Mi, not `1Mi`"),
        (
            read_gpu,
            "H100",
            "must be a number of GPUs such as 1, or TYPE:NUMBER such as H100:2, not `H100`; did you mean `H100:1`?",
        ),
        (read_gpu, "all", "must be a number of GPUs such as 1, or TYPE:NUMBER such as H100:2, not `all`"),
        (read_gpu, 1.5, "must be a number of GPUs such as 1, or TYPE:NUMBER such as H100:2, not `1.5`"),
        (read_gpu, -1, "must be a number of GPUs such as 1, or TYPE:NUMBER such as H100:2, not `-1`"),
        (read_gpu_type, "a b", "must be a name such as H100: letters, digits, `.`, `_`, `-`, not `a b`"),
        (read_gpu_type, "$(reboot)", "must be a name such as H100: letters, digits, `.`, `_`, `-`, not `$(reboot)`"),
    ],
)
def test_what_is_no_quantity_is_refused_with_what_was_meant(read: Any, written: Any, phrase: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the phrase is compared
        read(written)
    assert str(caught.value) == phrase


@pytest.mark.parametrize("text", ["500m", "2", "10m", "1250m"])
def test_processors_are_written_as_kubernetes_reads_them(text: str) -> None:
    assert write_cpu(read_cpu(text)) == text


@pytest.mark.parametrize("text", ["512Mi", "16Gi", "1536Mi", "1Ti", "8000000001"])
def test_memory_is_written_as_kubernetes_reads_it(text: str) -> None:
    assert write_memory(read_memory(text)) == text


@pytest.mark.parametrize(("cpu", "threads"), [(None, None), (0.5, 1), (1, 1), (1.5, 2), (4, 4)])
def test_threads_fill_the_limit(cpu: float | None, threads: int | None) -> None:
    assert Resources(cpu=cpu).threads == threads
