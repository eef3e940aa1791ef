"""Where things run: processes today, containers and clusters next."""

__model_compose__ = "model-compose"
