"""What shows a page, and the client of the runs API that it shares with the command line."""

__model_compose__ = "model-compose"
