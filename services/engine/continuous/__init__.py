"""Continuous batching: requests join the running batch of a decoder at the next token and leave it when done."""
