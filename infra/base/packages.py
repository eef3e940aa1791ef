"""Fetches the packages of the base image from Debian's archive with apt, whose signatures it checks."""

import os
import subprocess
from pathlib import Path

from infra.errors import ExitCode, UserError

PACKAGES = (
    "base-files",  # says which Debian this is, to people and to scanners
    "ca-certificates",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",  # torch and most wheels with C++ in them
    "libuuid1",
    "media-types",  # what the page's files are served as
    "python3.11-minimal",
    "tzdata",  # `timezone` of delays
    "zlib1g",
)
"""Written out, because what else they depend on (debconf, and with it Perl) serves their installation only."""

_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = """\
deb [signed-by={keys}] http://deb.debian.org/debian bookworm main
deb [signed-by={keys}] http://deb.debian.org/debian-security bookworm-security main
"""
_TIMEOUT_S = 300


def fetch(folder: Path) -> list[Path]:
    """The newest version of each package, as .deb files in `folder`, sorted by name.

    It reads no source and no list of the machine's own apt, so that every machine fetches the same. Raises UserError.
    """
    debs = folder / "debs"
    for path in (debs, folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
        path.mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text(_SOURCES.format(keys=_KEYS))
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        **({"APT::Sandbox::User": "root"} if os.geteuid() == 0 else {}),
    }
    apt = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in options.items())]
    _run([*apt, "--error-on=any", "update"], debs)
    _run([*apt, "download", *PACKAGES], debs)
    return sorted(debs.glob("*.deb"))


def _run(command: list[str], folder: Path) -> None:
    hint = "a Debian machine that reaches deb.debian.org can make it; any other base image serves as well (--base)"
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S)  # noqa: S603  # ours
    except FileNotFoundError as error:
        raise UserError("this machine has no apt-get", hint=hint, exit_code=ExitCode.ENVIRONMENT) from error
    except subprocess.TimeoutExpired as error:
        message = f"apt-get could not fetch Debian's packages within {_TIMEOUT_S} s"
        raise UserError(message, hint=hint, exit_code=ExitCode.ENVIRONMENT) from error
    except subprocess.CalledProcessError as error:
        message = "apt-get could not fetch Debian's packages"
        reasons = [line.removeprefix("E: ") for line in error.stderr.decode(errors="replace").splitlines()]
        message = ": ".join([message, *reasons[:1]])
        raise UserError(message, hint=hint, exit_code=ExitCode.ENVIRONMENT) from error
