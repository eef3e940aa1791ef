"""The fake unit in a container: its settings stand in a variable, because no image of ours holds them."""

import os
import runpy
import sys
from pathlib import Path

SETTINGS = Path("/tmp/settings.json")

if __name__ == "__main__":
    SETTINGS.write_text(os.environ["FAKE_SETTINGS"])
    sys.argv = [sys.argv[0], str(SETTINGS), *sys.argv[1:]]
    runpy.run_module("tests.infra.fake_unit", run_name="__main__")
