"""The bill of materials is CycloneDX, whole, and the same for the same image."""

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builders.lock import LockedModel
from builders.packages.resolving import Package, Resolution
from builders.sbom import Contents, bill_of_materials

pytestmark = pytest.mark.unit

CLICK, TORCH = Package("click", "8.5.1", ("1" * 64, "2" * 64)), Package("torch", "2.13.0+cpu", ("3" * 64,))
CONTENTS = Contents(
    name="quickstart/task-chat",
    version="latest",
    tool="0.1.0",
    base=("python:3.11-slim", f"sha256:{'a' * 64}"),
    packages=Resolution("wanted", (CLICK, TORCH)),
    models={"tiny/one": LockedModel("c" * 40, {"config.json": "e" * 64}), "./local": LockedModel(None, {})},
)


def test_it_lists_packages_models_base_and_ourselves() -> None:
    bill = json.loads(bill_of_materials(CONTENTS))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    image = {"bom-ref": "image", "name": "quickstart/task-chat", "type": "container", "version": "latest"}
    assert bill["metadata"] == {"component": image, "timestamp": "1970-01-01T00:00:00+00:00"}
    assert sorted(bill["components"], key=lambda component: str(component["bom-ref"])) == [
        {"bom-ref": "base", "name": "python:3.11-slim", "type": "container", "version": f"sha256:{'a' * 64}"},
        {"bom-ref": "model ./local", "name": "./local", "type": "machine-learning-model"},
        {
            "bom-ref": "model tiny/one",
            "name": "tiny/one",
            "type": "machine-learning-model",
            "version": "c" * 40,
            "purl": f"pkg:huggingface/tiny/one@{'c' * 40}",
            "components": [
                {
                    "bom-ref": "model tiny/one config.json",
                    "name": "config.json",
                    "type": "file",
                    "hashes": [{"alg": "SHA-256", "content": "e" * 64}],
                }
            ],
        },
        {"bom-ref": "model-compose", "name": "model-compose", "type": "application", "version": "0.1.0"},
        {
            "bom-ref": "pkg:pypi/click@8.5.1",
            "name": "click",
            "type": "library",
            "version": "8.5.1",
            "purl": "pkg:pypi/click@8.5.1",
        },
        {
            "bom-ref": "pkg:pypi/torch@2.13.0%2Bcpu",
            "name": "torch",
            "type": "library",
            "version": "2.13.0+cpu",
            "purl": "pkg:pypi/torch@2.13.0%2Bcpu",
            "hashes": [{"alg": "SHA-256", "content": "3" * 64}],
        },
    ]


def test_it_is_what_the_standard_says() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill_of_materials(CONTENTS).decode()) is None


def test_equal_contents_give_equal_bytes_and_others_another_number() -> None:
    turned = replace(CONTENTS, models=dict(sorted(CONTENTS.models.items())))
    assert bill_of_materials(turned) == bill_of_materials(CONTENTS)
    others = [replace(CONTENTS, version="2"), replace(CONTENTS, models={}), CONTENTS]
    assert len({json.loads(bill_of_materials(contents))["serialNumber"] for contents in others}) == len(others)


def test_its_time_is_the_one_that_is_given() -> None:
    assert json.loads(bill_of_materials(CONTENTS, 86_400))["metadata"]["timestamp"] == "1970-01-02T00:00:00+00:00"
