"""Runs units as containers of a Docker engine, from version 20.10 on."""
