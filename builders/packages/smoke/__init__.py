"""Scripts that import what the processes of an image import; each is run alone, with nothing else to import from."""
