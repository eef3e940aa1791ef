"""The router's side of the tasks."""
