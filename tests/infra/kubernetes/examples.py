"""Two files and what a cluster is told of them; `python -m tests.infra.kubernetes.examples` writes the golden trees."""

import shutil
from pathlib import Path

from builders.lock import Lock, LockedModel
from compose.images import services_of
from compose.loader import Loaded, load_spec
from compose.workloads import Cluster, ClusterImage, export_of
from infra.kubernetes.tree import tree
from infra.kubernetes.workload import Export

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
FILES = {
    "quickstart": HERE.parents[2] / "examples" / "quickstart" / "model-compose.yml",
    "shop": HERE / "shop" / "model-compose.yml",
}
SECRETS = {
    "API_TOKEN": "sentinel-token",
    "DATABASE_URL": "postgresql://shop:sentinel-password@db.example.com:5433/shop",
    "READER_KEY": "sentinel-key",
}
LOCK = Lock(
    "1",
    models={
        "./model": LockedModel(None, {}, 5_412_345),
        "acme/encoder at v1": LockedModel("1" * 40, {}, 1_200_000_000),
        "acme/writer": LockedModel("2" * 40, {}, 16_060_522_240),
    },
)
REGISTRY = "registry.example.com/me"


def loaded(name: str) -> Loaded:
    return load_spec((FILES[name],), environ=SECRETS)


def image(service: str, index: int, place: str) -> ClusterImage:
    """As if it had been pushed: each has a digest of its own."""
    return ClusterImage(f"{place}/{service.lower()}:v1@sha256:{f'{index + 1:x}' * 64}", "amd64")


def export(name: str) -> Export:
    """What a cluster with NVIDIA's GPUs is told of one of them."""
    file = loaded(name)
    images = {service: image(service, index, f"{REGISTRY}/{name}") for index, service in enumerate(services_of(file))}
    return export_of(file, LOCK, images, Cluster(name=name, namespace=name, target="nvidia"))


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for example in FILES:
        for path, text in tree(export(example)).items():
            (GOLDEN / example / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / example / path).write_text(text, encoding="utf-8")
