"""How many bytes, as people say it."""

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def size(size_bytes: int | None) -> str:
    """`6.2 GB`, as people say it; `-` for what is unknown."""
    if size_bytes is None:
        return "-"
    for unit, scale in _UNITS:
        if size_bytes >= scale:
            amount = size_bytes / scale
            return f"{amount:.1f} {unit}" if amount < 100 else f"{amount:.0f} {unit}"
    return f"{size_bytes} bytes"


def megabytes(size_bytes: int | None) -> str:
    """For a column of sizes that are to be compared."""
    return "-" if size_bytes is None else f"{size_bytes / 1e6:.0f} MB"
