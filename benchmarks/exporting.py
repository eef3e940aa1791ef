"""Times an export to Kubernetes, and all that others have to say of it, for every example.

    python -m benchmarks.exporting [--smoke]

An export is: the loaded file into objects, the rules over all of them, and the text of the tree. Validation is what
tests/infra/kubernetes does: strict schemas of eight versions, the client's models, `kubectl kustomize` of the base and
both overlays, checkov, and the 28 checks' own part; a tool that is not there is left out, and named below the table.
The first row has what is read and imported once.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from infra.kubernetes.tree import LOCAL, PROD, broken, tree
from infra.kubernetes.yaml_text import yaml_text
from tests.infra.kubernetes.checks import CHECKS
from tests.infra.kubernetes.examples import EVERY, export, write
from tests.infra.kubernetes.test_checks import applied
from tests.infra.kubernetes.tools import CHECKOV, checkov, kustomize

TOOLS = {"kubectl": shutil.which("kubectl") is not None, "checkov": CHECKOV.exists()}
"""Whether they are there."""


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
        write(Path(folder), export(name))
        for each in ("base", LOCAL, PROD) if TOOLS["kubectl"] else ():
            kustomize(Path(folder, each))
    with tempfile.TemporaryDirectory() as folder:
        text = "---\n".join(yaml_text(each) for part in parts for each in part.new)
        Path(folder, "objects.yaml").write_text(text, "utf-8")
        assert not TOOLS["checkov"] or checkov(Path(folder)) == {}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time an export to Kubernetes and its validation.")
    parser.add_argument("--smoke", action="store_true", help="one example, and no validation")
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    print("| example | export, s | validation, s |\n|---|---|---|")
    for name in ["quickstart"] if options.smoke else EVERY:
        exported = seconds(generate, name)
        validated = "-" if options.smoke else f"{seconds(validate, name):.1f}"
        print(f"| {name} | {exported:.2f} | {validated} |", flush=True)
    if not options.smoke:
        for tool in (tool for tool, is_there in TOOLS.items() if not is_there):
            print(f"left out: no {tool}")


if __name__ == "__main__":
    main()
