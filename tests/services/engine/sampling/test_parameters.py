"""The action wins over the model, and the model over us."""

from typing import Any

import pytest

from services.engine.sampling.parameters import Length, Room, Sampling, resolve_length, resolve_sampling
from services.errors import ServiceError

pytestmark = pytest.mark.unit

DECODER = Room(256)
ENCODER_DECODER = Room(128, 128, encoder_decoder=True)


@pytest.mark.parametrize(
    ("fields", "model", "expected"),
    [
        pytest.param({}, {}, Sampling(True, 0.7, 0.9, 50), id="ours"),
        pytest.param({}, {"temperature": 0.6, "top_p": 0.95}, Sampling(True, 0.6, 0.95, 50), id="the model's"),
        pytest.param({"temperature": 1.5}, {"temperature": 0.6}, Sampling(True, 1.5, 0.9, 50), id="the action's"),
        pytest.param({"temperature": 0}, {}, Sampling(False), id="zero is greedy"),
        pytest.param({"temperature": 1e-9}, {}, Sampling(False), id="next to zero is greedy"),
        pytest.param({"temperature": 0, "do_sample": True}, {}, Sampling(False), id="zero is greedy, whatever else"),
        pytest.param({"do_sample": False, "temperature": 0.7}, {}, Sampling(False), id="told not to sample"),
        pytest.param({"do_sample": None, "top_k": None}, {}, Sampling(True, 0.7, 0.9, 50), id="null is not given"),
        pytest.param({}, {"do_sample": False}, Sampling(False), id="the model does not sample"),
        pytest.param({"top_p": 0.5}, {"do_sample": False}, Sampling(True, 0.7, 0.5, 50), id="a spread wants sampling"),
        pytest.param({"top_k": 0, "top_p": 1.0}, {}, Sampling(True, 0.7, 1.0, 0), id="everything is sampled from"),
        pytest.param({}, {"num_beams": 10}, Sampling(False, num_beams=10), id="beams search"),
        pytest.param(
            {"num_beams": 4, "do_sample": True}, {}, Sampling(True, 0.7, 0.9, 50, num_beams=4), id="beams sample"
        ),
        pytest.param(
            {"stop_sequences": ["END", ""]},
            {"stop_strings": "x"},
            Sampling(True, 0.7, 0.9, 50, stop=("END",)),
            id="stop",
        ),
        pytest.param({}, {"stop_strings": "x"}, Sampling(True, 0.7, 0.9, 50, stop=("x",)), id="the model's stop"),
    ],
)
def test_sampling(fields: dict[str, Any], model: dict[str, Any], expected: Sampling) -> None:
    assert resolve_sampling(fields, model) == expected


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"num_beams": 2, "do_sample": False}])
def test_several_sequences_need_sampling_or_beams(fields: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match='"num_return_sequences" is 3, but without sampling') as caught:
        resolve_sampling({"num_return_sequences": 3, **fields}, {})
    assert (caught.value.status, caught.value.field) == (422, "num_return_sequences")


@pytest.mark.parametrize(
    ("fields", "model", "prompt", "room", "expected"),
    [
        pytest.param({}, {}, 10, Room(4096), Length(1024, 0), id="ours"),
        pytest.param({}, {}, 10, DECODER, Length(246, 0), id="ours, silently within the context"),
        pytest.param({}, {}, 10, Room(None), Length(1024, 0), id="a model without limit"),
        pytest.param({}, {"max_new_tokens": 7}, 10, DECODER, Length(7, 0), id="the model's new tokens"),
        pytest.param({}, {"max_length": 40}, 10, DECODER, Length(30, 0), id="the model's whole length"),
        pytest.param({}, {"max_length": 20}, 30, DECODER, Length(226, 0), id="a default too short for the prompt"),
        pytest.param({"max_output_length": 5}, {"max_new_tokens": 7}, 10, DECODER, Length(5, 0), id="the action's"),
        pytest.param({"max_length": 12}, {}, 10, DECODER, Length(2, 0), id="prompt and continuation"),
        pytest.param({"max_length": 50, "max_output_length": 3}, {}, 10, DECODER, Length(3, 0), id="the smaller: new"),
        pytest.param(
            {"max_length": 12, "max_output_length": 9}, {}, 10, DECODER, Length(2, 0), id="the smaller: whole"
        ),
        pytest.param({"min_output_length": 4}, {}, 10, DECODER, Length(246, 4), id="at least"),
        pytest.param({"min_output_length": 2000}, {}, 10, Room(4096), Length(2000, 2000), id="at least more than ours"),
        pytest.param({"min_output_length": 2000}, {}, 10, Room(None), Length(2000, 2000), id="at least without limit"),
        pytest.param({"min_output_length": 0}, {"min_length": 20}, 10, DECODER, Length(246, 0), id="at least nothing"),
        pytest.param({}, {"min_length": 14}, 10, DECODER, Length(246, 4), id="the model's least"),
        pytest.param(
            {}, {"max_length": 60, "min_length": 20}, 90, ENCODER_DECODER, Length(59, 19), id="a decoder alone"
        ),
    ],
)
def test_length(fields: dict[str, Any], model: dict[str, Any], prompt: int, room: Room, expected: Length) -> None:
    assert resolve_length(fields, model, prompt=prompt, room=room) == expected


@pytest.mark.parametrize(("field", "value"), [("max_output_length", 32768), ("max_length", 2048)])
def test_more_than_there_is_room_is_capped_with_a_warning(field: str, value: int) -> None:
    length = resolve_length({field: value}, {}, prompt=56, room=DECODER)
    asked = value if field == "max_output_length" else value - 56
    message = f'"{field}" allows {asked} new tokens, but the model has room for 200; the answer ends there.'
    assert length == Length(200, 0, ({"code": "output_capped", "message": message, "field": field},))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "The prompt has 300 tokens and the model holds 256, so there is no room for an answer."),
        ({"max_length": 250}, "The prompt has 300 tokens and the model holds 256, so there is no room for an answer."),
    ],
)
def test_a_prompt_without_room(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        resolve_length(fields, {}, prompt=300, room=DECODER)
    assert (caught.value.status, caught.value.code, caught.value.message) == (422, "prompt_too_long", message)


def test_a_prompt_longer_than_max_length() -> None:
    with pytest.raises(ServiceError) as caught:
        resolve_length({"max_length": 20}, {}, prompt=30, room=DECODER)
    assert caught.value.message == 'The prompt has 30 tokens and "max_length" is 20, so there is no room for an answer.'


def test_at_least_more_than_at_most() -> None:
    with pytest.raises(ServiceError, match='"min_output_length" is 50, more than the 10 new tokens that are possible'):
        resolve_length({"min_output_length": 50, "max_output_length": 10}, {}, prompt=3, room=DECODER)
    with pytest.raises(
        ServiceError, match='"min_output_length" is 250, more than the 246 new tokens that are possible'
    ):
        resolve_length({"min_output_length": 250}, {}, prompt=10, room=DECODER)
