"""Measures what images cost, with stock `bentoml containerize` beside us, for docs/images.md."""
