"""Packages are chosen by real uv from wheels alone, and only the files that were chosen are installed."""

from pathlib import Path

import pytest

from builders.packages.installing import install
from builders.packages.resolving import Package, Resolution, resolve_packages
from builders.packages.sources import Sources
from infra.errors import ExitCode, UserError
from tests.builders.packages.conftest import PASSWORD, ROUTER, TASK, TASK_GPU, make_wheel, sha256

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("requirements")]


def test_pinned_versions_come_with_the_hashes_of_their_wheels(
    wheels: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    resolution = resolve_packages(ROUTER, Sources(wheels=wheels), environ, tmp_path)
    assert resolution == Resolution(
        ROUTER.digest,
        (
            Package("shell", "2.0", (sha256(wheels / "shell-2.0-py3-none-any.whl"),)),
            Package("snail", "1.5", (sha256(wheels / "snail-1.5-py3-none-any.whl"),)),
        ),
    )


def test_the_users_own_configuration_of_uv_counts_and_that_of_a_project_around_the_cache_does_not(
    wheels: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    cache = tmp_path / "project" / "cache"
    cache.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("[tool.uv.pip]\nno-deps = true\n")
    own = tmp_path / "own" / "uv" / "uv.toml"
    own.parent.mkdir(parents=True)
    own.write_text(f"no-index = true\nfind-links = ['{wheels}']\n")
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "own")
    resolution = resolve_packages(ROUTER, Sources(), environ, cache)
    assert list(map(str, resolution.packages)) == ["shell==2.0", "snail==1.5"]


def test_torch_is_the_build_that_was_asked_for(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "torches"
    for version in ("2.13.0", "2.13.0+cpu"):
        make_wheel(folder, "torch", version)
    chosen = [
        resolve_packages(wanted, Sources(wheels=folder), environ, tmp_path).packages[0] for wanted in (TASK, TASK_GPU)
    ]
    assert [package.version for package in chosen] == ["2.13.0+cpu", "2.13.0"]


def test_no_other_build_of_torch_will_do(tmp_path: Path, environ: dict[str, str]) -> None:
    make_wheel(tmp_path / "torches", "torch", "2.13.0")
    with pytest.raises(UserError) as caught:
        resolve_packages(TASK, Sources(wheels=tmp_path / "torches"), environ, tmp_path)
    assert caught.value.message == (
        f"there is no torch 2.13.0+cpu for Python 3.11 on linux/amd64 in {tmp_path / 'torches'}"
    )


def test_a_package_that_is_only_source_is_named(wheels: Path, environ: dict[str, str], tmp_path: Path) -> None:
    (wheels / "shell-2.0-py3-none-any.whl").unlink()
    (wheels / "shell-2.0.tar.gz").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        resolve_packages(ROUTER, Sources(wheels=wheels), environ, tmp_path)
    assert caught.value.message.startswith("shell 2.0 has no wheel for Python 3.11 on linux/amd64")
    assert "--base" in (caught.value.hint or "")


def test_an_index_that_refuses_us_is_not_shown(guarded: str, environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        resolve_packages(ROUTER, Sources(index_url=guarded.replace(PASSWORD, "sentinel")), environ, tmp_path)
    assert caught.value.message == "the package index refuses us: its user name and password are missing or wrong"
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


LOGINS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "PIP_INDEX_URL", "pip.conf", "netrc", "NETRC")


@pytest.mark.parametrize("form", [*LOGINS, "by the name of the index"])
def test_the_login_of_a_private_index_may_stand_where_uv_or_pip_have_it(
    guarded: str, environ: dict[str, str], tmp_path: Path, form: str
) -> None:
    plain = guarded.replace(f"user:{PASSWORD}@", "")
    match form:
        case "pip.conf":
            (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {guarded}\n")
            environ["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
        case "netrc" | "NETRC":
            file = tmp_path / ("elsewhere" if form == "NETRC" else ".netrc")
            file.write_text(f"machine 127.0.0.1 login user password {PASSWORD}\n")
            environ |= {"UV_DEFAULT_INDEX": plain, **({"NETRC": str(file)} if form == "NETRC" else {})}
        case "by the name of the index":
            environ |= {
                "UV_INDEX": f"ours={plain}",
                "UV_INDEX_OURS_USERNAME": "user",
                "UV_INDEX_OURS_PASSWORD": PASSWORD,
            }
        case _:
            environ[form] = guarded
    found = resolve_packages(ROUTER, Sources(), environ, tmp_path)
    install(found, ROUTER, tmp_path / "installed", Sources(), environ)
    assert [str(package) for package in found.packages] == ["shell==2.0", "snail==1.5"]
    everything = {path: path.read_bytes() for path in (tmp_path / "installed").rglob("*") if path.is_file()}
    assert len(everything) > 2
    assert [path for path, content in everything.items() if PASSWORD.encode() in content] == []
    assert PASSWORD not in repr(found)


def test_what_has_another_hash_is_not_installed(wheels: Path, environ: dict[str, str], tmp_path: Path) -> None:
    resolution = resolve_packages(ROUTER, Sources(wheels=wheels), environ, tmp_path)
    make_wheel(wheels, "shell", "2.0", {"shell/__init__.py": "import evil\n"})
    with pytest.raises(UserError) as caught:
        install(resolution, ROUTER, tmp_path / "target", Sources(wheels=wheels), {**environ, "UV_NO_CACHE": "1"})
    assert caught.value.message == "shell==2.0 is not what its hash says: another file came under its name"
    assert not (tmp_path / "target" / "shell").exists()


@pytest.mark.parametrize(
    ("name", "version", "hashes"),
    [
        ("snail", "1.5\n--index-url https://evil.example", ("0" * 64,)),
        ("-r /etc/passwd", "1", ("0" * 64,)),
        ("snail", "1.5", ("0" * 64 + " --hash=x",)),
        ("snail @ https://evil.example/x.whl", "1", ("0" * 64,)),
        ("snail", "1.5", ()),
    ],
)
def test_what_is_no_package_does_not_become_a_requirement(name: str, version: str, hashes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"snail|passwd"):
        Package(name, version, hashes)
