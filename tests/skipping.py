"""What a machine without some tool does with the tests that need it."""

import os
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Leave a test out where it cannot run; only CI insists."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
