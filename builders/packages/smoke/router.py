"""Imports what a router process imports."""

import importlib

for name in (
    "httptools",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.trace.export",
    "prometheus_client",
    "psycopg",
    "psycopg_binary",
    "pydantic.types",
    "python_multipart",
    "regex",
    "starlette.applications",
    "starlette.formparsers",
    "ulid",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
):
    importlib.import_module(name)
importlib.import_module("pydantic").create_model("Settings", count=(int, 1))
