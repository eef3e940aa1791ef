"""A small base image for Python from Debian's packages, made without a registry, an engine or root."""
