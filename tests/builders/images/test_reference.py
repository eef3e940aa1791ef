"""Names of images are read as Docker reads them, and nothing else passes for one."""

import pytest

from builders.images.reference import Reference
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "reference", "whole", "familiar"),
    [
        (
            "python:3.11-slim",
            Reference("docker.io", "library/python", "3.11-slim"),
            "docker.io/library/python:3.11-slim",
            "python:3.11-slim",
        ),
        ("me/base", Reference("docker.io", "me/base"), "docker.io/me/base:latest", "me/base:latest"),
        (
            "docker.io/library/python",
            Reference("docker.io", "library/python"),
            "docker.io/library/python:latest",
            "python:latest",
        ),
        (
            "localhost:5000/a/b__c:V1",
            Reference("localhost:5000", "a/b__c", "V1"),
            "localhost:5000/a/b__c:V1",
            "localhost:5000/a/b__c:V1",
        ),
        ("localhost/x", Reference("localhost", "x"), "localhost/x:latest", "localhost/x:latest"),
        ("[::1]:5000/x", Reference("[::1]:5000", "x"), "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (
            f"registry.example.com/me/base@{DIGEST}",
            Reference("registry.example.com", "me/base", None, DIGEST),
            f"registry.example.com/me/base@{DIGEST}",
            f"registry.example.com/me/base@{DIGEST}",
        ),
        (
            f"registry.example.com/me/base:1@{DIGEST}",
            Reference("registry.example.com", "me/base", "1", DIGEST),
            f"registry.example.com/me/base:1@{DIGEST}",
            f"registry.example.com/me/base:1@{DIGEST}",
        ),
    ],
)
def test_a_name_says_where_an_image_is(text: str, reference: Reference, whole: str, familiar: str) -> None:
    assert Reference.parse(text) == reference
    assert (str(reference), reference.familiar) == (whole, familiar)
    assert str(Reference.parse(familiar)) == whole


def test_a_pinned_reference_has_a_digest_alone() -> None:
    assert Reference.parse("registry.example.com/me/base:1").pinned(DIGEST) == Reference(
        "registry.example.com", "me/base", None, DIGEST
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "Upper/case",
        "name:",
        "name:tag:tag",
        "name@sha256:short",
        f"name@md5:{'0' * 32}",
        "https://registry.example.com/me/base",
        "a//b",
        "/a",
        "a/",
        "../a",
        "a b",
        "a\nb",
        "name:tag\n",
        "name:.tag",
        "name:" + "t" * 129,
        "-name",
        "a..b/c",
        "user@host/name",
        "host:port/name",
        "$(id)",
        "name;rm -rf /",
        "--privileged",
        "x" * 256,
        "a/" * 100_000,
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not the name of an image") as caught:
        Reference.parse(text)
    assert caught.value.exit_code is ExitCode.USAGE
    assert len(caught.value.message) < 200


def test_a_name_in_a_file_ends_with_the_status_of_files() -> None:
    with pytest.raises(UserError) as caught:
        Reference.parse("Upper", exit_code=ExitCode.FILE)
    assert caught.value.exit_code is ExitCode.FILE
