"""The router's schema as the page reads it."""

from typing import Any

import pytest

from ui.schema import Input, Output, Workflow

pytestmark = pytest.mark.unit


def chat(*inputs: dict[str, Any], task: str | None = "chat-completion") -> Workflow:
    return Workflow.model_validate({"workflow_id": "talk", "title": None, "task": task, "input": inputs})


def test_names_read_like_words() -> None:
    assert Input(name="system-prompt").label == "System prompt"
    assert Input(name="URL_of_page").label == "URL of page"
    assert Output(name="all_scores").label == "All scores"
    assert Output().label == "Output"
    assert chat().label == "talk"
    assert chat().model_copy(update={"id": "__workflow__"}).label == "Workflow"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([{"name": "system_prompt"}, {"name": "question", "required": True}], "question"),
        ([{"name": "user-prompt", "default": "Hi"}, {"name": "style"}], "user-prompt"),
        ([{"name": "system"}, {"name": "question", "default": "Hi"}], "question"),
        ([{"name": "system-prompt", "default": "Be brief."}, {"name": "data", "type": "json"}], None),
        ([{"name": "history", "type": "json", "required": True}], None),
        ([], None),
    ],
)
def test_a_chat_fills_the_input_of_the_last_user_message(inputs: list[dict[str, Any]], message: str | None) -> None:
    found = chat(*inputs).message
    assert (found and found.name) == message


@pytest.mark.parametrize("task", ["text-generation", None])
def test_other_workflows_are_no_chats(task: str | None) -> None:
    assert chat({"name": "user_prompt", "required": True}, task=task).message is None


def test_a_workflow_that_takes_no_history_is_no_chat() -> None:
    found = chat({"name": "user_prompt", "required": True}).model_copy(update={"history": False})
    assert found.message is None


def test_a_task_says_more_of_its_whole_result_than_the_routers_word_does() -> None:
    outputs = [{"type": "list"}, {"name": "json", "type": "json"}, {"name": "text", "type": "text"}]
    found = {
        task: [output.type for output in Workflow.model_validate(known).output]
        for task in ("text-classification", "text-embedding", "text-reranking", "text-generation", None)
        for known in [{"workflow_id": "talk", "task": task, "output": outputs}]
    }
    assert found == {
        "text-classification": ["list", "label", "text"],
        "text-embedding": ["vector", "json", "text"],
        "text-reranking": ["ranking", "json", "text"],
        "text-generation": ["list", "json", "text"],
        None: ["list", "json", "text"],
    }
