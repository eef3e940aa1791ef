"""A run's output as it comes, and what of it stands in which part of the page."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ui.client import Chunk, Finished, StreamEvent
from ui.schema import Output
from ui.text import plain, safe_markdown

_JSON = ("json", "object", "list")
_STEP = re.compile(r'\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')

_MOST_LABELS = 10
"""Of a classifier with hundreds of labels only the likeliest are worth a bar."""

Path = tuple[str | int, ...]
"""Where in an output a text stands: `answers[0].text` is ("answers", 0, "text")."""


class Answer:
    """Takes the events of one stream; `changed` counts them."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.changed = 0
        self.finished: Finished | None = None
        self._outputs = outputs
        self._parts: dict[Path, list[str]] = {}

    def take(self, event: StreamEvent) -> None:
        """Add a chunk, or replace everything by the finished output."""
        self.changed += 1
        match event:
            case Chunk(text, path):
                self._parts.setdefault(_read_path(path or ""), []).append(text)
            case Finished():
                self.finished = event

    def values(self) -> list[Any]:
        """The value of each output, in the schema's order; texts only, while the run goes on."""
        return [self._value(output) for output in self._outputs]

    def text(self) -> str:
        """The first text among the outputs, as a chat says it."""
        shown = next((output for output in self._outputs if output.type not in _JSON), self._outputs[0])
        return as_text(self._value(shown))

    def _value(self, output: Output) -> Any:
        if self.finished is not None:
            whole = self.finished.output
            return whole.get(output.name) if output.name is not None and isinstance(whole, dict) else whole
        place = () if output.name is None else (output.name,)
        texts = {path[len(place) :]: parts for path, parts in self._parts.items() if path[: len(place)] == place}
        return _assembled(texts)


def _read_path(path: str) -> Path:
    steps = [(found["name"], found["index"], found["quoted"]) for found in _STEP.finditer(path)]
    return tuple(int(index) if index else json.loads(quoted) if quoted else name for name, index, quoted in steps)


def _assembled(texts: Mapping[Path, Sequence[str]]) -> Any:
    """The lists and maps in which these texts stand, as far as they have come; None where there are none."""
    if not texts or () in texts:
        return "".join(texts[()]) if texts else None
    parts: dict[str | int, dict[Path, Sequence[str]]] = {}
    for (step, *rest), text in texts.items():
        parts.setdefault(step, {})[tuple(rest)] = text
    if indexes := [step for step in parts if isinstance(step, int)]:
        return [_assembled(parts[index]) for index in sorted(indexes)]
    return {str(name): _assembled(part) for name, part in parts.items()}


def make_output(output: Output, *, alone: bool = True) -> gr.components.Component:
    """The component that shows one output. Call it where the component is to stand.

    alone: whether it is the only one; several are shown smaller, and grow with what they hold.
    """
    label = output.label
    if output.type == "markdown":
        gr.Markdown(plain(label), elem_classes=["output-label"])  # this component has no label of its own
        return gr.Markdown(
            container=True,
            sanitize_html=True,
            latex_delimiters=[],
            buttons=["copy"],
            min_height=200 if alone else 100,
            elem_classes=["output"],
        )
    if output.type in _JSON:
        return gr.JSON(label=label, elem_classes=["output"])
    if output.type == "label":
        return gr.Label(label=label, num_top_classes=_MOST_LABELS, elem_classes=["output"])
    if output.type == "ranking":
        return gr.Dataframe(label=label, headers=["Score"], interactive=False, wrap=True, elem_classes=["output"])
    lines = 1 if output.type in ("number", "integer", "boolean") else 10 if alone else 4
    most = 8 if output.type == "vector" else 30  # nobody reads hundreds of numbers
    return gr.Textbox(
        label=label,
        lines=min(lines, most),
        max_lines=most,
        interactive=False,
        buttons=["copy"],
        elem_classes=["output"],
    )


def show(output: Output, value: Any) -> Any:
    """The value as the component of `make_output` takes it."""
    if output.type in _JSON:
        return None if value is None else json.dumps(value, ensure_ascii=False)
    match output.type:
        case "markdown":
            return safe_markdown(as_text(value))
        case "label":
            return _label(value)
        case "ranking":
            return _table(value)
        case "vector":
            return "" if value is None else json.dumps(value)
        case _:
            return as_text(value)


def _label(value: Any) -> Any:
    """With how sure it is; classes that the model did not choose have only their numbers here."""
    match value:
        case None:
            return None
        case {"label": str(label), "label_id": int(chosen), "score": int() | float() as score, **more}:
            shares: Any = more.get("probabilities") or []
            others = {f"label_id {number}": share for number, share in enumerate(shares) if number != chosen}
            return {**others, label: score}
        case _:
            return as_text(value)


def _table(value: Any) -> Any:
    """A row a document, the best first; the place counts from 0, as in the answer."""
    match value:
        case None:
            return None
        case [*items] if all(_is_ranked(item) for item in items):
            documents = any("document" in item for item in items)
            rows = [[item["index"], f"{item['score']:.4g}", as_text(item.get("document"))] for item in items]
            width = 3 if documents else 2
            return {"headers": ["#", "Score", "Document"][:width], "data": [row[:width] for row in rows]}
        case _:
            return {"headers": ["Value"], "data": [[as_text(value)]]}


def _is_ranked(item: Any) -> bool:
    match item:
        case {"index": int(), "score": int() | float()}:
            return True
    return False


def as_text(value: Any) -> str:
    """Texts as they are, several one below the other, anything else as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case [*items] if items and all(isinstance(item, str) for item in items):
            return "\n\n".join(items)
        case _:
            return json.dumps(value, ensure_ascii=False, indent=2)


def summary(finished: Finished, elapsed_s: float) -> str:
    """What a finished run cost, on one line."""
    tokens = finished.usage.get("completion_tokens")
    return f"Done in {elapsed_s:.1f} s" + (f", {tokens} tokens." if tokens else ".")
