"""Older spellings of the file become today's, before anything is checked; every node keeps its place in the file."""

from compose.dialect.file import modernise
from compose.dialect.keys import OLDER_KEYS

__all__ = ["OLDER_KEYS", "modernise"]
