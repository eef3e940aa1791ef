"""What the page knows of a workflow: the router's schema, checked once at the door."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_UNNAMED = "__workflow__"
"""What the router calls the only workflow of a file that gives it no id."""

_RESULTS = {
    ("text-classification", "json"): "label",
    ("text-embedding", "list"): "vector",
    ("text-reranking", "list"): "ranking",
}
"""What a task's whole result is, where the router's word for it says less."""


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def in_words(name: str) -> str:
    """The name as a person writes it: `system_prompt` is "System prompt"."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


class Input(_Schema):
    """One input. type: a word of the expressions (`text`, `integer`, `json`, `select`, `image`, ...)."""

    name: str
    type: str = "text"
    required: bool = False
    default: Any = None
    description: str | None = None
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What stands at its field."""
        return in_words(self.name)

    def is_called(self, name: str) -> bool:
        """Whether this is its name, with `-` or `_`, which are the same to the router."""
        return self.name.replace("-", "_") == name


class Output(_Schema):
    """One part of the output.

    name: None when the output is not a mapping. type: a word of the expressions, or `label`, `vector` or `ranking`; no
    more than the look of it, for another value may come all the same.
    """

    name: str | None = None
    type: str = "text"

    @property
    def label(self) -> str:
        """What stands above it."""
        return "Output" if self.name is None else in_words(self.name)


class Workflow(_Schema):
    """One entry of `GET /workflows?include_schema=true`."""

    id: str = Field(alias="workflow_id")
    title: str | None = None
    description: str | None = None
    task: str | None = None
    history: bool = True
    input: tuple[Input, ...] = ()
    output: tuple[Output, ...] = (Output(),)

    @field_validator("output")
    @classmethod
    def _as_the_task_means_it(cls, outputs: tuple[Output, ...], others: ValidationInfo) -> tuple[Output, ...]:
        task = str(others.data.get("task"))
        return tuple(
            output.model_copy(update={"type": _RESULTS.get((task, output.type), output.type)}) for output in outputs
        )

    @property
    def label(self) -> str:
        """What stands on its tab."""
        return self.title or ("Workflow" if self.id == _UNNAMED else self.id)

    @property
    def message(self) -> Input | None:
        """The input that a chat fills with each message; None when this workflow is no chat, or takes no history.

        The router calls required what the last user message is made of; a default makes it optional, so then the name
        that the task itself reads counts, or the last text. The system's own prompt is no message.
        """
        if self.task != "chat-completion" or not self.history:
            return None
        texts = [item for item in self.input if item.type in ("text", "string") and not item.is_called("system_prompt")]
        required = [item for item in texts if item.required]
        named = [item for item in texts if item.is_called("user_prompt")]
        return next(iter([*required, *named, *reversed(texts)]), None)
