"""Who asked, carried along with a run to its tasks, and OpenTelemetry spans where the environment names an exporter.

Without one nothing of OpenTelemetry is imported, `span` does nothing, and a client's `traceparent` goes on to the tasks
as it came.
"""

import atexit
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from services.errors import ServiceError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool

SERVICE_NAME = "model-compose-router"
"""Unless OTEL_SERVICE_NAME gives another."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LAST_SPANS_S = 2.0
"""How long the end of the process waits for a collector."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LONGEST_TRACESTATE = 512

log = logging.getLogger(__name__)


class Span(Protocol):
    """What happens between the entry and the exit of `span`."""

    def set_attribute(self, key: str, value: Value) -> None: ...


@dataclass(frozen=True, slots=True)
class _Caller:
    """What a request says of itself. headers: `X-Request-Id`, and the trace that it is a part of."""

    headers: Mapping[str, str]
    trace_id: str | None = None


class _NoSpan:
    """A span that nobody wants to see."""

    def set_attribute(self, key: str, value: Value) -> None:
        pass

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_NO_SPAN = _NoSpan()
_NOBODY = _Caller({})
_caller: ContextVar[_Caller] = ContextVar("caller", default=_NOBODY)
_tracer: "Tracer | None" = None


def accept(request_id: str, traceparent: str | None = None, tracestate: str | None = None) -> None:
    """From here on, and in every asyncio task begun from here, this request is the one that is worked for."""
    headers = {"X-Request-Id": request_id}
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if match is not None and traceparent is not None:
        headers["traceparent"] = traceparent
        if tracestate and len(tracestate) <= _LONGEST_TRACESTATE and tracestate.isascii():
            headers["tracestate"] = tracestate
    _caller.set(_Caller(headers, None if match is None else match[1]))
    if _tracer is not None:
        from opentelemetry.context import Context, attach
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attach(TraceContextTextMapPropagator().extract(headers, Context()))


def headers() -> Mapping[str, str]:
    """What a request to a task says of its origin."""
    caller = _caller.get()
    if _tracer is None:
        return caller.headers
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = dict(caller.headers)
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def trace_id() -> str | None:
    """The trace that is worked for, as 32 hexadecimal digits."""
    return _caller.get().trace_id


def run_span(workflow: str, run_id: str, request_id: str) -> AbstractContextManager[Span]:
    """The span of a whole run, its waiting included; a run that is taken up after a crash begins a trace of its own."""
    if _caller.get().headers.get("X-Request-Id") != request_id:
        accept(request_id)
    if _tracer is None:
        return _NO_SPAN
    return _recorded(
        _tracer, f"run {workflow}", "server", {"workflow": workflow, "run_id": run_id, "request_id": request_id}
    )


def span(name: str, kind: Kind = "internal", **attributes: Value) -> AbstractContextManager[Span]:
    """One step of a run, inside the one that is open; attributes get our prefix, `model_compose.`."""
    return _NO_SPAN if _tracer is None else _recorded(_tracer, name, kind, attributes)


@contextmanager
def _recorded(tracer: "Tracer", name: str, kind: Kind, attributes: Mapping[str, Value]) -> Iterator[Span]:
    """An error's code is kept, but no text: it may quote what a client sent."""
    from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id

    prefixed = {f"model_compose.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, kind=SpanKind[kind.upper()], attributes=prefixed, record_exception=False, set_status_on_exception=False
    ) as current:
        _caller.set(replace(_caller.get(), trace_id=format_trace_id(current.get_span_context().trace_id)))
        try:
            yield current
        except Exception as error:
            code = error.code if isinstance(error, ServiceError) else type(error).__name__
            current.set_attribute("error.type", code)
            current.set_status(Status(StatusCode.ERROR))
            raise


def configure(environ: Mapping[str, str], version: str) -> None:
    """Export spans when the standard variables name an exporter: `otlp` over HTTP, or `console`."""
    global _tracer  # noqa: PLW0603  # one exporter a process, which every module uses
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not wanted and any(environ.get(name) for name in _ENDPOINTS):
        wanted = "otlp"
    if wanted in ("", "none") or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    if wanted not in ("otlp", "console"):
        log.warning("OTEL_TRACES_EXPORTER is otlp, console or none, not %r; no traces are exported", wanted)
        return
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource({"service.name": SERVICE_NAME, "service.version": version})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(wanted)))
    atexit.register(_shut_down, provider)
    _tracer = provider.get_tracer("model-compose", version)


def _exporter(name: str) -> "SpanExporter":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _shut_down(provider: "TracerProvider") -> None:
    """A collector that does not answer must not hold up the end."""
    ending = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
    ending.start()
    ending.join(_LAST_SPANS_S)
