"""Packed linear layers compute what plain ones do, and take no memory twice."""

import copy
import weakref
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from services.engine.loading import packing
from services.engine.loading.packing import PackedLinear, Product, pack
from tests.services.conftest import Tiny
from tests.services.engine.continuous.networks import CONTINUOUS, load_decoder

pytestmark = pytest.mark.unit

TOKENS = torch.tensor([[5, 9, 2, 30, 7], [1, 2, 3, 4, 5]])


def network(*, tied: bool) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=64,
        attention_bias=True,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).eval()


def packed_names(model: Any) -> set[str]:
    return {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, PackedLinear)}


LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_a_packed_network_gives_the_same_logits(dtype: torch.dtype, tolerance: float) -> None:
    plain = network(tied=False).to(dtype)
    packed = copy.deepcopy(plain)

    pack(packed)

    assert packed_names(packed) == LAYERS | {"lm_head"}
    with torch.inference_mode():
        expected, actual = plain(TOKENS).logits, packed(TOKENS).logits
    assert float((expected - actual).abs().max() / expected.std()) < tolerance


@pytest.mark.parametrize("name", [*CONTINUOUS, "bloom", "gpt_neo", "mamba"])
def test_networks_of_other_kinds_say_the_same(tiny: Tiny, name: str) -> None:
    model = load_decoder(tiny, name).network
    with torch.inference_mode():
        expected = model(TOKENS).logits
        pack(model)
        actual = model(TOKENS).logits
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_a_head_that_shares_its_weight_with_the_embedding_is_packed_beside_it() -> None:
    model = network(tied=True)
    embedding = model.model.embed_tokens.weight.clone()

    pack(model)

    assert packed_names(model) == LAYERS | {"lm_head"}
    assert torch.equal(model.lm_head.weight, embedding)
    assert torch.equal(model.model.embed_tokens.weight, embedding)


def test_the_weight_of_a_packed_layer_can_still_be_read() -> None:
    linear = torch.nn.Linear(7, 5)

    packed = PackedLinear(Product([linear]), 0)

    assert torch.equal(packed.weight, linear.weight)
    assert packed.bias is not None
    assert torch.equal(packed.bias, linear.bias)
    assert (packed.in_features, packed.out_features) == (7, 5)


@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_one_product_may_be_called_in_any_order_and_with_anything(*, bias: bool) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(7, size, bias=bias) for size in (5, 3, 4)]
    product = Product(layers)
    packed = [PackedLinear(product, index) for index in range(3)]
    one, other = torch.randn(2, 7), torch.randn(2, 7)
    calls = [(0, one), (1, one), (2, one), (2, other), (0, other), (0, one), (0, one), (1, other), (1, one), (2, one)]
    with torch.inference_mode():
        for index, values in calls:
            torch.testing.assert_close(packed[index](values), layers[index](values))


def test_a_product_keeps_nothing_once_all_have_their_part() -> None:
    product = Product([torch.nn.Linear(7, 5), torch.nn.Linear(7, 3)])
    values = torch.randn(2, 7)
    with torch.inference_mode():
        gone = weakref.ref(product.part(0, values))
        product.part(1, values)
    assert gone() is None
    assert product.part(0, values).shape == (2, 5)


X, Y = torch.randn(2, 7), torch.randn(2, 7)


@pytest.mark.parametrize(
    "calls",
    [
        [(0, X), (1, Y), (2, Y)],
        [(0, X), (1, Y), (2, Y), (0, X), (1, Y), (2, Y)],
        [(0, X), (0, Y), (1, Y), (2, Y)],
        [(1, X), (0, X), (2, X)],
        [(0, X), (2, Y)],
    ],
    ids=["attention to an encoder", "its second token", "after an error", "in another order", "no third call"],
)
def test_a_product_keeps_no_part_that_nobody_will_ask_for(calls: list[tuple[int, torch.Tensor]]) -> None:
    product = Product([torch.nn.Linear(7, size) for size in (5, 3, 4)])
    with torch.inference_mode():
        for index, values in calls:
            product.part(index, values)
    assert product._parts == {}


@pytest.mark.parametrize(
    ("calls", "products"),
    [([(0, X), (1, X), (2, X)], 1), ([(1, X), (0, X), (2, X)], 1), ([(0, X), (1, Y), (2, Y)], 2)],
)
def test_a_product_is_computed_once_for_each_input(calls: list[tuple[int, torch.Tensor]], products: int) -> None:
    product: Any = Product([torch.nn.Linear(7, size) for size in (5, 3, 4)])
    multiply, seen = product._multiply, []

    def count(values: torch.Tensor, *how: Any) -> Any:
        seen.append(values)
        return multiply(values, *how)

    product._multiply = count
    with torch.inference_mode():
        for index, values in calls:
            product.part(index, values)
    assert len(seen) == products


def test_what_an_error_leaves_is_gone_with_the_input() -> None:
    product = Product([torch.nn.Linear(7, 5), torch.nn.Linear(7, 3)])

    def attend(values: torch.Tensor) -> None:
        product.part(0, values + 1)
        raise MemoryError

    with torch.inference_mode(), pytest.raises(MemoryError) as caught:
        attend(X)
    del caught
    assert product._parts == {}


def test_a_product_that_fails_leaves_nothing_of_the_one_before() -> None:
    product = Product([torch.nn.Linear(7, 5), torch.nn.Linear(7, 3)])
    with torch.inference_mode():
        gone = weakref.ref(product.part(0, X))
        with pytest.raises(RuntimeError):
            product.part(0, torch.randn(2, 8))
    assert (product._parts, gone()) == ({}, None)


def test_nothing_is_packed_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(tied=False)
    size = sum(weight.nbytes for weight in model.parameters())
    monkeypatch.setattr(packing, "available_memory_bytes", lambda: size)

    pack(model)

    assert packed_names(model) == set()


def test_a_type_that_onednn_does_not_compute_with_stays_plain() -> None:
    model = network(tied=False).to(torch.float64)

    pack(model)

    assert packed_names(model) == set()
