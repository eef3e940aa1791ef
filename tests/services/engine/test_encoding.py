"""What a batch is made of, what becomes of each request in it, and that company changes no number."""

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.engine.base import Encoded, EncoderInput, EncodingRequest, Host, Job, Pooling
from services.engine.encoding import EncoderRunner
from services.engine.loading.checkpoint import read_checkpoint
from services.engine.loading.encoders import LoadedEncoder, load_classifier, load_embedder
from services.errors import ServiceError
from tests.encoders import ENCODERS, POSITIONS, Encoder, make_encoder, make_sentence_layout
from tests.services.tasks.serving import settings_of

pytestmark = pytest.mark.unit

BAD = 7
"""A token that makes the network under test fail."""
ENDLESS = 8
"""A token that makes its numbers infinite."""


class Network(torch.nn.Module):
    """Its vector of a token is the token; it writes down every batch. on_layer: called in the midst of one."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Identity()])
        self.batches: list[list[list[int]]] = []
        self.on_layer: Callable[[], None] = lambda: None
        self.error: Exception = RuntimeError("index out of range")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        lengths = attention_mask.sum(dim=1).tolist()
        self.batches.append([ids[:length] for ids, length in zip(input_ids.tolist(), lengths, strict=True)])
        self.on_layer()
        hidden = self.layers[0](input_ids.float()[:, :, None])
        if (input_ids == BAD).any():
            raise self.error
        return type("Output", (), {"last_hidden_state": hidden.masked_fill(hidden == ENDLESS, float("inf"))})


class Rig:
    """A runner, and what it told of each job."""

    def __init__(self, network: Any = None, **options: Any) -> None:
        self.network = network or Network()
        self.told: dict[Job[EncodingRequest], Encoded | ServiceError] = {}
        self.beats = 0
        encoder = LoadedEncoder(self.network, lambda _text: {"input_ids": [0]}, None, options.pop("pad", 0), "mean", "")
        self.runner = EncoderRunner(encoder, Host(self._emit, self._beat), **options)
        self.network.batches.clear()

    def _emit(self, outcomes: Sequence[Any]) -> None:
        for job, event in outcomes:
            assert job not in self.told
            self.told[job] = event

    def _beat(self) -> None:
        self.beats += 1

    def add(self, *texts: Sequence[int], **options: Any) -> Job[EncodingRequest]:
        job = Job(EncodingRequest(tuple(EncoderInput(tuple(ids)) for ids in texts), **options))
        self.runner.add(job)
        return job

    def run(self) -> None:
        while self.runner.busy:
            self.runner.step()


def rows_of(event: Any) -> list[tuple[float, ...]]:
    assert isinstance(event, Encoded), event
    return list(event.rows)


def test_requests_of_similar_length_are_one_batch() -> None:
    rig = Rig()
    jobs = [rig.add([number] * length) for number, length in enumerate([3, 4, 3], start=1)]
    rig.runner.step()
    assert rig.network.batches == [[[1] * 3, [3] * 3, [2] * 4]]
    assert [rows_of(rig.told[job]) for job in jobs] == [[(1.0,)], [(2.0,)], [(3.0,)]]
    assert not rig.runner.busy
    assert all(job.first_token_s is not None for job in jobs)


def test_a_long_text_does_not_pad_short_ones_and_comes_after_them() -> None:
    rig = Rig()
    rig.add([1] * 500)
    rig.add([2] * 4)
    rig.runner.step()
    assert [len(batch[0]) for batch in rig.network.batches] == [4, 500]


def test_a_step_is_bounded_in_tokens_and_rows() -> None:
    rig = Rig(max_tokens=100, max_rows=4)
    rig.add(*([1] * 30 for _ in range(10)))
    rig.add(*([2] for _ in range(10)))
    while rig.runner.busy:
        rig.network.batches.clear()
        rig.runner.step()
        texts = list(itertools.chain(*rig.network.batches))
        assert sum(map(len, texts)) <= 100
        assert len(texts) <= 4


def test_a_single_text_beside_thousands_waits_for_one_step() -> None:
    rig = Rig(max_tokens=64)
    many = rig.add(*([1] * 8 for _ in range(10_000)))
    rig.runner.step()
    single = rig.add([2] * 8)
    rig.runner.step()
    assert rows_of(rig.told[single]) == [(2.0,)]
    assert many not in rig.told


def test_steps_of_a_slow_model_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("services.engine.encoding.time.monotonic", lambda: now_s)
    rig = Rig(max_tokens=1024)
    seconds_a_token = 0.001

    def compute() -> None:
        nonlocal now_s
        now_s += seconds_a_token * sum(map(len, rig.network.batches[-1]))

    rig.network.on_layer = compute

    def tokens_of_a_step() -> int:
        rig.network.batches.clear()
        rig.runner.step()
        return sum(len(text) for batch in rig.network.batches for text in batch)

    rig.add(*([1] * 8 for _ in range(10_000)))
    assert tokens_of_a_step() == 1024
    assert [tokens_of_a_step() for _ in range(12)][-1] == 200
    seconds_a_token = 1.0
    assert [tokens_of_a_step() for _ in range(12)][-1] == 128
    seconds_a_token = 0.0001
    assert [tokens_of_a_step() for _ in range(12)][-1] == 1024


def test_lists_take_turns() -> None:
    rig = Rig(max_tokens=16)
    first = rig.add(*([1] * 4 for _ in range(6)))
    second = rig.add(*([2] * 4 for _ in range(6)))
    rig.runner.step()
    assert sorted(text[0] for text in rig.network.batches[0]) == [1, 1, 2, 2]
    rig.run()
    assert list(rig.told) == [first, second]


def test_batch_size_caps_the_inputs_of_one_request_only() -> None:
    rig = Rig()
    rig.add(*([1] for _ in range(6)), batch_size=2)
    rig.add([2], [2], [2])
    rig.runner.step()
    assert sorted(text[0] for batch in rig.network.batches for text in batch) == [1, 1, 2, 2, 2]
    rig.run()
    assert len(rig.told) == 2


def test_rows_come_in_the_order_of_the_inputs() -> None:
    rig = Rig(max_tokens=40)
    order = list(range(10, 60))
    job = rig.add(*([number] * random.Random(number).randint(1, 20) for number in order))
    rig.run()
    assert rows_of(rig.told[job]) == [(float(number),) for number in order]


def test_no_inputs_are_done_at_once() -> None:
    rig = Rig()
    job = rig.add()
    rig.runner.step()
    assert rig.told == {job: Encoded(())}


def test_a_cancelled_request_is_dropped_with_what_it_still_wants() -> None:
    rig = Rig(max_tokens=8)
    cancelled = rig.add(*([1] * 8 for _ in range(100)))
    rig.runner.step()
    kept = rig.add([2] * 8)
    cancelled.cancelled = True
    rig.network.batches.clear()
    rig.run()
    assert rig.network.batches == [[[2] * 8]]
    assert rows_of(rig.told[kept]) == [(2.0,)]


def test_a_batch_that_nobody_waits_for_ends_at_the_next_layer() -> None:
    rig = Rig()
    job = rig.add([BAD])

    def leave() -> None:
        job.cancelled = True

    rig.network.on_layer = leave
    rig.run()  # behind the layer the network would fail
    assert not isinstance(rig.told.get(job), ServiceError)
    rig.network.on_layer = lambda: None
    after = rig.add([1])
    rig.run()
    assert rows_of(rig.told[after]) == [(1.0,)]


def test_every_layer_is_a_sign_of_life() -> None:
    rig = Rig()
    before = rig.beats
    rig.add([1])
    rig.run()
    assert rig.beats == before + 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("index out of range"), 500, "generation_failed"),
        (torch.OutOfMemoryError("CUDA out of memory"), 503, "out_of_memory"),
        (MemoryError(), 503, "out_of_memory"),
    ],
)
def test_one_input_that_fails_fails_its_own_request_only(error: Exception, status: int, code: str) -> None:
    rig = Rig()
    rig.network.error = error
    jobs = [rig.add([number]) for number in (1, 2)]
    culprit = rig.add([3], [BAD], [4])
    jobs.append(rig.add([5]))
    rig.run()
    assert [rows_of(rig.told[job]) for job in jobs] == [[(1.0,)], [(2.0,)], [(5.0,)]]
    failure = rig.told[culprit]
    assert isinstance(failure, ServiceError)
    assert (failure.status, failure.code) == (status, code)
    after = rig.add([6])
    rig.run()
    assert rows_of(rig.told[after]) == [(6.0,)]


def test_numbers_that_are_not_finite_fail_their_own_request_only() -> None:
    rig = Rig()
    culprit, neighbour = rig.add([1], [ENDLESS]), rig.add([2])
    rig.run()
    failure = rig.told[culprit]
    assert isinstance(failure, ServiceError)
    assert (failure.status, failure.code) == (500, "non_finite_output")
    assert rows_of(rig.told[neighbour]) == [(2.0,)]


def test_a_network_without_padding_reads_one_at_a_time() -> None:
    rig = Rig(pad=None)
    rig.add([1], [2, 2])
    rig.run()
    assert sorted(map(len, rig.network.batches)) == [1, 1]


def test_as_many_requests_are_at_work_as_rows() -> None:
    rig = Rig(max_rows=2)
    accepted = []
    for _ in range(3):
        accepted.append(rig.runner.accepts(EncodingRequest(())))
        rig.add([1])
    assert accepted == [True, True, False]
    rig.runner.reset()
    assert not rig.runner.busy
    assert rig.runner.accepts(EncodingRequest(()))


def test_each_input_is_pooled_as_its_request_says() -> None:
    rig = Rig()
    poolings: list[Pooling] = ["mean", "cls", "max", "lasttoken"]
    jobs = [rig.add([1, 2, 6], pooling=pooling) for pooling in poolings]
    normal = rig.add([3, 4, 4, 3], normalize=True)
    rig.run()
    assert [rows_of(rig.told[job]) for job in jobs] == [[(3.0,)], [(1.0,)], [(6.0,)], [(6.0,)]]
    assert rows_of(rig.told[normal]) == [(1.0,)]
    assert len(rig.network.batches) == 1


@given(
    st.lists(st.lists(st.integers(1, 40), max_size=12), max_size=8),
    st.integers(1, 64),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_whatever_arrives_everybody_gets_their_own_rows(
    requests: list[list[int]], max_tokens: int, max_rows: int, batch_size: int
) -> None:
    rig = Rig(max_tokens=max_tokens, max_rows=max_rows)
    jobs = {}
    number = ENDLESS
    for lengths in requests:
        numbers = [number := number + 1 for _ in lengths]
        texts = [[number] * length for number, length in zip(numbers, lengths, strict=True)]
        jobs[rig.add(*texts, batch_size=batch_size)] = [(float(number),) for number in numbers]
        rig.runner.step()
    rig.run()
    assert {job: rows_of(event) for job, event in rig.told.items()} == jobs


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_batch_computes_what_each_text_gets_alone(kind: Encoder, tmp_path: Path) -> None:
    folder = make_encoder(kind, tmp_path / kind)
    make_sentence_layout(folder, pooling="lasttoken" if kind == "qwen3" else "mean")
    encoder = load_embedder(settings_of(folder, "text-embedding"), read_checkpoint(folder, kind))
    assert encoder.limit == (None if kind == "t5" else POSITIONS)
    inputs = _mixed(encoder)
    poolings: list[Pooling] = ["mean", "cls", "max", "lasttoken"]
    requests = [
        EncodingRequest((text,), pooling=poolings[number % 4], normalize=number % 3 > 0)
        for number, text in enumerate(inputs)
    ]
    for request, row in zip(requests, _run(encoder, requests), strict=True):
        hidden = _alone(encoder, request.inputs[0]).last_hidden_state[0]
        expected = {
            "mean": hidden.mean(dim=0),
            "cls": hidden[0],
            "max": hidden.amax(dim=0),
            "lasttoken": hidden[-1],
        }[str(request.pooling)]
        expected = expected / expected.norm() if request.normalize else expected
        assert torch.allclose(torch.tensor(row), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind != "t5"])
def test_a_batch_of_pairs_computes_what_each_pair_gets_alone(kind: Encoder, tmp_path: Path) -> None:
    folder = make_encoder(kind, tmp_path / kind, labels=3)
    encoder = load_classifier(settings_of(folder, "text-classification"), read_checkpoint(folder, kind))
    inputs = _mixed(encoder, second="And why?")
    rows = _run(encoder, [EncodingRequest((text,)) for text in inputs])
    for text, row in zip(inputs, rows, strict=True):
        assert torch.allclose(torch.tensor(row), _alone(encoder, text).logits[0], atol=1e-5, rtol=1e-5)


def _mixed(encoder: LoadedEncoder, second: str | None = None) -> list[EncoderInput]:
    """Texts of many lengths."""
    inputs = []
    for count in (1, 9, 2, 12, 3, 1, 20, 5, 8, 2):
        encoded = encoder.tokenizer(" ".join(["Hello robot, tell"] * count), second)
        ids = encoded["input_ids"][:POSITIONS]
        types = encoded.get("token_type_ids")
        inputs.append(EncoderInput(tuple(ids), None if types is None else tuple(types[:POSITIONS])))
    return inputs


def _run(encoder: LoadedEncoder, requests: list[EncodingRequest]) -> list[tuple[float, ...]]:
    told: dict[Job[EncodingRequest], Any] = {}
    runner = EncoderRunner(encoder, Host(told.update, lambda: None))
    jobs = [Job(request) for request in requests]
    for job in jobs:
        runner.add(job)
    while runner.busy:
        runner.step()
    return [rows_of(told[job])[0] for job in jobs]


def _alone(encoder: LoadedEncoder, text: EncoderInput) -> Any:
    tensors = {"input_ids": torch.tensor([text.ids])}
    if text.type_ids is not None:
        tensors["token_type_ids"] = torch.tensor([text.type_ids])
    with torch.inference_mode():
        return encoder.network(**tensors, attention_mask=torch.ones_like(tensors["input_ids"]))
