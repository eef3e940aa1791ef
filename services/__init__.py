"""What runs: one BentoML service per model task, and the router in front of them."""

__model_compose__ = "model-compose"
