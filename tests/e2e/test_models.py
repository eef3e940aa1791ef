"""The models that the documents name are fetched by name, converted where needed, and served under their tasks."""

import pytest

from tests.e2e.project import Project

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("chat-completion", "microsoft/DialoGPT-large"),
        ("chat-completion", "HuggingFaceH4/zephyr-7b-beta"),
        ("chat-completion", "facebook/blenderbot-400M-distill"),
        ("text-generation", "facebook/blenderbot-400M-distill"),
        ("text-generation", "EleutherAI/gpt-neo-2.7B"),
        ("text-generation", "Salesforce/codegen-350M-mono"),
    ],
)
def test_a_documented_model_is_served(project: Project, task: str, model: str) -> None:
    params = "{max_output_length: 8, do_sample: false}"
    project.write(f"component: {{type: model, task: {task}, model: {model}, params: {params}}}\n")
    name = "user_prompt" if task == "chat-completion" else "prompt"
    ran = project.command("run", "--input", f'{{"{name}": "def hello_world(name):"}}')
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_documented_models_that_do_not_write_are_served_beside_each_other(project: Project) -> None:
    models = {
        "text-embedding": "sentence-transformers/all-MiniLM-L6-v2",
        "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "text-reranking": "cross-encoder/ms-marco-MiniLM-L6-v2",
    }
    components = [f"  - {{id: {task}, type: model, task: {task}, model: {name}}}" for task, name in models.items()]
    workflows = [f"  - {{id: {task}, component: {task}}}" for task in models]
    project.write(project.with_controller("\n".join(["components:", *components, "workflows:", *workflows, ""])))
    with project.running():
        vectors = project.run({"text": ["one", "two"]}, workflow_id="text-embedding").body["output"]
        label = project.run({"text": "A fine day"}, workflow_id="text-classification").body["output"]
        ranking = project.run({"query": "a", "documents": ["b", "a"]}, workflow_id="text-reranking").body["output"]
    assert [len(vector) for vector in vectors] == [32, 32]
    assert label.keys() == {"label", "label_id", "score"}
    assert sorted(item["index"] for item in ranking) == [0, 1]


def test_a_documented_embedder_serves_the_official_openai_client(project: Project) -> None:
    from openai import OpenAI

    model = "sentence-transformers/all-MiniLM-L6-v2"
    component = f"component: {{type: model, task: text-embedding, model: {model}}}\n"
    project.write(project.with_controller(component))
    texts = ["The sea is calm.", "Rain again"]
    with project.running(), OpenAI(base_url=f"http://127.0.0.1:{project.port}/v1", api_key="none") as client:
        answer = client.embeddings.create(model=model, input=texts)
        named = [name.id for name in client.models.list()]
        alone = project.run({"text": texts[1]}).body["output"]
    vectors = [item.embedding for item in answer.data]
    assert [len(vector) for vector in vectors] == [32, 32]
    assert vectors[1] == pytest.approx(alone, abs=1e-5)
    assert answer.usage.prompt_tokens > len(texts)
    assert named == ["text-embedding"]


def test_a_model_that_does_not_exist_is_one_sentence(project: Project) -> None:
    project.write("component: {type: model, task: chat-completion, model: HuggingFaceTB/SmolLM3-1.7B}\n")
    started = project.command("up")
    assert started.returncode == 4
    assert "HuggingFaceTB/SmolLM3-1.7B" in started.stderr
    assert "Traceback" not in started.stdout + started.stderr
    assert not (project.folder / ".model-compose" / "state.json").exists()


def test_equal_requests_get_equal_answers_and_the_hub_is_asked_once(project: Project) -> None:
    project.write(
        project.with_controller(
            "component: {type: model, task: chat-completion, model: HuggingFaceTB/SmolLM3-3B, "
            "params: {max_output_length: 12}}\n"
        )
    )
    with project.running():
        first, second = project.run({"user_prompt": "Hello"}), project.run({"user-prompt": "Hello"})
        assert first.status == 200
        assert first.body["output"] == second.body["output"]
        assert first.body["usage"]["seed"] == second.body["usage"]["seed"]
        other = project.run({"user_prompt": "Good morning"})
        assert other.body["usage"]["seed"] != first.body["usage"]["seed"]
