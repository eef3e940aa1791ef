"""What models need, judged against machines that are made up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.estimate import FRAMEWORK_BYTES, SHARED_BYTES, Facts, Tensor
from builders.weights import Resolved
from compose.machine import Disk, Gpu, Machine
from compose.models import Known
from compose.needs import Needs, longest, needs_of
from infra.errors import ExitCode, UserError
from services.engine.loading.machine import Processor
from tests.compose.loading import load

pytestmark = pytest.mark.unit

GB = 10**9
CONFIG = {
    "hidden_size": 1000,
    "intermediate_size": 3000,
    "num_hidden_layers": 10,
    "num_attention_heads": 10,
    "max_position_embeddings": 8192,
    "vocab_size": 10_000,
}
MODEL = "type: model, task: text-generation, model: acme/big"
FETCH = ("builders.weights", "fetch", "--repository", "acme/big")


@dataclass(frozen=True, slots=True)
class MadeUp(Machine):
    """A machine with one disk."""

    free_bytes: int = 100 * GB

    def disk(self, folder: Path) -> Disk:
        return Disk(1, self.free_bytes)


def machine(available_bytes: int | None, *gpus: Gpu, free_bytes: int = 100 * GB) -> MadeUp:
    return MadeUp(Processor(fast_bfloat16=True, available_bytes=available_bytes), gpus, free_bytes)


def big(parameters: int = 3 * GB, **changes: Any) -> Known:
    """A model in bfloat16 that is on the hub; its weights are twice the number of its parameters."""
    found = Resolved(
        Path("/cache/big"), "c0ffee", CONFIG, FETCH, {}, parameters * 2, {"model.safetensors": parameters * 2}
    )
    return Known(found, Facts(CONFIG, [Tensor("w", "BF16", (parameters,))], **changes))


def judged(folder: Path, of: Machine, known: Known | UserError, text: str = f"component: {{{MODEL}}}") -> Needs:
    loaded = load(folder, text, HF_HOME="/hf")
    return needs_of(loaded, {component.name: known for component in loaded.spec.models}, of)


def test_what_fits_is_said_with_all_figures(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(20 * GB), big())
    assert str(needs) == (
        "text-generation  download  6.0 GB\n"
        "text-generation  memory    fits: needs 13.1 GB, 20.0 GB available\n"
        "                           weights 6.0 GB in bfloat16, up to 6.7 GB for 134400 tokens, framework 325 MB\n"
        "in all           disk      fits: needs 6.0 GB, 100 GB available\n"
        "                           of /hf/hub\n"
        "in all           memory    fits: needs 13.3 GB, 20.0 GB available\n"
        "                           with router and page"
    )
    assert needs.exit_code == ExitCode.OK


def test_what_does_not_fit_ends_in_the_environments_code(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(4 * GB, free_bytes=1 * GB), big())
    assert [str(verdict) for verdict in needs.verdicts] == [
        "does not fit: needs 6.3 GB, 4.0 GB available",
        "does not fit: needs 6.0 GB, 1.0 GB available",
        "does not fit: needs 6.5 GB, 4.0 GB available",
    ]
    assert needs.exit_code == ExitCode.ENVIRONMENT


def test_a_model_that_has_no_room_for_its_longest_text_may_still_serve_short_ones(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(int(6.8 * GB)), big())
    assert needs.verdicts[-1].answer == "short"
    assert str(needs.verdicts[-1]) == (
        "fits while texts are short: needs 6.5 GB, with the longest 7.4 GB, 6.8 GB available"
    )
    assert needs.exit_code == ExitCode.OK


def test_a_model_with_which_the_engine_would_not_start_does_not_fit(tmp_path: Path) -> None:
    least_bytes = judged(tmp_path, machine(8 * GB), big()).verdicts[-1].least_bytes
    needs = judged(tmp_path, machine(least_bytes - 5_000_000), big())
    assert (needs.verdicts[-1].answer, needs.exit_code) == ("no", ExitCode.ENVIRONMENT)
    assert judged(tmp_path, machine(least_bytes), big()).verdicts[-1].answer == "short"


def test_unknown_memory_is_no_failure(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(None), big())
    assert str(needs.verdicts[0]) == "needs 7.4 GB; what is available cannot be told"
    assert needs.exit_code == ExitCode.OK


def test_models_share_the_memory_of_their_code_and_the_disk(tmp_path: Path) -> None:
    one = judged(tmp_path, machine(99 * GB), big())
    text = f"components:\n  - {{id: a, {MODEL}}}\n  - {{id: b, {MODEL}}}\n"
    two = judged(tmp_path, machine(99 * GB), big(), text + "workflow: {component: a}\n")
    (_, disk, memory) = one.verdicts
    (_, _, both_on_disk, both_in_memory) = two.verdicts
    assert both_on_disk.needs_bytes == 2 * disk.needs_bytes
    assert both_in_memory.needs_bytes - memory.needs_bytes == one.verdicts[0].needs_bytes - SHARED_BYTES


def test_each_model_has_its_cache_of_what_all_of_them_leave(tmp_path: Path) -> None:
    components = ", ".join(f"{{id: {name}, {MODEL}}}" for name in "abc")
    text = f"components: [{components}]\nworkflow: {{component: a}}\n"
    needs = judged(tmp_path, machine(20 * GB), big(GB // 2), text)
    assert [verdict.answer for verdict in needs.verdicts] == ["fits"] * 5
    caches = [need.memory.cache for need in needs.models if need.memory is not None]
    left = 20 * GB - needs.verdicts[-1].least_bytes
    assert caches == pytest.approx([left // 2] * 3, rel=2e-3)
    assert str(needs.verdicts[-1]) == (
        "fits, but not with all caches full: needs 6.6 GB, with those 28.1 GB, 20.0 GB available"
    )


def test_models_that_share_a_machine_serve_short_texts_where_their_longest_have_no_room_together(
    tmp_path: Path,
) -> None:
    text = f"components: [{{id: a, {MODEL}}}, {{id: b, {MODEL}}}]\nworkflow: {{component: a}}\n"
    needs = judged(tmp_path, machine(4 * GB), big(GB // 2), text)
    assert [verdict.answer for verdict in needs.verdicts] == ["fits", "fits", "fits", "short"]
    longest_bytes = needs.verdicts[-1].longest_bytes
    assert needs.verdicts[-1].least_bytes < 4 * GB < longest_bytes
    assert judged(tmp_path, machine(longest_bytes), big(GB // 2), text).verdicts[-1].answer == "fits"


def test_a_model_on_a_gpu_needs_its_memory_there_and_a_process_here(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(8 * GB, Gpu("NVIDIA X", 5 * GB)), big())
    assert [(verdict.service, verdict.what, verdict.answer) for verdict in needs.verdicts] == [
        ("text-generation", "memory of GPU 0", "no"),
        (None, "disk", "fits"),
        (None, "memory of GPU 0", "no"),
        (None, "memory", "fits"),
    ]
    assert FRAMEWORK_BYTES < needs.verdicts[-1].needs_bytes < 1 * GB


def test_a_gpu_that_is_asked_for_and_absent_has_no_memory(tmp_path: Path) -> None:
    needs = judged(tmp_path, machine(8 * GB), big(), f"component: {{{MODEL}, device: 'cuda:1'}}")
    assert str(needs.verdicts[0]) == "does not fit: needs 6.6 GB, 0 bytes available"


@pytest.mark.parametrize(
    ("setting", "weights"),
    [("precision: float32", int(12.04 * GB)), ("precision: float16", 6 * GB), ("quantization: int8", int(3.01 * GB))],
)
def test_precision_and_quantization_count(tmp_path: Path, setting: str, weights: int) -> None:
    matrix = Known(big().found, Facts(CONFIG, [Tensor("up_proj.weight", "BF16", (3 * 10**4, 10**5))]))
    (need,) = judged(tmp_path, machine(99 * GB), matrix, f"component: {{{MODEL}, {setting}}}").models
    assert need.memory is not None
    assert need.memory.weights == weights


def test_a_conversion_writes_the_weights_once_more(tmp_path: Path) -> None:
    weights = {"pytorch_model.bin": 2 * GB}
    found = Resolved(Path("/own/converted"), "c0ffee", CONFIG, (*FETCH, "--convert-into", "/own"), {}, 2 * GB, weights)
    pickled = Known(found, Facts(CONFIG, [Tensor("", "F32", (GB // 2,))], rough=True))
    needs = judged(tmp_path, machine(99 * GB), pickled)
    assert needs.verdicts[1].needs_bytes == 4 * GB
    assert needs.verdicts[0].detail.startswith("roughly: weights 2.0 GB")


def test_a_model_that_cannot_be_found_is_unknown_and_the_others_are_judged(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"components: [{{id: a, {MODEL}}}, {{id: b, {MODEL}}}]\nworkflow: {{component: a}}\n")
    problem = UserError("no such model", hint="look", exit_code=ExitCode.ENVIRONMENT)
    needs = needs_of(loaded, {"a": problem, "b": big()}, machine(99 * GB))
    assert str(needs).splitlines()[:2] == ["a       model     unknown: no such model", "b       download  6.0 GB"]
    assert needs.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("action", "tokens"),
    [
        ("{}", 8192),
        ("{max_length: 100}", 100),
        ("{max_length: 99999}", 8192),
        ("{max_input_length: 50}", 50 + 1024),
        ("{max_input_length: 50, max_output_length: 10}", 60),
        ("{max_input_length: 50, max_output_length: 100, max_length: 120}", 120),
        ("{max_output_length: 10}", 8192),
        ("{max_length: '${input.length}'}", 8192),
        ("{max_length: '${env.LENGTH}'}", 70),
        ("{max_length: 100, num_return_sequences: 3}", 100),
        ("{max_length: 100, num_beams: 3}", 300),
    ],
)
def test_the_longest_request_is_told_from_what_the_file_fixes(tmp_path: Path, action: str, tokens: int) -> None:
    loaded = load(tmp_path, f"component: {{{MODEL}, action: {action}}}", LENGTH="70")
    (component,) = loaded.spec.models
    assert longest(component.actions, Facts(CONFIG, [])) == tokens
