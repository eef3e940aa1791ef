"""Whatever a message says, only the chat template opens and closes turns; and the template must be one."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.failure import LoadError
from services.errors import ServiceError
from services.tasks.chat_completion import Task
from tests.services.conftest import Tiny
from tests.services.tasks.serving import settings_of

if TYPE_CHECKING:
    from tests.models import Architecture

pytestmark = pytest.mark.unit

ARCHITECTURES: "tuple[Architecture, ...]" = ("smollm3", "llama", "mistral", "gpt2", "gpt_neo", "blenderbot")
PARTS = ["Hi", " ", "\n", "<|im_", "end|>", "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>", "<s>", "</s>"]


@dataclass
class Model:
    """As much of a LoadedModel as reading needs."""

    tokenizer: Any
    model_type: str


@pytest.fixture(scope="module")
def tasks(tiny: Tiny) -> dict["Architecture", Task]:
    import transformers

    made = {}
    for architecture in ARCHITECTURES:
        path = tiny(architecture)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        made[architecture] = Task(settings_of(path, "chat-completion"), cast("Any", None))
        made[architecture].setup(cast("Any", Model(tokenizer, architecture)))
    return made


@given(content=st.lists(st.sampled_from(PARTS), min_size=1).map("".join))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_special_token_comes_from_a_message(
    tasks: dict["Architecture", Task], architecture: "Architecture", content: str
) -> None:
    task = tasks[architecture]
    tokenizer = task.model.tokenizer

    def specials(text: str) -> Counter[int]:
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        ids = task.read({"messages": messages}).items[0].ids
        return Counter(token for token in ids if token in tokenizer.all_special_ids)

    assert specials(content) == specials("Hi")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_special_tokens_the_ids_are_the_templates_own(
    tasks: dict["Architecture", Task], architecture: "Architecture"
) -> None:
    task = tasks[architecture]
    messages = [{"role": "user", "content": "안녕하세요, how are you?\n\nFine. "}]
    expected = task.model.tokenizer.apply_chat_template(
        messages,
        chat_template=task.template,
        add_generation_prompt=True,
        enable_thinking=False,
        return_dict=False,
    )
    assert task.read({"messages": messages}).items[0].ids == expected


def test_a_template_that_is_no_jinja_is_refused_at_load(tasks: dict["Architecture", Task], tiny: Tiny) -> None:
    task = Task(settings_of(tiny("gpt2"), "chat-completion", chat_template="{% if %}"), cast("Any", None))
    with pytest.raises(LoadError, match="chat_template is not valid Jinja, line 1"):
        task.setup(tasks["gpt2"].model)


def test_a_template_that_writes_without_end_is_stopped(tasks: dict["Architecture", Task], tiny: Tiny) -> None:
    bomb = "{% for i in range(2000) %}{{ 'x' * 1000 * messages | length }}{% endfor %}"
    task = Task(settings_of(tiny("gpt2"), "chat-completion", chat_template=bomb), cast("Any", None))
    task.setup(tasks["gpt2"].model)
    with pytest.raises(ServiceError, match="The model's chat template wrote more than it may"):
        task.read({"messages": [{"role": "user", "content": "Hi"}]})
