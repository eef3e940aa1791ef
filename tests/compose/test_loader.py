from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.loader import InvalidFile, Loaded, load_spec
from infra.errors import ExitCode, UserError
from services.router.compiling import compile_graph
from tests.compose.loading import load, router

pytestmark = pytest.mark.unit

COMPONENT = "component: {type: model, task: text-generation, model: acme/tiny}\n"
WITH_PORT = "controller: {port: '${env.PORT | 8080}'}\n" + COMPONENT


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def port(loaded: Loaded) -> int:
    return loaded.spec.controller.adapter.port


def test_the_file_is_found_by_its_name_yml_before_yaml(tmp_path: Path) -> None:
    (tmp_path / "model-compose.yaml").write_text("controller: {port: 2}\n" + COMPONENT)
    assert port(load_spec(directory=tmp_path, environ={})) == 2
    (tmp_path / "model-compose.yml").write_text("controller: {port: 1}\n" + COMPONENT)
    loaded = load_spec(directory=tmp_path, environ={})
    assert (port(loaded), loaded.files, loaded.directory) == (1, (tmp_path / "model-compose.yml",), tmp_path)


def test_without_a_file_the_way_to_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_spec(directory=tmp_path, environ={})
    assert caught.value.message == f"there is no model-compose.yml or model-compose.yaml in {tmp_path}"
    assert caught.value.hint == "`model-compose init` writes one, `-f FILE` names another"
    assert caught.value.exit_code == ExitCode.FILE


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"
    with pytest.raises(UserError, match=f"cannot read {missing}: it does not exist"):
        load_spec([missing], environ={})
    with pytest.raises(UserError, match=f"cannot read {tmp_path}: it is a folder"):
        load_spec([tmp_path], environ={})


def test_the_strongest_value_of_a_variable_counts(tmp_path: Path) -> None:
    write(tmp_path, base__yml=WITH_PORT, one__env="PORT=3\n", two__env="PORT=4\n")
    file = [tmp_path / "base.yml"]
    assert port(load_spec(file, environ={})) == 8080
    (tmp_path / ".env").write_text("PORT=2\n")
    assert port(load_spec(file, environ={})) == 2
    env_files = [tmp_path / "one.env", tmp_path / "two.env"]
    assert port(load_spec(file, env_files=env_files, environ={})) == 4
    assert port(load_spec(file, env_files=env_files, environ={"PORT": "5"})) == 5
    assert port(load_spec(file, env_files=env_files, environ={"PORT": "5"}, env={"PORT": "6"})) == 6


def test_an_environment_file_that_cannot_be_read_is_an_error_with_its_place_and_shows_no_line(tmp_path: Path) -> None:
    write(tmp_path, base__yml=COMPONENT, bad__env="GOOD=1\nHF_TOKEN hf_sentinel\n")
    with pytest.raises(InvalidFile) as caught:
        load_spec([tmp_path / "base.yml"], env_files=[tmp_path / "bad.env"], environ={})
    assert caught.value.message == f"{tmp_path / 'bad.env'}:2:1: cannot read: this line is not `NAME=VALUE`"


def test_the_environment_file_beside_a_file_that_was_found_is_called_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, **{"model-compose__yml": COMPONENT, "__env": "not a variable\n"})
    with pytest.raises(InvalidFile, match=r"^\.env:1:1: cannot read: "):
        load_spec(directory=tmp_path, environ={})


def test_no_problem_tells_a_secret(tmp_path: Path) -> None:
    text = "controller: {port: '${env.API_TOKEN}', auth: {token: sentinel}}\n" + COMPONENT.replace("model", "modle", 1)
    with pytest.raises(InvalidFile) as caught:
        load(tmp_path, text, API_TOKEN="sentinel2")
    assert "`port` must be a whole number, not `***`" in caught.value.message
    assert "sentinel" not in caught.value.message


def test_later_files_win_and_maps_merge(tmp_path: Path) -> None:
    write(
        tmp_path,
        base__yml="controller: {port: 1, origins: [http://a, http://b]}\n" + COMPONENT,
        over__yml="controller: {origins: [http://c]}\ncomponent: {device: cpu}\n",
    )
    loaded = load_spec([tmp_path / "base.yml", tmp_path / "over.yml"], environ={})
    adapter = loaded.spec.controller.adapter
    assert (adapter.port, adapter.origins) == (1, ("http://c",))
    assert (loaded.spec.models[0].task, loaded.spec.models[0].device) == ("text-generation", "cpu")


def test_problems_of_several_files_name_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, base__yml=COMPONENT + "a: 1\n", over__yml="b: 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidFile) as caught:
        load_spec([Path("base.yml"), Path("over.yml")], environ={})
    assert [str(problem) for problem in caught.value.problems] == [
        "base.yml:2:1: wrong shape: unknown key `a` at the top of the file",
        "over.yml:1:1: wrong shape: unknown key `b` at the top of the file",
    ]


def test_the_value_of_a_variable_is_never_an_expression(tmp_path: Path) -> None:
    loaded = load(tmp_path, "workflow: {title: '${env.TITLE}'}\n" + COMPONENT, TITLE="${input.x} #1: yes")
    assert loaded.spec.workflows[0].title == "${input.x} #1: yes"


def test_the_digest_changes_with_what_the_file_asks_for_and_nothing_else(tmp_path: Path) -> None:
    first = load(tmp_path, WITH_PORT).digest
    assert load(tmp_path, "# a comment\n" + WITH_PORT, UNRELATED="1").digest == first
    assert load(tmp_path, WITH_PORT, PORT="8080").digest != first
    assert load(tmp_path, WITH_PORT, PORT="9").digest != first


WARNED = """
workflow:
  jobs:
    - id: ask
      input: {prompt: "${input.question}", promt: "${input.question as tekst}"}
components:
  - type: model
    task: text-generation
    model: acme/tiny
    max_concurrent_count: 1
    chat_template: "{{ messages }}"
"""


def test_what_is_accepted_but_doubtful_is_a_warning(tmp_path: Path) -> None:
    assert load(tmp_path, WARNED).warnings == (
        "model-compose.yml:5:44: the action reads no input `promt`; did you mean `prompt`?",
        "model-compose.yml:5:52: the type `tekst` is not known, so the value stays as it is; did you mean `text`?",
        "model-compose.yml:10:27: with `max_concurrent_count: 1` requests run one after the other, never in a batch; "
        "leave it out to let the engine decide",
        "model-compose.yml:11:20: `chat_template` means nothing to text-generation",
    )


DATA: Mapping[str, object] = {
    "controller": {
        "adapter": {"type": "http-server", "port": 8080},
        "webui": {"driver": "gradio"},
        "auth": {"token": "secret"},
        "runtime": "process",
    },
    "components": [
        {"id": "a", "type": "model", "task": "chat-completion", "model": {"repository": "acme/tiny"}, "default": True},
        {"id": "b", "type": "model", "task": "text-generation", "model": "./here", "actions": [{"text": "${input.x}"}]},
    ],
    "workflow": {
        "jobs": [
            {"id": "one", "component": "a", "input": {"user_prompt": "${input.q}"}},
            {"id": "two", "component": "b", "depends_on": ["one"], "input": {"x": "${jobs.one.output}"}},
        ],
        "output": {"answer": "${jobs.two.output}"},
    },
}
ODD: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(["", "a", "__job__", "${", "${env.X}", "${jobs.one.output.x}", "docker", "${output}", "0.0.0.0"]),
    st.sampled_from([[], {}, [[]], [None], {"id": None}, {"a": {}}, ["a", "a"], {"type": "model"}]),
)


def _places(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for key, item in items for place in _places(item, (*here, key))]


def _replaced(value: object, place: tuple[str | int, ...], odd: object) -> object:
    if not place:
        return odd
    if isinstance(value, dict):
        return {key: _replaced(item, place[1:], odd) if key == place[0] else item for key, item in value.items()}
    assert isinstance(value, list)
    return [_replaced(item, place[1:], odd) if index == place[0] else item for index, item in enumerate(value)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_places(DATA)), ODD)
def test_any_odd_value_anywhere_serves_or_is_refused_in_our_words(
    tmp_path: Path, place: tuple[str | int, ...], odd: object
) -> None:
    text = yaml.safe_dump(_replaced(DATA, place, odd), sort_keys=False)
    try:
        compile_graph(router(load(tmp_path, text)))
        refusal = None
    except InvalidFile as error:
        refusal = error.message
    assert refusal is None or refusal.startswith(("model-compose.yml:", "the file has "))
