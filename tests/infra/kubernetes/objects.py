"""An export in few words, for tests of a single object."""

from typing import Any

from infra.kubernetes.workload import Export, Kind, Share, Workload

SHARE = Share(cpu_request=1.5, cpu_limit=2, memory_bytes=2**30)
PORTS: dict[Kind, int] = {"task": 3000, "router": 8080, "page": 8081}


def workload(name: str = "task-chat", kind: Kind = "task", **rest: Any) -> Workload:
    given = {"service": name.removeprefix("task-"), "share": SHARE, **rest}
    image = f"me/{name}:v1@sha256:{'a' * 64}"
    return Workload(kind=kind, name=name, image=image, architecture="arm64", port=PORTS[kind], **given)


def export(*workloads: Workload, **rest: Any) -> Export:
    return Export(**{"name": "shop", "namespace": "market", "workloads": workloads, **rest})


TASK = workload()
ROUTER = workload("router", "router", calls=("task-chat",), reaches=(5432,), secrets={"TOKEN": "TOKEN"})
PAGE = workload("page", "page", calls=("router",))
SHOP = export(TASK, ROUTER, PAGE, token="TOKEN", hosts=("shop.example.com",))


def selected(name: str, kind: Kind) -> dict[str, Any]:
    """How a workload of the shop is picked."""
    return {
        "matchLabels": {
            "app.kubernetes.io/name": name,
            "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/component": kind,
        }
    }
