"""An explanation as lines for people."""

import json
import textwrap
from collections.abc import Callable, Iterator

from compose.explain.explanation import Explanation, Gap, Step, Wait
from compose.output import columns, in_words

_WIDTH = 100
"""Characters of a line, whatever the terminal: what is printed can be compared."""

_INDENT = " " * 5
_LABEL_WIDTH = 11

Paint = Callable[[str], str]


def lines(explanation: Explanation, heading: Paint, label: Paint) -> Iterator[str]:
    """The workflow, its inputs, its jobs in order, its output, and the expressions that can be null."""
    name = "the workflow" if explanation.workflow == "__workflow__" else f"workflow {explanation.workflow}"
    title = f": {explanation.title}" if explanation.title else ""
    words = (("default", explanation.is_default), ("private", explanation.is_private))
    kinds = ", ".join(word for word, holds in words if holds)
    yield heading(name + title) + (f" ({kinds})" if kinds else "")
    if explanation.description:
        yield from _wrapped(explanation.description, "  ")
    yield from _section("inputs", columns([_input(item) for item in explanation.inputs]), heading)
    for number, step in enumerate(explanation.steps, 1):
        yield ""
        yield from _job(number, step, heading, label)
    yield from _section("output", "\n".join(explanation.output), heading)
    yield from _section("can be null", columns([_gap(gap) for gap in explanation.gaps]), heading)


def _job(number: int, step: Step, heading: Paint, label: Paint) -> Iterator[str]:
    name = "the only job" if step.id == "__job__" else step.id
    begin, *rest = _wrapped(f"{name}: {step.does}", _INDENT)
    yield f"  {number:<3}{heading(name)}{begin.strip().removeprefix(name)}"
    yield from rest
    for word, texts in _facts(step):
        for index, text in enumerate(texts):
            begin, *rest = _wrapped(text, _INDENT + " " * _LABEL_WIDTH)
            yield _INDENT + label(f"{'' if index else word:{_LABEL_WIDTH}}") + begin.strip()
            yield from rest


def _facts(step: Step) -> Iterator[tuple[str, list[str]]]:
    """What is told of a job: a word, and a line or more."""
    if step.routed_by:
        yield "runs", [f"only when {' or '.join(step.routed_by)} leads to it"]
    elif not step.waits_for:
        yield "runs", ["at once"]
    yield "waits for", [_wait(wait) for wait in step.waits_for]
    yield "reads", [", ".join(step.reads)] if step.reads else []
    yield "leads to", [f"{way.to or 'nothing'}, {way.when}" for way in step.routes]
    yield "retry", [step.retry] if step.retry else []
    yield "on error", [step.on_error] if step.on_error else []
    yield "at most", [in_words(step.limits)] if step.limits else []
    yield "goes to", [", ".join(step.goes_to)] if step.goes_to else []


def _wait(wait: Wait) -> str:
    return f"{' or '.join(wait.jobs)} ({wait.why})"


def _input(item: dict[str, object]) -> tuple[str, ...]:
    default = item["default"] if isinstance(item["default"], str) else json.dumps(item["default"])
    need = "required" if item["required"] else "optional" if item["default"] is None else f"default {default}"
    return str(item["name"]), str(item["type"]), need, str(item["description"] or "")


def _gap(gap: Gap) -> tuple[str, ...]:
    return gap.place or "by default", gap.reads, gap.why


def _section(title: str, text: str, heading: Paint) -> Iterator[str]:
    if text:
        yield ""
        yield f"  {heading(title)}"
        yield from (_INDENT + line for line in text.splitlines())


def _wrapped(text: str, indent: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text) or [indent]
