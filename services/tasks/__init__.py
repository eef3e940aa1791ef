"""What a model does: one module for each task of the catalog."""
