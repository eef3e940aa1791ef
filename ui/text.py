"""Texts for places that read Markdown: ours and users' shown to the letter, a model's without anything that acts."""

import re

from ui.client import ApiError

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_CODE = re.compile(
    r"""
    ^[ \t>]*(?P<fence>`{3,}|~{3,})[^`\n]*\n .*? (?:^[ \t>]*(?P=fence)[`~]*[ \t]*$ | \Z)  # a fenced block
    | (?<![`\\])(?P<ticks>`+)(?!`) [^\n]*? (?<!`)(?P=ticks)(?!`)                          # code in a line
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_MERMAID = re.compile(r"([`~]{3,})(?=mermaid)", re.IGNORECASE)


def plain(text: str) -> str:
    """Markdown that shows `text` to the letter, on one line."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def safe_markdown(text: str) -> str:
    """Markdown of a model with its formatting, but without HTML, images and diagrams.

    The page's renderer sanitises HTML, and the page's Content-Security-Policy stops what slips through; without this,
    a picture could still be a request to the page itself, and a form could still be drawn.
    """
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_disarm(text[end : code.start()]), _MERMAID.sub(r"\1 ", code.group())]
        end = code.end()
    return "".join([*parts, _disarm(text[end:])])


def _disarm(text: str) -> str:
    return _MERMAID.sub(r"\1 ", text.replace("<", "&lt;").replace("![", "!\\["))


def sentence(error: ApiError) -> str:
    """The error and its remedy on one line."""
    return f"{error.message} {error.hint}" if error.hint else error.message
