"""Texts for Markdown places: plain ones shown to the letter, a model's without what could act."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.client import ApiError
from ui.text import plain, safe_markdown, sentence

pytestmark = pytest.mark.unit


def test_plain_escapes_every_sign_of_markdown() -> None:
    assert plain("1. <b>*x*</b>\n  [y](z) `up`") == r"1\. \<b\>\*x\*\<\/b\> \[y\]\(z\) \`up\`"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** & [link](https://example.com)", "**bold** & [link](https://example.com)"),
        ("a < b <img src=x>", "a &lt; b &lt;img src=x>"),
        ("![alt](x) ![a][b]", "!\\[alt](x) !\\[a][b]"),
        ("use `#include <stdio.h>` here <b>", "use `#include <stdio.h>` here &lt;b>"),
        ("``a ` <b>`` <i>", "``a ` <b>`` &lt;i>"),
        ("```c\n#include <stdio.h>\n```\n<b>", "```c\n#include <stdio.h>\n```\n&lt;b>"),
        ("  ~~~\n<b>\n  ~~~\n<i>", "  ~~~\n<b>\n  ~~~\n&lt;i>"),
        ("```\n<b> still code", "```\n<b> still code"),
        ("\\`<b>\\`", "\\`&lt;b>\\`"),
        ("one ` alone <b>", "one ` alone &lt;b>"),
        ("```mermaid\ngraph TD;\n```", "``` mermaid\ngraph TD;\n```"),
    ],
)
def test_safe_markdown_leaves_formatting_and_code(text: str, expected: str) -> None:
    assert safe_markdown(text) == expected


@given(st.text(alphabet="a<b>![]()\\`~\n >m", max_size=60))
def test_outside_of_code_nothing_opens_a_tag_or_a_picture(text: str) -> None:
    shown = safe_markdown(text)
    if "`" not in text and "~~~" not in text:
        assert "<" not in shown
        assert "![" not in shown
    assert shown.replace("&lt;", "<").replace("!\\[", "![") == text.replace("!\\[", "![")


def test_a_sentence_holds_the_remedy() -> None:
    assert sentence(ApiError(422, "x", "It is too long.", "Shorten it.")) == "It is too long. Shorten it."
    assert sentence(ApiError(500, "x", "It broke.")) == "It broke."
