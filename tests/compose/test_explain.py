"""`explain` prints each file in explained/ as the text beside it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from compose.explain import explain, explanations
from compose.output import Console
from compose.state import Selection
from infra.errors import ExitCode, UserError
from tests.compose.loading import load
from tests.compose.test_variations import CHAT, COMPONENTS, GENERATION

pytestmark = pytest.mark.unit

EXPLAINED = Path(__file__).parent / "explained"
FILES = sorted(path.stem for path in EXPLAINED.glob("*.yml"))


def printed(name: str, workflow: str | None = None, *, as_json: bool = False, terminal: bool = False) -> str:
    """What the command prints for a file in explained/, which is the current folder."""
    out: io.StringIO = _Terminal() if terminal else io.StringIO()
    explain(Selection((Path(f"{name}.yml"),), (), {}), workflow, Console(out, io.StringIO(), {}), as_json=as_json)
    return out.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXPLAINED)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_explained_in_order(name: str) -> None:
    assert printed(name) == (EXPLAINED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_a_terminal_gets_the_same_words(name: str) -> None:
    text = printed(name, terminal=True)
    assert "\x1b[1m" in text
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m"):
        text = text.replace(code, "")
    assert text == printed(name)


def test_one_workflow_is_chosen_by_its_id_also_a_private_one() -> None:
    assert printed("sub_workflow", "polish").startswith("workflow polish (private)\n")
    assert "workflow write" not in printed("sub_workflow", "polish")


@pytest.mark.parametrize(("name", "hint"), [("polsh", "did you mean `polish`?"), ("zzz", "there are write, polish")])
def test_an_unknown_workflow_is_told(name: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        printed("sub_workflow", name)
    assert (caught.value.message, caught.value.hint) == (f"there is no workflow `{name}`", hint)
    assert caught.value.exit_code == ExitCode.USAGE


def test_the_output_of_a_job_without_a_name_is_the_output(tmp_path: Path) -> None:
    (explanation,) = explanations(load(tmp_path, "component: {type: model, task: text-generation, model: acme/text}\n"))
    assert explanation.output == ("output",)


def test_json_holds_the_same() -> None:
    (workflow,) = json.loads(printed("one_job", as_json=True))["workflows"]
    assert workflow == {
        "workflow": "__workflow__",
        "title": "Generate Chat Messages",
        "description": None,
        "is_default": False,
        "is_private": False,
        "inputs": [
            {
                "name": "system_prompt",
                "type": "text",
                "required": False,
                "default": None,
                "description": "How it shall answer",
            },
            {"name": "user_prompt", "type": "text", "required": True, "default": None, "description": None},
            {"name": "temperature", "type": "number", "required": False, "default": 0.7, "description": None},
        ],
        "steps": [
            {
                "id": "__job__",
                "type": "component",
                "does": "asks component chat-completion (chat-completion)",
                "routed_by": [],
                "waits_for": [],
                "reads": ["input.system_prompt", "input.user_prompt", "input.temperature"],
                "routes": [],
                "retry": None,
                "on_error": None,
                "limits": [],
                "goes_to": ["output.generated"],
            }
        ],
        "output": ["output"],
        "gaps": [
            {
                "place": "one_job.yml:11:16",
                "reads": "input.system_prompt",
                "expression": '${input.system_prompt @(description "How it shall answer")}',
                "why": "the input system_prompt is optional",
            }
        ],
    }


@pytest.mark.parametrize("text", [*(text for text, _ in COMPONENTS.values()), *CHAT.values(), *GENERATION.values()])
def test_every_documented_file_can_be_explained(tmp_path: Path, text: str) -> None:
    assert explanations(load(tmp_path, text))


COMPONENT = """
components:
  - {id: writer, type: model, task: text-generation, model: a/b, prompt: "${input.prompt}"}
"""


def gaps(folder: Path, jobs: str, output: str) -> list[tuple[str, str]]:
    """What can be null in the output, and why."""
    text = f"{COMPONENT}workflow:\n  jobs: {jobs}\n  output: {output}\n"
    (explained,) = explanations(load(folder, text))
    return [(gap.reads, gap.why) for gap in explained.gaps]


CHOOSE = "{id: choose, type: if, input: '${input.prompt}', value: x, if_true: a, if_false: b}"
A, B = "{id: a, component: writer}", "{id: b, component: writer}"


@pytest.mark.parametrize(
    ("jobs", "output", "expected"),
    [
        (f"[{A}]", "${jobs.a.output}", []),
        (f"[{CHOOSE}, {A}, {B}]", "${jobs.a.output}", [("jobs.a.output", "a runs only when it is routed to")]),
        (f"[{CHOOSE}, {A}, {B}]", "${jobs.a.output | none}", []),
        (f"[{CHOOSE}, {A}, {B}]", "${jobs.a.output | ${jobs.b.output}}", []),
        (f"[{CHOOSE}, {A}, {B}]", "${output}", []),
        (
            f"[{CHOOSE}, {A}, {B}, {{id: c, component: writer, depends_on: [a]}}]",
            "${jobs.c.output}",
            [("jobs.c.output", "c is skipped with a")],
        ),
        (f"[{CHOOSE}, {A}, {B}, {{id: c, component: writer, depends_on: [[a, b]]}}]", "${jobs.c.output}", []),
        (f"[{CHOOSE}, {A}, {B}, {{id: c, component: writer, depends_on: [a, choose]}}]", "${jobs.c.output}", []),
        (
            "[{id: a, component: writer, output: {x: '${output}', y: {z: 1}}}]",
            "['${jobs.a.output.x}', '${jobs.a.output.y.z}']",
            [],
        ),
        (
            "[{id: a, component: writer, repeat_count: 2}]",
            "['${jobs.a.output[1]}', '${jobs.a.output[-2]}', '${jobs.a.output[2]}', '${jobs.a.output[*]}']",
            [("jobs.a.output[2]", "the result of a may have no [2]")],
        ),
        (
            f"[{A}]",
            "['${context.run_id}', '${context.metadata.who}', '${input.meta.x[0]}', '${input}']",
            [
                ("context.metadata.who", "a run's metadata may have no who"),
                ("input.meta.x[0]", "the input meta is optional"),
            ],
        ),
        (
            "[{id: f, type: filter, input: '${input.items}'}]",
            "['${jobs.f.output}', '${jobs.f.output[0]}', '${jobs.f.output[1:]}']",
            [("jobs.f.output[0]", "the result of f may have no [0]")],
        ),
    ],
)
def test_what_can_be_null_is_named_with_its_cause(tmp_path: Path, jobs: str, output: str, expected: Any) -> None:
    assert gaps(tmp_path, jobs, output) == expected


def test_a_job_that_waits_for_either_may_come_before_the_other(tmp_path: Path) -> None:
    join = "{id: c, component: writer, depends_on: [[a, b]], input: {prompt: '${jobs.a.output}'}}"
    assert gaps(tmp_path, f"[{A}, {B}, {join}]", "${jobs.c.output}") == [
        ("jobs.a.output", "c may begin before a has run")
    ]
    both = join.replace("${jobs.a.output}", "${jobs.a.output | ${jobs.b.output}}")
    assert gaps(tmp_path, f"[{A}, {B}, {both}]", "${jobs.c.output}") == []


def test_items_have_what_a_for_each_before_gives_them(tmp_path: Path) -> None:
    do = "{component: writer, input: {prompt: hi}, output: {x: '${output}'}}"
    each = f"{{id: e, type: for-each, input: '${{input.items}}', do: {do}}}"
    kept = "{id: f, type: filter, input: '${jobs.e.output}', where: {input: '${item.x}', value: 1}}"
    last = "{id: l, type: filter, input: '${jobs.f.output}', where: {input: '${item.x} ${item.y}', value: 1}}"
    assert gaps(tmp_path, f"[{each}, {kept}, {last}]", "x") == [("item.y", "an item may have no y")]
    mapped = each.replace("id: e", "id: e, output: ['${output}']")
    assert gaps(tmp_path, f"[{mapped}, {kept}]", "x") == [("item.x", "an item may have no x")]


def test_an_error_is_missing_where_others_lead_as_well(tmp_path: Path) -> None:
    failing = "{id: a, component: writer, on_error: {to: b}}"
    rescue = "{id: b, component: writer, input: {prompt: '${error.message}'}}"
    assert gaps(tmp_path, f"[{failing}, {rescue}]", "x") == []
    router = "{id: r, type: switch, input: '${input.k | x}', value: x, then: b}"
    assert gaps(tmp_path, f"[{failing}, {rescue}, {router}]", "x") == [
        ("error.message", "r leads here without an error")
    ]
