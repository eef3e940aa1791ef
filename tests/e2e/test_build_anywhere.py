"""Builds that run side by side get along, and whoever builds where and when makes the same images."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.e2e.workshop import FILE, Workshop, digests

pytestmark = pytest.mark.server

NOBODY = 65534
_READING = "dac_read_search"
"""The right to read, because this Python may lie in root's own folder."""
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--inh-caps=+{_READING}", f"--ambient-caps=+{_READING}"),
    *("sh", "-c", 'umask 077; exec "$0" "$@"'),
]


def test_builds_of_one_folder_and_of_two_side_by_side_make_the_same_images(materials: Path, tmp_path: Path) -> None:
    """All share a store; the fourth has another prompt, which is in the router's image alone."""
    shops = [Workshop.make(tmp_path / name, materials, MODEL_COMPOSE_CACHE=str(tmp_path / "cache")) for name in "abc"]
    (shops[2].folder / "model-compose.yml").write_text(f"{FILE}workflow: {{title: Another}}\n", encoding="utf-8")
    builds = [shop.start() for shop in (shops[0], *shops)]
    said = [build.communicate(timeout=120)[0] for build in builds]
    assert [build.returncode for build in builds] == [0] * 4, said
    first, second, third, fourth = map(digests, said)
    assert first == second == third
    assert {name for name in first if fourth[name] != first[name]} == {"shop/router:latest", "shop/page:latest"}
    assert len(shops[0].names()) == 9
    assert shops[0].lock.read_bytes() == shops[1].lock.read_bytes()
    assert [shop.leftovers() + shop.damaged() for shop in shops] == [[], [], []]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_elsewhere_with_other_habits_makes_the_same_images_and_lock(
    materials: Path, tmp_path: Path
) -> None:
    mine = Workshop.make(tmp_path, shutil.copytree(materials, tmp_path / "materials"))
    wanted = digests(mine.build().stdout)
    with tempfile.TemporaryDirectory(prefix="a place with spaces ") as name:
        place = Path(name)
        habits = {"TZ": "Pacific/Auckland", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "7", "USER": "nobody"}
        copied = shutil.copytree(materials, place / "materials", ignore=shutil.ignore_patterns("uv"))
        theirs = Workshop.make(place, copied, **habits)
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
            os.utime(path, (10**9, 10**9))
            path.chmod(0o700 if path.is_dir() else 0o640)
        ended = theirs.run([*AS_NOBODY, *theirs.command("--no-verify")])
        assert ended.returncode == 0, ended.stderr
        assert digests(ended.stdout) == wanted
        assert theirs.lock.read_bytes() == mine.lock.read_bytes()
        assert {path.stat().st_uid for path in theirs.cache.rglob("*")} == {NOBODY}
