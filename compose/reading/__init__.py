"""YAML text becomes nodes that know their places; everything wrong with it becomes a problem with its own."""
