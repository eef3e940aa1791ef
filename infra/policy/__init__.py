"""What objects for a cluster must be before anybody applies them: rules that need no cluster, as pure functions."""
