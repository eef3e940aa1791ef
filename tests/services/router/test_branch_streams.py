"""Whatever way a run takes through its jobs, the text that is sent while it runs joins to its output."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.router.analysis.outputs import texts
from services.router.clients.client import OnDelta
from services.router.execution.engine import Engine
from services.router.messages import Run, RunRequest
from services.router.settings import WorkflowSettings
from services.wire import Delta, Done, Readiness, TaskRequest
from tests.services.router.rig import text, workflow
from tests.services.router.test_graph import DO, graph_of, runs

pytestmark = pytest.mark.unit

JOBS = ("first", "a", "b", "c", "merge", "again", "after", "safe", "inner", "each")
READS = st.sampled_from([*(f"jobs.{name}.output" for name in JOBS), "jobs.inner.output.said", "output", "input.kind"])
CHAINS = st.builds(
    lambda reads, end: "${" + " | ${".join(reads) + end + "}" * len(reads),
    st.lists(READS, min_size=1, max_size=4),
    st.sampled_from(["", " as markdown", " | none"]),
)
LEAVES = CHAINS | CHAINS.map(lambda chain: f"<{chain}>") | st.sampled_from(["plain", ""])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.sampled_from([None, None, {"said": "${output}"}, {"said": "${output}", "n": 1}, "<${output}>"])
OUTPUTS = st.fixed_dictionaries(dict.fromkeys(JOBS, MAPPINGS))


class Echo:
    """Answers with the prompt and how often it was asked, in pieces; `fail b` fails."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        prompt = str(request.fields["text"])
        self.asked[prompt] += 1
        if prompt == "fail b":
            raise ServiceError(500, "failed", "This fails.")
        answer = f"{prompt} {self.asked[prompt]}"
        for piece in (answer[:4], answer[4:]) if on_delta is not None else ():
            assert on_delta is not None
            await on_delta(Delta(piece, ()))
        return Done(answer)

    async def readiness(self) -> Readiness:
        return Readiness("ready")


def workflows(outputs: dict[str, Any], output: Any, inner: Any) -> list[WorkflowSettings]:
    """A switch between three jobs, what follows them, a loop by routing, a job that may fail, a workflow inside."""

    def job(name: str, **changes: Any) -> dict[str, Any]:
        own = {"type": "component", **DO, "input": {"prompt": name}, "output": outputs.get(name)}
        return {"id": name, **own, **changes}

    bad = {"input": "${jobs.again.output}", "value": "again 1", "if_true": "again"}
    item = {**DO, "input": {"prompt": "${item}"}}
    kinds = [{"value": name, "then": name} for name in "ab"]
    jobs = [
        job("first"),
        {"id": "kind", "type": "switch", "input": "${input.kind}", "cases": kinds, "otherwise": "c"},
        *map(job, "cba"),
        job("merge", depends_on=[["a", "b"]]),
        {"id": "begin", "type": "switch", "cases": [], "otherwise": "again"},
        job("again"),
        {"id": "judge", "type": "if", "conditions": [bad]},
        job("after", depends_on=[["again"]]),
        job("safe", input={"prompt": "fail ${input.kind}"}, on_error={"output": {"said": "sorry"}}),
        job("inner", component="sub"),
        {"id": "each", "type": "for-each", "input": ["x", "y"], "do": item, "output": outputs["each"]},
    ]
    which = [{"value": "a", "if_true": "y", "if_false": "z"}]
    inside = [{"id": "which", "type": "if", "input": "${input.kind}", "conditions": which}, job("y"), job("z")]
    return [workflow("inner", jobs=inside, output=inner), workflow("w", jobs=jobs, output=output, default=True)]


INNER = st.sampled_from([None, {"said": "${output}"}, ["${output}"]])


@example(dict.fromkeys(JOBS), {name: f"${{jobs.{name}.output}}" for name in JOBS}, None, "a")
@given(OUTPUTS, st.none() | TREES, INNER, st.sampled_from("abc"))
async def test_what_is_sent_joins_to_the_output(outputs: dict[str, Any], output: Any, inner: Any, kind: str) -> None:
    sub = runs("sub", "inner", input={"kind": kind})
    graph = graph_of(*workflows(outputs, output, inner), components=(text(), sub))
    sent: dict[str, str] = {}

    async def collect(path: str, piece: str) -> None:
        sent[path] = sent.get(path, "") + piece

    engine = Engine(graph, {"text": Echo()}, {})
    compiled, _ = engine.check(RunRequest(input={"kind": kind}))
    request = RunRequest(input={"kind": kind})
    streamed = await engine.execute(compiled, request, Run("T", "w", "R", kept=False), collect)
    assert sent == {path: piece for path, piece in texts(streamed.output) if piece}
