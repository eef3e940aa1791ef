"""chat-completion: the assistant's next message."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.engine.failure import MODEL_UNFIT, LoadError
from services.errors import ServiceError
from services.tasks.base import GenerationTask, Input, Inputs
from services.tasks.fields import missing

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

_log = logging.getLogger(__name__)

Messages = list[dict[str, str]]

END_OF_TEXT_TEMPLATE = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
"""How DialoGPT was trained: each turn ends with the end-of-text token."""

TWO_SPACES_TEMPLATE = "{{ messages | map(attribute='content') | join('  ') }}{{ eos_token }}"
"""How Blenderbot was trained."""

ROLES_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
"""For a model that never learned to chat; its answer ends where it begins to play the next role."""

ROLES_STOP = ("\nsystem:", "\nuser:", "\nassistant:")

_LARGEST_GROWTH = 1_000_000
"""Characters that a template may add to the messages; a repository's template is a stranger's program."""


class Task(GenerationTask):
    """Writes the messages with the model's chat template and has the model go on.

    Special tokens inside a message are encoded as the text they are written as: `sanitize_control_tokens` marks them
    before the template runs, so only the template itself can open or close a turn.
    """

    def setup(self, model: "LoadedModel") -> None:
        super().setup(model)
        self.template, self._stop = self._choose_template(model)
        self._try_template()

    def read(self, fields: Mapping[str, Any]) -> Inputs:
        messages: Messages | None = fields.get("messages")
        if not messages:
            raise missing("chat-completion", "messages")
        ids = self._encode(messages, reasoning=bool(fields.get("reasoning")))
        return Inputs([Input(ids)], many=False, field="messages", stop=self._stop)

    def _choose_template(self, model: "LoadedModel") -> tuple[str, tuple[str, ...]]:
        """A Jinja template, and texts that end the answer."""
        if self.settings.chat_template is not None:
            return self.settings.chat_template, ()
        try:
            return model.tokenizer.get_chat_template(), ()
        except ValueError:  # none, or several without a default
            template, stop, how = _template_of(model)
        _log.warning("%s has no chat template: %s", self.settings.model, how)
        return template, stop

    def _try_template(self) -> None:
        import jinja2

        try:
            self._render([{"role": "user", "content": "Hello"}], reasoning=False, tokenize=False)
        except jinja2.TemplateSyntaxError as error:
            whose = "chat_template" if self.settings.chat_template is not None else f"{self.settings.model}'s template"
            raise LoadError(f"{whose} is not valid Jinja, line {error.lineno}", MODEL_UNFIT) from None
        except jinja2.TemplateError:
            _log.warning("the chat template of %s does not accept a lone user message", self.settings.model)

    def _encode(self, messages: Messages, *, reasoning: bool) -> list[int]:
        import jinja2

        try:
            text: str = self._render(messages, reasoning=reasoning, tokenize=False)
            if len(text) <= _LARGEST_GROWTH + sum(len(message["content"]) for message in messages):
                ids: list[int] = self._render(
                    messages, reasoning=reasoning, tokenize=True, return_dict=False, sanitize_control_tokens=True
                )
                return ids
        except (jinja2.TemplateError, TypeError, ValueError):  # what templates raise, and text that is no Unicode
            roles = ", ".join(message["role"] for message in messages)
            raise ServiceError(
                422,
                "messages_refused",
                f"The model's chat template does not accept these messages ({roles}).",
                hint="Many models want user and assistant in turns, after one system message at most.",
                field="messages",
            ) from None
        raise ServiceError(500, "template_too_long", "The model's chat template wrote more than it may.")

    def _render(self, messages: Messages, *, reasoning: bool, **how: Any) -> Any:
        return self.model.tokenizer.apply_chat_template(
            messages, chat_template=self.template, add_generation_prompt=True, enable_thinking=reasoning, **how
        )


def _template_of(model: "LoadedModel") -> tuple[str, tuple[str, ...], str]:
    """Template, stop texts and a description, for a model that brings no template."""
    match model.model_type:
        case "gpt2":
            return END_OF_TEXT_TEMPLATE, (), "each message is followed by the end-of-text token"
        case "blenderbot" | "blenderbot-small":
            return TWO_SPACES_TEMPLATE, (), "messages are joined by two spaces"
        case _:
            template = ROLES_TEMPLATE
            ids, tokenizer = model.tokenizer.encode("a"), model.tokenizer
            if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id:
                template = "{{ bos_token }}" + template
            if tokenizer.eos_token_id is not None and ids[-1] == tokenizer.eos_token_id:
                template += "{{ eos_token }}"
            return template, ROLES_STOP, "messages are written as lines that begin with the role"
