"""Each file in broken/ is refused with exactly the text beside it."""

from pathlib import Path

import pytest

from compose.loader import InvalidFile, load_spec
from infra.errors import ExitCode

pytestmark = pytest.mark.unit

BROKEN = Path(__file__).parent / "broken"


@pytest.mark.parametrize("name", sorted(path.stem for path in BROKEN.glob("*.yml")))
def test_a_broken_file_is_refused_with_all_its_problems(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(InvalidFile) as caught:
        load_spec([Path(f"{name}.yml")], environ={})
    assert caught.value.message + "\n" == (BROKEN / f"{name}.txt").read_text(encoding="utf-8")
    assert caught.value.exit_code == ExitCode.FILE
