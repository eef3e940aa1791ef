"""Runs us and other tools on one model, interleaved, and writes what came of it into docs/performance.md."""
