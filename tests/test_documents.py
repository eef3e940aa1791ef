"""What the documents say without running anything: their files load, their expressions give what the tables show."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.router.compiling import compile_graph
from services.router.expression import compile_tree, render
from tests.compose.loading import load, router
from tests.e2e.documents import blocks, programs

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
DOCUMENTS = [path for pattern in ("*.md", "docs/*.md", "examples/**/*.md") for path in sorted(ROOT.glob(pattern))]
COMPONENT = """
component:
  type: model
  task: chat-completion
  model: ./model
"""
ROW = re.compile(r"^\| `(.+)` \| `(.+)` \|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")

FILES = [
    pytest.param(block.text, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(blocks(path))
    if block.language == "yaml"
]


@pytest.mark.parametrize("text", FILES)
def test_every_file_in_the_documents_loads(text: str, tmp_path: Path) -> None:
    """A part of a file gets the rest from here: jobs a workflow, and whatever names no component an unnamed one."""
    if text.startswith("- "):
        text = "workflow:\n  jobs:\n" + re.sub("^", "    ", text, flags=re.MULTILINE)
    if "component" not in {line.split(":")[0].removesuffix("s") for line in text.splitlines()}:
        text += COMPONENT
    loaded = load(tmp_path, text)
    assert loaded.warnings == ()
    assert compile_graph(router(loaded)).workflows


def expressions() -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values that the page of expressions begins with, and its table rows."""
    page = ROOT / "docs" / "expressions.md"
    values = next(json.loads(block.text) for block in blocks(page) if block.language == "json")
    rows = ROW.findall(page.read_text(encoding="utf-8").replace("\\|", "|"))
    return values, [row for row in rows if "${" in row[0]]


@pytest.mark.parametrize(("written", "shown"), expressions()[1])
def test_every_expression_of_the_page_gives_what_it_shows(written: str, shown: str) -> None:
    assert render(compile_tree(written), expressions()[0]) == json.loads(shown)


TRANSLATIONS = [path for path in DOCUMENTS if path.name.endswith(".ko.md")]


@pytest.mark.parametrize("translation", TRANSLATIONS, ids=lambda path: path.parent.name)
def test_a_translation_has_the_commands_of_its_original(translation: Path) -> None:
    original = translation.with_name(translation.name.replace(".ko.md", ".md"))
    assert [block.text for block in programs(translation)] == [block.text for block in programs(original)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        linked = (document.parent / target).resolve()
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """What a heading is called in a link."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
