"""Whether a file that could be read makes sense: its shape, its names, its expressions, what its actions ask."""
