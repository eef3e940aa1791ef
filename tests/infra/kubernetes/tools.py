"""The tools of others that judge an export: where they are, and what a machine without them does."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import jsonschema
import pydantic
import yaml
from kubernetes import client
from kubernetes_validate import utils
from referencing import Registry, Resource

from infra.kubernetes.objects import Manifest
from tests.infra.kubernetes.custom import SHAPES
from tests.skipping import skip

VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"


def kustomize(folder: Path) -> list[Manifest]:
    """The objects of a folder. Raises ValueError with what kubectl says against it, be it a warning."""
    if shutil.which("kubectl") is None:
        skip("there is no kubectl")
    made = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if made.returncode or made.stderr:
        raise ValueError(made.stderr)
    return list(yaml.safe_load_all(made.stdout))


def by_name(objects: Iterable[Manifest]) -> dict[tuple[str, str], Manifest]:
    """Objects by kind and name, which no two of them share."""
    given = list(objects)
    found = {(each["kind"], each["metadata"]["name"]): each for each in given}
    assert len(found) == len(given)
    return found


def checkov(folder: Path) -> dict[str, list[str]]:
    """What it says against the files of a folder, by their paths."""
    if not CHECKOV.exists():
        skip("there is no checkov; run: make .venv/checkov/installed")
    flags = ["--framework", "kubernetes", "--skip-download", "--quiet", "--compact", "--output", "json"]
    made = subprocess.run([CHECKOV, "--directory", folder, *flags], capture_output=True, text=True, check=False)
    failed: dict[str, list[str]] = {}
    for each in json.loads(made.stdout)["results"]["failed_checks"]:
        failed.setdefault(each["file_path"].removeprefix("/"), []).append(f"{each['check_id']} {each['resource']}")
    return failed


def schema_problems(manifest: Manifest, versions: Sequence[str] = VERSIONS) -> Iterator[str]:
    """What the strict schemas of these versions have against an object; for an add-on's, the shape known here."""
    kind = manifest["kind"]
    if kind in SHAPES:
        try:
            SHAPES[kind].model_validate(manifest)
        except pydantic.ValidationError as error:
            yield from (f"{kind}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return
    for version in versions:
        try:
            validator = _validator(kind, manifest["apiVersion"], version)
        except FileNotFoundError:
            yield f"{kind}: {manifest['apiVersion']} does not have it in {version}"
        else:
            yield from (f"{kind}: {each.json_path}: {each.message}" for each in validator.iter_errors(manifest))


def model_problems(manifest: Manifest) -> Iterator[str]:
    """What the Kubernetes client's models make of an object must be the object."""
    kind = manifest["kind"]
    if kind in SHAPES:
        return
    version = manifest["apiVersion"].rpartition("/")[2]
    model = getattr(client, f"{version.capitalize()}{kind}")
    try:
        made = client.ApiClient().sanitize_for_serialization(model.from_dict(manifest))  # type: ignore[no-untyped-call] # the package says that it is typed
    except pydantic.ValidationError as error:
        yield from (f"{kind}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    else:
        if made != manifest:
            yield f"{kind}: the client's model changes it"


@cache
def _validator(kind: str, api_version: str, version: str) -> jsonschema.Draft202012Validator:
    """As kubernetes-validate makes one, but not anew for each object."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = utils.schema_contents(f"{_folder(version)}/{kind.lower()}-{group}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry:
    return Resource.from_contents(utils.schema_contents(f"{_folder(version)}/_definitions.json", version)) @ Registry()


def _folder(version: str) -> str:
    return f"kubernetes-json-schema/v{version}.0-local-strict"
