"""Spans of runs, jobs and task calls at a collector; without one, a caller's trace passes through untouched."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.router.settings import RouterSettings
from services.router.watching import tracing
from tests.services.router.rig import Stack, echo_task, eventually, job, router, text, workflow

pytestmark = pytest.mark.server

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """Takes spans over OTLP and keeps them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resource: dict[str, str] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.resource = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    {
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "error": span.status.code == 2,
                        "attributes": {
                            item.key: item.value.string_value or item.value.int_value for item in span.attributes
                        },
                        "events": len(span.events),
                    }
                    for span in scope.spans
                ]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    with echo_task(folder, "text") as task:
        chain = (job("first", "text"), job("second", "text", input={"prompt": "${jobs.first.output} again"}))
        workflows = (workflow("chain", *chain, default=True), workflow("text"))
        settings = RouterSettings(components=(text(endpoint=task.address),), workflows=workflows)
        with router(folder, settings) as service:
            yield Stack(service, {"text": task}, service.address + "/api")


def tree(spans: list[dict[str, Any]]) -> dict[str, str]:
    """The name of each span's parent."""
    names = {span["id"]: span["name"] for span in spans}
    return {span["name"]: names.get(span["parent"], span["parent"]) for span in spans if span["name"] != "task text"}


def test_a_run_has_its_spans_inside_the_callers_trace(
    folder: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with running(folder) as stack:
        answer = stack.post({"input": {"prompt": "x"}}, headers={"traceparent": PARENT, "X-Request-Id": "mine-1"})
        spans = eventually(lambda: len(collector.spans) == 5 and collector.spans)
        seen = stack.tasks["text"].last_headers()
        eventually(lambda: f"trace_id={TRACE}" in stack.router.log.read_text())
    assert {span["trace"] for span in spans} == {TRACE}
    assert tree(spans) == {
        "run chain": PARENT.split("-")[2],
        "job first": "run chain",
        "job second": "run chain",
    }
    calls = [span for span in spans if span["name"] == "task text"]
    jobs = {span["id"] for span in spans if span["name"].startswith("job ")}
    assert {span["parent"] for span in calls} == jobs
    assert seen["traceparent"].split("-")[2] in {span["id"] for span in calls}
    (run,) = (span for span in spans if span["name"] == "run chain")
    assert run["attributes"] == {
        "model_compose.workflow": "chain",
        "model_compose.run_id": answer.json()["task_id"],
        "model_compose.request_id": "mine-1",
    }
    assert calls[0]["attributes"]["gen_ai.usage.output_tokens"] >= 1
    assert collector.resource["service.name"] == tracing.SERVICE_NAME


def test_a_failed_run_has_the_code_of_its_error_and_no_text(
    folder: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/v1/traces")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    with running(folder) as stack:
        stack.post({"workflow_id": "text", "input": {"prompt": json.dumps({"fail_at": 0})}})
        assert stack.router.stop() == 0  # what has not been sent yet is sent at the end
    assert {(span["error"], span["attributes"]["error.type"]) for span in collector.spans} == {
        (True, "generation_failed")
    }
    assert [span["events"] for span in collector.spans] == [0, 0, 0]
    assert len({span["trace"] for span in collector.spans}) == 1
    assert collector.resource["service.name"] == "mine"


def test_without_an_exporter_ids_and_trace_pass_through_to_the_tasks(folder: Path) -> None:
    with running(folder) as stack:
        headers = {"traceparent": PARENT, "tracestate": "a=b", "X-Request-Id": "mine-1"}
        stack.post({"workflow_id": "text", "input": {"prompt": "x"}}, headers=headers)
        seen = stack.tasks["text"].last_headers()
        assert {name.lower(): seen.get(name.lower()) for name in headers} == {
            name.lower(): value for name, value in headers.items()
        }
        body = {"workflow_id": "text", "input": {"prompt": "y"}, "wait_for_completion": False}
        stack.post(body, headers={**headers, "X-Request-Id": "mine-2"})
        eventually(lambda: stack.tasks["text"].last_headers().get("x-request-id") == "mine-2")
        answer = stack.post({"workflow_id": "text", "input": {"prompt": "x"}}, headers={"traceparent": "nonsense"})
        seen = stack.tasks["text"].last_headers()
        assert seen["x-request-id"] == answer.headers["X-Request-Id"]
        assert "traceparent" not in seen
        odd = {"traceparent": PARENT, "tracestate": "a=\u00ff".encode("latin-1")}
        assert stack.post({"workflow_id": "text", "input": {"prompt": "x"}}, headers=odd).status_code == 200
        assert "tracestate" not in stack.tasks["text"].last_headers()


def test_a_collector_that_is_gone_holds_nothing_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with running(folder) as stack:
        assert stack.post({"input": {"prompt": "x"}}).status_code == 200
        stack.router.process.terminate()
        assert stack.router.process.wait(10) == 0


@pytest.mark.parametrize(
    "value", ["", "00-abc", f"ff-{TRACE}-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01"]
)
def test_a_traceparent_that_is_none_is_dropped(value: str) -> None:
    tracing.accept("mine", value, "a=b")
    assert (tracing.headers(), tracing.trace_id()) == ({"X-Request-Id": "mine"}, None)


def test_without_an_exporter_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import os, sys; import services.router.app as app; from services.router.watching import tracing;"
        "tracing.configure(os.environ, '1'); tracing.accept('x', None);"
        "tracing.run_span('w', 'r', 'x').__enter__(); print(any('opentelemetry' in name for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_what_switches_it_off_is_heeded(environ: dict[str, str]) -> None:
    tracing.configure(environ, "1")
    assert isinstance(tracing.span("x"), tracing._NoSpan)
