"""Continuous batching: a decoder's requests join the running batch at the next token and leave it when they are done."""
