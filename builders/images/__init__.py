"""Container images, put together without an engine: layers, their store, bases, outputs and registries."""
