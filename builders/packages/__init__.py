"""The Python packages of an image: which, from where, and the layer that they become.

resolution = resolve_packages(wanted, sources, environ, scratch)     # unless the lock has it
layer = PackagesLayer.of(wanted, resolution)
store.layer(layer.recipe.key, lambda: layer.make(folder, sources, environ), purpose=layer.recipe.purpose)
"""
