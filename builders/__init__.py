"""What makes something to start from: model weights on disk today, images next."""

__model_compose__ = "model-compose"
