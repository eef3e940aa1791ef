"""All runs of a router: those in memory, and those that are kept."""
