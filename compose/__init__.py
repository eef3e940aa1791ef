"""What the user says, and the order in which things happen."""

__model_compose__ = "model-compose"
