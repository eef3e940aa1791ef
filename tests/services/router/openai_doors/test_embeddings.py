"""OpenAI's clients get vectors from components that make them, as numbers or as bytes."""

import json
from typing import Any, get_type_hints

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.embedding_create_params import EmbeddingCreateParams

from services.router.doors.openai_requests import EMBEDDINGS

pytestmark = pytest.mark.server

VECTORS = [[0.5, -1.25, 3.0], [0.0, 1e-3, -2.0]]
"""What the echo task answers to ANSWERED."""
ANSWERED = json.dumps({"result": VECTORS})


@pytest.mark.parametrize("encoding", [openai.omit, "float", "base64"])
def test_vectors_come_in_the_order_of_the_texts(client: OpenAI, encoding: Any) -> None:
    answer = client.embeddings.create(model="vectors", input=[ANSWERED, "two words"], encoding_format=encoding)
    assert (answer.object, answer.model) == ("list", "vectors")
    assert [item.index for item in answer.data] == [0, 1]
    assert set(answer.usage.model_dump()) == {"prompt_tokens", "total_tokens"}
    assert answer.usage.prompt_tokens > 2
    got: list[Any] = [item.embedding for item in answer.data]
    bytes_of_floats = ["AAAAPwAAoL8AAEBA", "AAAAAG8SgzoAAADA"]
    assert got == (bytes_of_floats if encoding == "base64" else [pytest.approx(vector) for vector in VECTORS])


async def test_the_asynchronous_client_finds_a_component_by_its_model(asynchronous: AsyncOpenAI) -> None:
    answer = await asynchronous.embeddings.create(model="owner/vectors", input=ANSWERED, user="me")
    assert answer.data[0].embedding == pytest.approx(VECTORS[0])


def test_the_parameters_of_the_file_stay_and_its_output_is_left_out(client: OpenAI) -> None:
    shown = json.dumps({"fields": True})
    answer = client.embeddings.with_raw_response.create(model="vectors", input=shown, encoding_format="float")
    fields = "".join(item["embedding"] for item in answer.http_response.json()["data"])
    assert json.loads(fields) == {"pooling": "cls", "text": [shown]}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"input": [1, 2, 3]}, "input", "token ids are not supported"),
        ({"input": [[1, 2], [3]]}, "input", "token ids are not supported"),
        ({"input": []}, "input", "must be text or a list of texts"),
        ({"dimensions": 256}, "dimensions", "is not supported"),
        ({"encoding_format": "hex"}, "encoding_format", "must be float or base64"),
        ({"model": "chat"}, "model", "does chat-completion, and this address is for text-embedding"),
        ({"extra_body": {"stream": True}}, "stream", 'Unknown parameter "stream"'),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    client: OpenAI, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as found:
        client.embeddings.create(**{"model": "vectors", "input": "hi", **changes})
    assert found.value.param == field
    assert words in found.value.message


def test_embeddings_do_not_fit_where_texts_are_written(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Use /v1/embeddings"):
        client.chat.completions.create(model="vectors", messages=[{"role": "user", "content": "hi"}])


def test_every_parameter_of_the_official_client_is_known() -> None:
    assert set(get_type_hints(EmbeddingCreateParams)) <= set(EMBEDDINGS.keys)
