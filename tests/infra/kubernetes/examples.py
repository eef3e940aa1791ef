"""Files and what a cluster is told of them; `python -m tests.infra.kubernetes.examples` writes the golden trees."""

import shutil
from dataclasses import replace
from pathlib import Path

from builders.lock import Lock, LockedModel, model_name
from compose.images import services_of
from compose.loader import Loaded, load_spec
from compose.workloads import Cluster, ClusterImage, export_of
from infra.kubernetes.tree import tree
from infra.kubernetes.workload import Export, ImageVolume

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
_EXAMPLES = HERE.parents[2] / "examples"
EVERY = {
    **{name: HERE / name / "model-compose.yml" for name in ("shop", "pair")},
    **{path.parent.relative_to(_EXAMPLES).as_posix(): path for path in sorted(_EXAMPLES.rglob("model-compose.yml"))},
}
"""All that the repository has an example of, and two that have all that an export can hold."""
FILES = {name: EVERY[name] for name in ("quickstart", "shop")}
SECRETS = {
    "API_TOKEN": "sentinel-token",
    "DATABASE_URL": "postgresql://shop:sentinel-password@db.example.com:5433/shop",
    "READER_KEY": "sentinel-key",
}
LOCK = Lock(
    "1",
    models={
        "./model": LockedModel(None, {}, 5_412_345),
        "acme/encoder at v1": LockedModel("1" * 40, {}, 1_200_000_000, 600_000_000),
        "acme/writer": LockedModel("2" * 40, {}, 16_060_522_240),
    },
)
REGISTRY = "registry.example.com/me"


def loaded(name: str) -> Loaded:
    return load_spec((EVERY[name],), environ=SECRETS)


def lock(file: Loaded) -> Lock:
    """As if it had been built; models that are not in the lock above have a gigabyte each."""
    names = [model_name(component.model.name, component.model.revision) for component in file.spec.models]
    return Lock("1", models={name: LOCK.models.get(name, LockedModel("3" * 40, {}, 10**9)) for name in names})


def image(service: str, index: int, place: str) -> ClusterImage:
    """As if it had been pushed: each has a digest of its own, and those of tasks are there in two as well."""

    def name(what: str, half: str) -> str:
        return f"{place}/{what}@sha256:{f'{index + 1:x}{half}' * 32}"

    built = f"{place.removeprefix(f'{REGISTRY}/')}/{service.lower()}"
    whole = ClusterImage(name(f"{service.lower()}:v1", f"{index + 1:x}"), "amd64", built=built)
    if service in ("router", "page"):
        return whole
    task, weights = (
        name(f"{service.lower()}:v1-without-weights", "a"),
        name(f"weights:{f'{index + 1:x}' * 12}-amd64", "b"),
    )
    return replace(whole, volume=ImageVolume(task, weights, "/weights"))


def images(name: str) -> dict[str, ClusterImage]:
    """Of each service of one of them."""
    services = services_of(loaded(name))
    return {service: image(service, index, f"{REGISTRY}/{name}") for index, service in enumerate(services)}


def export(name: str) -> Export:
    """What a cluster with NVIDIA's GPUs is told of one of them."""
    file = loaded(name)
    project = name.rpartition("/")[2]
    return export_of(file, lock(file), images(name), Cluster(name=project, namespace=project, target="nvidia"))


def write(folder: Path, told: Export) -> None:
    """Its tree."""
    for path, text in tree(told).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for example in FILES:
        write(GOLDEN / example, export(example))
