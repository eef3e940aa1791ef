"""Times an export to Kubernetes, and all that others have to say of it, for every example.

    python -m benchmarks.exporting

An export is: the loaded file into objects, the rules over all of them, and the text of the tree. Validation is what
tests/infra/kubernetes does: strict schemas of eight versions, the client's models, `kubectl kustomize` of the base and
both overlays, checkov, and the 28 checks' own part. The first row has what is read and imported once.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from infra.kubernetes.tree import LOCAL, PROD, broken, tree
from infra.kubernetes.yaml_text import yaml_text
from tests.infra.kubernetes.checks import CHECKS
from tests.infra.kubernetes.examples import EVERY, export
from tests.infra.kubernetes.test_checks import applied, write
from tests.infra.kubernetes.tools import checkov, kustomize


def seconds(action: Callable[[str], None], name: str) -> float:
    began = time.perf_counter()
    action(name)
    return time.perf_counter() - began


def generate(name: str) -> None:
    told = export(name)
    assert broken(told) == []
    tree(told)


def validate(name: str) -> None:
    parts = applied(name)
    for check in CHECKS.values():
        for part in parts:
            assert check.problems(part) == []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), name)
        for each in ("base", LOCAL, PROD):
            kustomize(Path(folder, each))
    with tempfile.TemporaryDirectory() as folder:
        text = "---\n".join(yaml_text(each) for part in parts for each in part.new)
        Path(folder, "objects.yaml").write_text(text, "utf-8")
        assert checkov(Path(folder)) == {}


def main() -> None:
    print("| example | export, s | validation, s |\n|---|---|---|")
    for name in EVERY:
        print(f"| {name} | {seconds(generate, name):.2f} | {seconds(validate, name):.1f} |", flush=True)


if __name__ == "__main__":
    main()
