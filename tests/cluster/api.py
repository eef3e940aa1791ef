"""A cluster's API as far as kubectl needs one, on loopback: what is applied is kept and checked, and nothing runs."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.cluster.objects import KINDS, Key, Object, Objects, merged, operated, plural
from tests.http_server import QuietHandler, QuietServer

_PATH: Final = re.compile(
    r"/apis?/(?P<version>v1|[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?"
)


class FakeCluster(Objects):
    def __init__(self) -> None:
        super().__init__()
        self._server = _Server(_Handler)
        self._server.objects = self

    def __enter__(self) -> Self:
        self._server.start("cluster")
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    def configure(self, file: Path) -> str:
        """Write what KUBECONFIG names, and return its path."""
        name = "fake"
        settings = {
            "clusters": [{"name": name, "cluster": {"server": f"http://127.0.0.1:{self._server.port}"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "users": [{"name": name}],
            "current-context": name,
        }
        file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **settings}), encoding="utf-8")
        return str(file)


class _Server(QuietServer):
    objects: Objects


class _Handler(QuietHandler):
    server: _Server

    def do_GET(self) -> None:
        path, query = self._asked()
        documents = {**_discovery(), **_openapi()}
        if path in documents:
            self._answer(200, documents[path])
        elif "sendInitialEvents" in query:
            self._refuse(422, "Invalid", "there are lists")
        elif "watch" in query:
            self._watch()
        elif (key := self._key()) and key[2]:
            self._read(key)
        elif key:
            items = [each for each in self.server.objects.listed(key[0], key[1]) if _is_selected(each, query)]
            version = next(version for version, kinds in KINDS.items() if key[0] in kinds)
            self._answer(200, {"apiVersion": version, "kind": f"{key[0]}List", "metadata": {}, "items": items})
        else:
            self._refuse(404, "NotFound", path)

    def do_POST(self) -> None:
        new = self._body()
        key = self._key()
        assert key
        self._keep((key[0], key[1], new["metadata"]["name"]), new)

    def do_PUT(self) -> None:
        new = self._body()
        key = self._key()
        assert key
        self._keep(key, new)

    def do_PATCH(self) -> None:
        change = self._body()
        key = self._key()
        assert key
        old = self.server.objects.objects[key]
        self._keep(key, operated(old, change) if isinstance(change, list) else merged(old, change))

    def do_DELETE(self) -> None:
        self._body()
        key = self._key()
        assert key
        self.server.objects.remove(key)
        self._answer(200, {"apiVersion": "v1", "kind": "Status", "status": "Success"})

    def _watch(self) -> None:
        """Nothing happens until the client has enough of it."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        self.connection.recv(1)

    def _keep(self, key: Key, new: Object) -> None:
        if "dryRun" in self._asked()[1]:
            self._answer(200, new)
        elif problem := self.server.objects.keep(key, new):
            self._refuse(422, "Invalid", problem)
        else:
            self._read(key)

    def _read(self, key: Key) -> None:
        if key in self.server.objects.objects:
            self._answer(200, self.server.objects.shown(key))
        else:
            self._refuse(404, "NotFound", f"{key[0]} {key[2]} not found")

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query)

    def _key(self) -> Key | None:
        """Whom a path is about; its name is empty where it is about all of a kind."""
        match = _PATH.fullmatch(self._asked()[0])
        kinds = {plural(kind): kind for kind in KINDS[match["version"]]} if match and match["version"] in KINDS else {}
        return (kinds[match["plural"]], match["namespace"] or "", match["name"] or "") if match and kinds else None

    def _body(self) -> Any:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _secret(body) if body.startswith(_BINARY) else json.loads(body or b"{}")

    def _refuse(self, status: int, reason: str, message: str) -> None:
        said = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status}
        self._answer(status, {**said, "reason": reason, "message": message})

    def _answer(self, status: int, document: Object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _discovery() -> dict[str, Object]:
    """Which kinds there are, by the paths at which kubectl asks."""
    groups = []
    found: dict[str, Object] = {"/api": {"kind": "APIVersions", "versions": ["v1"]}}
    for version, kinds in KINDS.items():
        group, _, last = version.rpartition("/")
        resources = [
            {"name": plural(kind), "kind": kind, "namespaced": kind != "Namespace", "verbs": ["get", "list", "watch"]}
            for kind in kinds
        ]
        listed = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        found[f"/apis/{version}" if group else "/api/v1"] = listed
        if group:
            known = {"groupVersion": version, "version": last}
            groups.append({"name": group, "versions": [known], "preferredVersion": known})
    return {**found, "/apis": {"kind": "APIGroupList", "groups": groups}}


def _openapi() -> dict[str, Object]:
    """Only that it is the server who checks fields, which kubectl asks before it sends anything."""
    parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    found: dict[str, Object] = {}
    for version, kinds in KINDS.items():
        group, _, last = version.rpartition("/")
        paths = {
            f"/{kind}": {
                "patch": {
                    "parameters": parameters,
                    "x-kubernetes-group-version-kind": {"group": group, "version": last, "kind": kind},
                }
            }
            for kind in kinds
        }
        found[f"/openapi/v3/{'apis' if group else 'api'}/{version}"] = {"openapi": "3.0.0", "paths": paths}
    index = {path.removeprefix("/openapi/v3/"): {"serverRelativeURL": path} for path in found}
    return {**found, "/openapi/v3": {"paths": index}}


def _is_selected(found: Object, query: dict[str, list[str]]) -> bool:
    """By its name, or by labels."""
    name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
    labels = dict(each.split("=") for each in query.get("labelSelector", [""])[0].split(",") if each)
    return name in ("", found["metadata"]["name"]) and labels.items() <= found["metadata"].get("labels", {}).items()


_BINARY: Final = b"k8s\0"


def _secret(body: bytes) -> Object:
    """What `kubectl create secret` sends, the one object that comes as protocol buffers."""
    secret = _fields(_fields(body.removeprefix(_BINARY))[2][0])
    metadata = _fields(secret[1][0])
    pairs = [_fields(pair) for pair in secret[2]]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": metadata[1][0].decode(), "namespace": metadata[3][0].decode()},
        "data": {pair[1][0].decode(): base64.b64encode(pair[2][0]).decode() for pair in pairs},
        "type": secret[3][0].decode(),
    }


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """The texts and messages of a message by their numbers; other numbers are passed over."""
    found: dict[int, list[bytes]] = {}
    numbers = iter(message)
    for first in numbers:
        length = _number(numbers)
        if first & 7 == 2:
            found.setdefault(first >> 3, []).append(bytes(next(numbers) for _ in range(length)))
    return found


def _number(numbers: Iterator[int]) -> int:
    found = shift = 0
    for byte in numbers:
        found |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return found
