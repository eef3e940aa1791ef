"""One run: which jobs start, what each does, and what becomes of it."""
