from pathlib import Path

import pytest

from compose.commands.folder_export import LIST, write_folder
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != LIST
    }


def test_what_was_generated_is_replaced_and_what_is_others_stays(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "k8s"
    write_folder(folder, {"base/a.yaml": "1", "base/old/b.yaml": "1"})
    mine = folder / "overlays" / "mine" / "kustomization.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    write_folder(folder, {"base/a.yaml": "2", "c.yaml": "2"})
    assert contents(folder) == {"base/a.yaml": "2", "c.yaml": "2", "overlays/mine/kustomization.yaml": "mine"}
    assert not (folder / "base" / "old").exists()


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", {"a.yaml": "1"})
    before = (tmp_path / "out" / "a.yaml").stat()
    write_folder(tmp_path / "out", {"a.yaml": "1"})
    assert (tmp_path / "out" / "a.yaml").stat().st_ino == before.st_ino


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that no export wrote") as caught:
        write_folder(tmp_path, {"a.yaml": "1"})
    assert caught.value.exit_code == ExitCode.USAGE
    assert contents(tmp_path) == {"notes.txt": "mine"}


@pytest.mark.parametrize("place", ["notes.txt", "notes.txt/k8s"])
def test_a_file_is_no_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not a folder") as caught:
        write_folder(tmp_path / place, {"a.yaml": "1"})
    assert caught.value.exit_code == ExitCode.USAGE
    assert contents(tmp_path) == {"notes.txt": "mine"}


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.yaml": "1"})
    (tmp_path / "b.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"b\.yaml is there already"):
        write_folder(tmp_path, {"a.yaml": "2", "b.yaml": "2"})
    assert contents(tmp_path) == {"a.yaml": "1", "b.yaml": "mine"}


def test_a_list_that_names_other_places_reaches_nothing_there(tmp_path: Path) -> None:
    folder, outside = tmp_path / "out", tmp_path / "outside.yaml"
    write_folder(folder, {"a.yaml": "1"})
    outside.write_text("mine")
    (folder / LIST).write_text(f"a.yaml\n../outside.yaml\n{outside}\n")
    write_folder(folder, {"b.yaml": "1"})
    assert contents(folder) == {"b.yaml": "1"}
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    ("old", "new"), [({}, {"base/deep/a.yaml": "2"}), ({"base/a.yaml": "1"}, {"b.yaml": "2"})], ids=["write", "remove"]
)
@pytest.mark.parametrize("link", ["base", "base/deep"])
def test_a_link_in_place_of_a_folder_is_not_followed(
    tmp_path: Path, old: dict[str, str], new: dict[str, str], link: str
) -> None:
    folder, outside = tmp_path / "out", tmp_path / "outside"
    files = {path.replace("base/", f"{link}/"): text for path, text in old.items()}
    write_folder(folder, {"b.yaml": "1", **files})
    outside.mkdir()
    for path, text in files.items():
        (folder / path).unlink()
        (folder / path).parent.rmdir()
        (outside / Path(path).name).write_text(text)
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(outside)
    before = contents(outside)
    with pytest.raises(UserError, match=f"{link} is a link") as caught:
        write_folder(folder, new)
    assert caught.value.exit_code == ExitCode.USAGE
    assert contents(outside) == before


def test_a_link_in_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    folder, outside = tmp_path / "out", tmp_path / "outside.yaml"
    write_folder(folder, {"a.yaml": "1"})
    outside.write_text("mine")
    (folder / "a.yaml").unlink()
    (folder / "a.yaml").symlink_to(outside)
    write_folder(folder, {"a.yaml": "2"})
    assert (outside.read_text(), contents(folder)) == ("mine", {"a.yaml": "2"})
    assert not (folder / "a.yaml").is_symlink()


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "out", {"base/a.yaml": "1"})
    assert contents(tmp_path / "real") == {"base/a.yaml": "1"}


def test_a_write_that_was_interrupted_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, {"a.yaml": "1", "b.yaml": "1"})
    replaced = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).name == "d.yaml":
            raise OSError(28, "full")
        return replaced(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(UserError, match="cannot be written: no space left"):
            write_folder(tmp_path, {"a.yaml": "2", "c.yaml": "2", "d.yaml": "2"})
    assert contents(tmp_path) == {"a.yaml": "2", "b.yaml": "1", "c.yaml": "2"}
    write_folder(tmp_path, {"a.yaml": "2", "c.yaml": "2", "d.yaml": "2"})
    assert contents(tmp_path) == {"a.yaml": "2", "c.yaml": "2", "d.yaml": "2"}
