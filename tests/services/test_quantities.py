import pytest

from services.quantities import duration_s, size_bytes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1s", 1),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86_400),
        ("1.5 h", 5400),
        (30, 30),
        (0.5, 0.5),
        ("7", 7),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("10MB", 10_000_000), ("512 KiB", 524_288), (2048, 2048), ("1gb", 10**9), ("3b", 3)]
)
def test_a_size_is_read_in_bytes(text: object, count: int) -> None:
    assert size_bytes(text) == count


@pytest.mark.parametrize("text", ["soon", "-1s", "1 parsec", "", True, None, [], float("inf"), float("nan")])
def test_what_is_no_quantity_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30s, 5m or 1h"):
        duration_s(text)
    with pytest.raises(ValueError, match="must be a size such as 500KB or 10MB"):
        size_bytes(text)
