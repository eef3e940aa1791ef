"""Each file in broken/ is refused with exactly the text beside it, and expected.tsv says how good the texts are.

expected.tsv holds a row for each mistake that a person would name: the line to change, and what was meant, or `-`
where nobody can know. Its rows are reviewed one by one, against the files and not against the texts.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from compose.loader import InvalidFile, load_spec
from compose.reading.problems import Problem
from infra.errors import ExitCode

pytestmark = pytest.mark.unit

BROKEN = Path(__file__).parent / "broken"
NAMES = sorted(path.stem for path in BROKEN.glob("*.yml"))


class Mistake(NamedTuple):
    file: str
    line: int
    suggestion: str


def mistakes() -> list[Mistake]:
    with (BROKEN / "expected.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Mistake(row["file"], int(row["line"]), row["suggestion"]) for row in rows]


def problems(name: str) -> list[Problem]:
    with pytest.raises(InvalidFile) as caught:
        load_spec([BROKEN / f"{name}.yml"], environ={})
    return list(dict.fromkeys(caught.value.problems))


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_refused_with_all_its_problems(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(InvalidFile) as caught:
        load_spec([Path(f"{name}.yml")], environ={})
    assert caught.value.message + "\n" == (BROKEN / f"{name}.txt").read_text(encoding="utf-8")
    assert caught.value.exit_code == ExitCode.FILE


def test_every_mistake_is_named_on_its_line_and_nothing_else_is() -> None:
    expected = Counter((mistake.file, mistake.line) for mistake in mistakes())
    found = Counter((name, problem.mark.line) for name in NAMES for problem in problems(name))
    assert {mistake.file for mistake in mistakes()} == set(NAMES)
    assert found == expected


def test_nine_of_ten_suggestions_are_what_was_meant() -> None:
    wanted = [mistake for mistake in mistakes() if mistake.suggestion != "-"]
    wrong = [mistake for mistake in wanted if not is_suggested(mistake)]
    assert len(wanted) >= 50
    assert len(wrong) <= len(wanted) / 10, wrong


def is_suggested(mistake: Mistake) -> bool:
    """Whether a problem on the line names what was meant as something to write."""
    texts = (
        f"{problem.message} {problem.hint or ''}"
        for problem in problems(mistake.file)
        if problem.mark.line == mistake.line
    )
    return any(f"`{mistake.suggestion}`" in text for text in texts)
