"""Writes what was measured into a document, between two marks, and says on what kind of machine."""

import os
from pathlib import Path

import psutil

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
FAST = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""What a processor may have that matters here."""


def machine() -> str:
    """Its kind, not its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    known = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    found = ", ".join(flag for flag in FAST if flag in known) or "no vector extensions known"
    return f"{os.cpu_count()} processors ({found}), {psutil.virtual_memory().total / 2**30:.0f} GB of memory"


def rewrite(document: Path, measured: str) -> None:
    """Replace what stands between the marks."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}", encoding="utf-8")
