"""What a file becomes in a cluster: sizes from the lock, numbers, secrets by name, and who asks whom."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders.lock import Lock, LockedModel
from compose.loader import Loaded
from compose.workloads import Cluster, ClusterImage, export_of
from infra.errors import ExitCode, UserError
from infra.kubernetes.workload import Claim, Export, Gpu, Scaling, Share, Workload
from tests.compose.loading import load

pytestmark = pytest.mark.unit

GI = 2**30
CLUSTER = Cluster(name="shop", namespace="market", target="nvidia")
LOCK = Lock("1", models={"acme/tiny": LockedModel("1" * 40, {}, 10 * GI, 5 * GI)})
CONTROLLER = "controller: {}\n"
COMPONENT = """
component:
  id: writer
  type: model
  task: text-generation
  model: acme/tiny
"""


def image(name: str) -> ClusterImage:
    return ClusterImage(f"{name}:v1@sha256:{'a' * 64}", "amd64")


def exported(loaded: Loaded, lock: Lock | None = LOCK, cluster: Cluster = CLUSTER, *, page: bool = False) -> Export:
    names = [*(component.name for component in loaded.spec.models), "router", *(["page"] if page else [])]
    return export_of(loaded, lock, {name: image(name) for name in names}, cluster)


def only(export: Export, kind: str) -> Workload:
    (found,) = [workload for workload in export.workloads if workload.kind == kind]
    return found


def task(folder: Path, more: str = "", controller: str = CONTROLLER, cluster: Cluster = CLUSTER) -> Workload:
    return only(exported(load(folder, controller + COMPONENT + more), cluster=cluster), "task")


def test_a_task_of_a_file_that_says_nothing_more(tmp_path: Path) -> None:
    assert task(tmp_path) == Workload(
        service="writer",
        kind="task",
        name="task-writer",
        image=image("writer").reference,
        architecture="amd64",
        port=3000,
        share=Share(cpu_request=2, cpu_limit=2, memory_bytes=14 * GI),
        environment={"OMP_NUM_THREADS": "2"},
        start_timeout_s=3 * (20 + 10 * GI / 50_000_000),
        request_timeout_s=25,
    )


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ("  replicas: 3\n", {"replicas": 3}),
        ("  scaling: {min: 2, max: 5}\n", {"replicas": 2, "scaling": Scaling(2, 5, 70)}),
        ("  scaling: {min: 3, max: 3}\n", {"replicas": 3}),
        ("  scaling: {min: 0, max: 1, target: 50}\n", {"replicas": 1, "scaling": Scaling(0, 1, 50)}),
        ("  scaling: {min_replicas: 2, max_replicas: 5}\n", {"replicas": 2, "scaling": Scaling(2, 5, 70)}),
        (
            "  resources: {cpu: 2500m, memory: 20Gi}\n",
            {
                "share": Share(cpu_request=2.5, cpu_limit=2.5, memory_bytes=20 * GI),
                "environment": {"OMP_NUM_THREADS": "2"},
            },
        ),
        (
            "  resources: {cpu: 500m}\n",
            {
                "share": Share(cpu_request=0.5, cpu_limit=0.5, memory_bytes=14 * GI),
                "environment": {"OMP_NUM_THREADS": "1"},
            },
        ),
        (
            "  resources: {gpu: 'L4:2'}\n",
            {"share": Share(cpu_request=2, cpu_limit=2, memory_bytes=14 * GI, gpu=Gpu(2, "nvidia", "L4"))},
        ),
        (
            "  device: cuda:1\n",
            {"share": Share(cpu_request=2, cpu_limit=2, memory_bytes=14 * GI, gpu=Gpu(2, "nvidia"))},
        ),
        ("  precision: bfloat16\n", {}),
        ("  precision: float32\n", {"share": Share(cpu_request=2, cpu_limit=2, memory_bytes=27 * GI)}),
        (
            "  quantization: int8\n  resources: {memory: 8Gi}\n",
            {"share": Share(cpu_request=2, cpu_limit=2, memory_bytes=8 * GI)},
        ),
        (
            "  runtime: {start_timeout: 1h, stop_timeout: 65, environment: {LOG: '1'}}\n",
            {
                "start_timeout_s": 3600,
                "request_timeout_s": 60,
                "environment": {"OMP_NUM_THREADS": "2", "LOG": "1"},
            },
        ),
    ],
)
def test_what_the_file_says_of_a_task(tmp_path: Path, more: str, changed: dict[str, Any]) -> None:
    assert task(tmp_path, more) == replace(task(tmp_path), **changed)


def test_a_request_that_may_run_long_is_waited_for(tmp_path: Path) -> None:
    assert task(tmp_path, controller="controller: {run_timeout: 5m}\n").request_timeout_s == 300


def test_replicas_of_the_command_line_are_for_what_the_file_leaves_open(tmp_path: Path) -> None:
    many = replace(CLUSTER, replicas=4)
    assert task(tmp_path, cluster=many).replicas == 4
    assert task(tmp_path, "  replicas: 3\n", cluster=many).replicas == 3
    assert only(exported(load(tmp_path, CONTROLLER + COMPONENT), cluster=many), "router").replicas == 1


def test_a_task_that_may_be_alone_is_told_of(tmp_path: Path) -> None:
    notes = exported(load(tmp_path, CONTROLLER + COMPONENT + "  scaling: {max: 3}\n")).notes
    assert [note for note in notes if note.startswith("`writer` has one pod while little is asked")]


def test_amd(tmp_path: Path) -> None:
    loaded = load(tmp_path, CONTROLLER + COMPONENT + "  resources: {gpu: 1}\n")
    export = exported(loaded, cluster=replace(CLUSTER, target="amd"))
    assert only(export, "task").share.gpu == Gpu(1, "amd")
    assert [note for note in export.notes if "ROCm" in note]


@pytest.mark.parametrize(("gpu", "label"), [("'L4:1'", "cloud.google.com/gke-accelerator"), ("1", None)])
def test_nodes_may_say_elsewhere_which_gpu_they_have(tmp_path: Path, gpu: str, label: str | None) -> None:
    cluster = replace(CLUSTER, gpu_label="cloud.google.com/gke-accelerator")
    found = task(tmp_path, f"  resources: {{gpu: {gpu}}}\n", cluster=cluster).share.gpu
    assert found is not None
    assert found.label == label


@pytest.mark.parametrize(
    ("more", "requests"),
    [
        ("  scaling: {min: 1, max: 4}\n", 22),
        ("  scaling: {min: 0, max: 4, target: 50}\n  max_concurrent_count: 10\n", 5),
        ("  scaling: {min: 2, max: 4}\n  max_concurrent_count: 1\n", 1),
    ],
)
def test_gpus_are_scaled_by_requests(tmp_path: Path, more: str, requests: int) -> None:
    loaded = load(tmp_path, CONTROLLER + COMPONENT + "  resources: {gpu: 1}\n" + more)
    export = exported(loaded)
    found = only(export, "task")
    assert found.scaling is not None
    assert (found.scaling.requests, found.is_scaled_by_requests, found.is_scaled_by_processors) == (
        requests,
        True,
        False,
    )
    assert [note for note in export.notes if note.startswith("`writer` computes on GPUs")]


def test_a_gpu_in_a_cluster_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model-compose\.yml:\d+:\d+: `writer` needs a GPU") as caught:
        task(tmp_path, "  resources: {gpu: 1}\n", cluster=replace(CLUSTER, target="cpu"))
    assert caught.value.exit_code == ExitCode.FILE


def test_memory_below_what_the_weights_need_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"yml:8:\d+: 8Gi are too little for the weights of `writer`") as caught:
        task(tmp_path, "  resources: {memory: 8Gi}\n")
    assert caught.value.exit_code == ExitCode.FILE
    assert caught.value.hint == "write `memory: 14Gi`, or leave it out"


@pytest.mark.parametrize("lock", [None, Lock("1"), Lock("1", models={"acme/tiny": LockedModel("1" * 40, {})})])
def test_without_sizes_in_the_lock_it_is_to_be_built(tmp_path: Path, lock: Lock | None) -> None:
    with pytest.raises(UserError, match="does not say how large the weights of `writer` are") as caught:
        exported(load(tmp_path, CONTROLLER + COMPONENT), lock)
    assert caught.value.exit_code == ExitCode.FILE


def test_a_router_with_a_file_of_runs_is_alone(tmp_path: Path) -> None:
    export = exported(load(tmp_path, "controller: {shutdown_timeout: 90}\n" + COMPONENT))
    router = only(export, "router")
    assert (router.replicas, router.scaling) == (1, None)
    assert router.claims == (Claim("runs", "/var/lib/model-compose", 5 * GI),)
    assert (router.calls, router.reaches, router.request_timeout_s) == (("task-writer",), (), 90)
    assert (export.exposed, export.token) == (False, None)
    assert len(export.notes) == 2


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("postgresql://me:pw@db:5433/x", (5433,)),
        ("postgres://me@db/x", (5432,)),
        ("postgresql://me@one:5433,two:5434,three/x", (5432, 5433, 5434)),
        ("postgresql://me@one,two/x?port=6432", (6432,)),
        ("postgresql://me@/x?host=one,two&port=6432,6433", (6432, 6433)),
        ("postgresql://me@[fd00::1]:5433/x", (5433,)),
        ("postgresql://me@%2Fvar%2Frun/x", ()),
        ("postgresql://me@db:port/x", (5432,)),
        ("postgresql://me@db/x?no-such-option=1", (5432,)),
    ],
)
def test_routers_share_a_database(tmp_path: Path, url: str, ports: tuple[int, ...]) -> None:
    controller = (
        "controller: {database: '${env.DB_URL}', auth: {token: '${env.API_TOKEN}'}, allowed_hosts: [a.example.com]}\n"
    )
    export = exported(load(tmp_path, controller + COMPONENT, DB_URL=url, API_TOKEN="sentinel"))
    router = only(export, "router")
    assert (router.replicas, router.scaling, router.claims) == (2, Scaling(2, 6), ())
    assert router.reaches == ports
    assert router.secrets == {"API_TOKEN": "API_TOKEN", "DB_URL": "DB_URL"}
    assert (export.token, export.exposed) == ("API_TOKEN", True)
    told = f"TCP port {', '.join(map(str, ports))}, as the file"
    assert [told in note for note in export.notes] == ([True] if ports else [])


def test_a_database_may_have_its_port_from_a_variable(tmp_path: Path) -> None:
    controller = "controller: {database: '${env.DB_URL}', runtime: {environment: {PGPORT: '6000'}}}\n"
    loaded = load(tmp_path, controller + COMPONENT, DB_URL="postgresql://me@db/x")
    assert only(exported(loaded), "router").reaches == (6000,)


@pytest.mark.parametrize(
    ("controller", "waits_s", "told"),
    [
        ("{}", 30, {}),
        ("{run_timeout: 2m}", 120, {"MODEL_COMPOSE_SHUTDOWN_TIMEOUT": "120"}),
        ("{run_timeout: 20.5}", 30, {}),
        ("{run_timeout: 90.5}", 90.5, {"MODEL_COMPOSE_SHUTDOWN_TIMEOUT": "90.5"}),
        ("{run_timeout: 2m, shutdown_timeout: 150}", 150, {}),
        ("{run_timeout: 2m, shutdown_timeout: 30}", 30, {}),
    ],
)
def test_a_router_that_must_go_waits_for_its_runs(
    tmp_path: Path, controller: str, waits_s: float, told: dict[str, str]
) -> None:
    export = exported(load(tmp_path, f"controller: {controller}\n{COMPONENT}"))
    router = only(export, "router")
    assert (router.request_timeout_s, router.environment) == (waits_s, {"MODEL_COMPOSE_IN_CLUSTER": "1", **told})
    is_noted = any("waits 30 s for its runs" in note and "may take 120 s" in note for note in export.notes)
    assert is_noted == (controller == "{run_timeout: 2m, shutdown_timeout: 30}")


def test_traces_have_a_way_out(tmp_path: Path) -> None:
    controller = "controller: {runtime: {environment: {OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4999'}}}\n"
    assert only(exported(load(tmp_path, controller + COMPONENT)), "router").reaches == (4999,)


def test_a_secret_that_differs_between_services_has_a_key_for_each(tmp_path: Path) -> None:
    controller = "controller: {runtime: {environment: {A_KEY: one, B_KEY: both, LOG: x}}}\n"
    export = exported(load(tmp_path, controller + COMPONENT + "  runtime: {environment: {A_KEY: two}}\n"))
    assert only(export, "task").secrets == {"A_KEY": "task-writer.A_KEY", "B_KEY": "B_KEY"}
    assert only(export, "router").secrets == {"A_KEY": "router.A_KEY", "B_KEY": "B_KEY"}
    assert only(export, "router").environment == {"LOG": "x", "MODEL_COMPOSE_IN_CLUSTER": "1"}


def test_the_page_is_one_and_asks_the_router(tmp_path: Path) -> None:
    export = exported(load(tmp_path, "controller: {webui: {}}\n" + COMPONENT), page=True)
    page = only(export, "page")
    assert (page.replicas, page.scaling, page.calls) == (1, None, ("router",))
    assert [workload.kind for workload in export.workloads] == ["task", "router", "page"]


def test_it_is_reached_by_the_names_that_the_file_allows(tmp_path: Path) -> None:
    controller = "controller: {allowed_hosts: [Shop.Example.com, box, 10.1.2.3, 'shop.example.com:8080']}\n"
    assert exported(load(tmp_path, controller + COMPONENT)).hosts == ("shop.example.com",)


@pytest.mark.parametrize(
    ("controller", "exposed"),
    [
        ("{auth: {token: '${env.T}'}}", False),
        ("{auth: {token: '${env.T}'}, allowed_hosts: [10.1.2.3]}", False),
        ("{auth: {token: '${env.T}'}, allowed_hosts: [shop.example.com]}", True),
        ("{auth: {token: '${env.T}'}, adapter: {type: http-server, host: 0.0.0.0}}", True),
        ("{auth: {token: '${env.T}'}, adapter: {type: http-server, host: 0.0.0.0}, webui: {}}", False),
        ("{auth: {token: '${env.T}'}, adapter: {type: http-server, host: 0.0.0.0}, webui: {host: 0.0.0.0}}", True),
        ("{auth: {insecure: true}}", False),
        ("{auth: {insecure: true}, allowed_hosts: [shop.example.com]}", True),
        ("{allowed_hosts: [shop.example.com]}", False),
    ],
)
def test_there_is_no_door_where_nobody_would_be_answered(tmp_path: Path, controller: str, exposed: bool) -> None:
    export = exported(load(tmp_path, f"controller: {controller}\n{COMPONENT}", T="t" * 20), page="webui" in controller)
    assert export.exposed == exposed
    assert exposed != any("no way in" in note for note in export.notes)


def test_a_page_that_is_left_out_closes_no_door(tmp_path: Path) -> None:
    controller = "{auth: {insecure: true}, adapter: {type: http-server, host: 0.0.0.0}, webui: {}}"
    loaded = load(tmp_path, f"controller: {controller}\n{COMPONENT}")
    assert [exported(loaded, page=page).exposed for page in (True, False)] == [False, True]


def test_more_names_than_a_gateway_takes_are_refused(tmp_path: Path) -> None:
    names = ", ".join(f"{number}.example.com" for number in range(65))
    loaded = load(tmp_path, f"controller: {{allowed_hosts: [{names}]}}\n{COMPONENT}")
    with pytest.raises(UserError, match=r"yml:1:\d+: a Gateway has 64 names at most, and these are 65") as caught:
        exported(loaded)
    assert caught.value.exit_code == ExitCode.FILE
