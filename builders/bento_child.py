"""Runs BentoML's own build in a process of its own: a second build in one would return the first one's service.

`python -I bento_child.py FOLDER`, the options as JSON on standard input.
"""

import json
import sys


def main() -> None:
    """Build the staged folder and print where the Bento is, as the last line."""
    sys.dont_write_bytecode = True
    options = json.load(sys.stdin)
    from bentoml import bentos

    bento = bentos.build(
        "service.py:service",
        name=options["name"],
        version=options["version"],
        build_ctx=sys.argv[1],
        include=options["include"],
        python={"packages": options["packages"], "lock_packages": False},
        docker={"python_version": options["python_version"]},
    )
    print(bento.path)  # noqa: T201 - what the parent reads


if __name__ == "__main__":
    main()
