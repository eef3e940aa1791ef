"""The browser of the tests goes on while networks of containers come and go."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.docker.engine import Engine
from tests.ui.browser import Visitor

pytestmark = [pytest.mark.docker, pytest.mark.browser]

PAGE = b"""<link rel=icon href="data:,"><script>
let answered = 0
const dropped = []
async function ask() {
  for (;;) await fetch("/more", {cache: "no-store"}).then(() => { answered += 1 }, (why) => { dropped.push(`${why}`) })
}
for (let asking = 0; asking < 64; asking++) ask()
</script>"""


class OneConnectionARequest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_request(self, code: object = None, size: object = None) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneConnectionARequest) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_no_request_is_dropped(docker: Engine, visit: Callable[[], Visitor], url: str) -> None:
    page = visit().open(url)
    for _ in range(5):
        docker.make_network("browser-test", "browser-test", internal=False)
        before = page.evaluate("answered")
        page.wait_for_function(f"answered > {before + 20}")
        docker.remove_networks("browser-test")
    assert page.evaluate("dropped") == []
