"""Asynchronous runs as they are kept over a crash, and the last of the others."""
