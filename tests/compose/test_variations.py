"""Every documented variation of a file loads, and the router is told what it says."""

from pathlib import Path
from typing import Any

import pytest

from services.router.compiling import compile_graph
from tests.compose.loading import calls, fields, load, models, plan, router

pytestmark = pytest.mark.unit

CHAT_MESSAGES = [
    {"role": "system", "content": "${input.system_prompt}"},
    {"role": "user", "content": "${input.user_prompt}"},
]


@pytest.mark.parametrize(
    ("first", "second", "task"),
    [
        ("microsoft/DialoGPT-medium", "HuggingFaceH4/zephyr-7b-beta", "chat-completion"),
        ("microsoft/DialoGPT-small", "EleutherAI/gpt-neo-1.3B", "text-generation"),
    ],
)
def test_of_two_models_in_one_mapping_the_last_counts(tmp_path: Path, first: str, second: str, task: str) -> None:
    loaded = load(
        tmp_path,
        f"""
        component:
          type: model
          task: {task}
          model: {first}
          # or
          model: {second}
        """,
    )
    assert [component.model for component in models(loaded)] == [second]
    (warning,) = loaded.warnings
    assert warning.startswith("model-compose.yml:7:3: `model` ")
    assert "line 5" in warning


COMPONENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing but the model, chat": (
        """
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
        """,
        {"messages": CHAT_MESSAGES},
    ),
    "nothing but the model, generation": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
        """,
        {"text": "${input.prompt as text}"},
    ),
    "messages inline with params": (
        """
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          messages:
            - role: system
              content: ${input.system_prompt}
            - role: user
              content: ${input.user_prompt}
          params:
            max_length: 2048
            temperature: ${input.temperature as number | 0.7}
            do_sample: true
            pad_token_id: 50256
        """,
        {
            "messages": CHAT_MESSAGES,
            "max_length": 2048,
            "temperature": "${input.temperature as number | 0.7}",
            "do_sample": True,
            "pad_token_id": 50256,
        },
    ),
    "several turns": (
        """
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          messages:
            - role: system
              content: ${input.system_prompt | "You are a helpful assistant."}
            - role: user
              content: ${input.conversation_history[0].content}
            - role: assistant
              content: ${input.conversation_history[0].response}
            - role: user
              content: ${input.user_prompt}
        """,
        {
            "messages": [
                {"role": "system", "content": '${input.system_prompt | "You are a helpful assistant."}'},
                {"role": "user", "content": "${input.conversation_history[0].content}"},
                {"role": "assistant", "content": "${input.conversation_history[0].response}"},
                {"role": "user", "content": "${input.user_prompt}"},
            ]
        },
    ),
    "text with parameters from the input": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          text: ${input.prompt as text}
          params:
            max_output_length: 1024
            temperature: ${input.temperature as number | 0.7}
            top_p: ${input.top_p as number | 0.9}
            do_sample: true
        """,
        {
            "text": "${input.prompt as text}",
            "max_output_length": 1024,
            "temperature": "${input.temperature as number | 0.7}",
            "top_p": "${input.top_p as number | 0.9}",
            "do_sample": True,
        },
    ),
    "many parameters": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          params:
            max_output_length: 32768
            temperature: 0.7
            top_p: 0.9
            top_k: 50
            repetition_penalty: 1.1
            do_sample: true
        """,
        {
            "text": "${input.prompt as text}",
            "max_output_length": 32768,
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 50,
            "repetition_penalty": 1.1,
            "do_sample": True,
        },
    ),
    "a block scalar": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          text: |
            ### Instruction:
            ${input.instruction}

            ### Response:
        """,
        {"text": "### Instruction:\n${input.instruction}\n\n### Response:\n"},
    ),
    "an expression with a colon in a plain scalar": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          text: ${input.template | "Generate text about: ${input.topic}"}
        """,
        {"text": '${input.template | "Generate text about: ${input.topic}"}'},
    ),
    "parameters on the action and under params": (
        """
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          max_concurrent_count: 1
          action:
            prompt: ${input.prompt}
            temperature: "0.5"
            params: {seed: random, stop_sequences: END, top_k: 10.0}
        """,
        {"prompt": "${input.prompt}", "temperature": 0.5, "seed": "random", "stop_sequences": ["END"], "top_k": 10},
    ),
    "one message and an expression for all of them": (
        """
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          messages: {role: user, content: "${input.question}"}
        """,
        {"messages": [{"role": "user", "content": "${input.question}"}]},
    ),
    "messages from the input": (
        """
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          messages: ${input.messages as json}
        """,
        {"messages": "${input.messages as json}"},
    ),
}


@pytest.mark.parametrize(("text", "expected"), COMPONENTS.values(), ids=COMPONENTS)
def test_a_component_alone_is_a_whole_file(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    loaded = load(tmp_path, text)
    assert fields(loaded) == expected
    (workflow,) = router(loaded).workflows
    assert (workflow.id, workflow.default, workflow.output) == ("__workflow__", True, None)
    assert [(job.id, job.input) for job in calls(workflow)] == [("__job__", None)]
    assert (plan(loaded).api_url, plan(loaded).page_url) == ("http://127.0.0.1:8080/api", "http://127.0.0.1:8081")
    compile_graph(router(loaded))


def test_a_batch_repeats_a_job_of_an_unnamed_component(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        workflow:
          title: Batch Text Generation
          jobs:
            - id: generate-multiple
              component: text-generator
              repeat_count: ${input.batch_size}
              input:
                prompt: ${input.prompts[${index}]}
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          text: ${input.prompt as text}
        """,
    )
    (workflow,) = router(loaded).workflows
    (job,) = workflow.jobs
    assert job.model_dump(exclude_defaults=True) == {
        "id": "generate-multiple",
        "component": "text-generation",
        "action": "__action__",
        "input": {"prompt": "${input.prompts[${index}]}"},
        "repeat_count": "${input.batch_size}",
    }
    compile_graph(router(loaded))


@pytest.mark.parametrize(
    "model",
    [
        "microsoft/DialoGPT-large",
        "EleutherAI/gpt-neo-2.7B",
        "Salesforce/codegen-350M-mono",
        "facebook/blenderbot-400M-distill",
        "HuggingFaceTB/SmolLM3-1.7B",
        "gpt2",
    ],
)
def test_a_hub_model_keeps_its_name(tmp_path: Path, model: str) -> None:
    loaded = load(tmp_path, f"component: {{type: model, task: text-generation, model: {model}}}")
    (component,) = loaded.spec.models
    assert (component.model.provider, component.model.repository) == ("huggingface", model)


@pytest.mark.parametrize("path", ["./model", "../models/tiny", "/srv/models/tiny", "~/models/tiny", "models/tiny/"])
def test_a_model_that_looks_like_a_path_is_local(tmp_path: Path, path: str) -> None:
    loaded = load(tmp_path, f"component: {{type: model, task: text-generation, model: {path}}}")
    (component,) = loaded.spec.models
    assert (component.model.provider, component.model.path, component.model.repository) == ("local", path, None)


CHAT = {
    "older": """
        controller:
          type: http-server
          port: 8080
          base_path: /api
          webui:
            driver: gradio
            port: 8081
        workflow:
          title: Generate Chat Messages
          description: Generate chat messages.
          input: ${input}
          output:
            generated: ${output}
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          messages:
            - role: system
              content: ${input.system_prompt}
            - role: user
              content: ${input.user_prompt}
        """,
    "newer": """
        controller:
          adapter:
            type: http-server
            port: 8080
            base_path: /api
          webui:
            driver: gradio
            port: 8081
        workflow:
          title: Generate Chat Messages
          description: Generate chat messages.
          job:
            input: ${input}
          output:
            generated: ${output}
        component:
          type: model
          task: chat-completion
          model: HuggingFaceTB/SmolLM3-3B
          action:
            messages:
              - role: system
                content: ${input.system_prompt}
              - role: user
                content: ${input.user_prompt}
        """,
    "newest": """
        controller:
          adapters:
            - type: http-server
              port: 8080
              base_path: /api
          webui:
            driver: gradio
            port: 8081
        workflows:
          - title: Generate Chat Messages
            description: Generate chat messages.
            jobs:
              - type: action
                input: ${input}
            output:
              generated: ${output}
        components:
          - type: model
            task: chat-completion
            model: {provider: huggingface, repository: HuggingFaceTB/SmolLM3-3B}
            actions:
              - messages:
                  - role: system
                    content: ${input.system_prompt}
                  - role: user
                    content: ${input.user_prompt}
        """,
}
GENERATION = {
    "older": """
        controller: {type: http-server, port: 8080, base_path: /api, webui: {driver: gradio, port: 8081}}
        workflow:
          title: Generate Text from Prompt
          input: ${input}
          output:
            generated: ${output}
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          text: ${input.prompt as text}
          params:
            max_output_length: 32768
        """,
    "newer": """
        controller:
          adapter: {type: http-server, port: 8080, base_path: /api}
          webui: {driver: gradio, port: 8081}
        workflow:
          title: Generate Text from Prompt
          job: {input: "${input}"}
          output:
            generated: ${output}
        component:
          type: model
          task: text-generation
          model: HuggingFaceTB/SmolLM3-3B
          action:
            text: ${input.prompt as text}
            params:
              max_output_length: 32768
        """,
}


@pytest.mark.parametrize("examples", [CHAT, GENERATION], ids=["chat", "generation"])
def test_both_dialects_of_an_example_mean_the_same(tmp_path: Path, examples: dict[str, str]) -> None:
    settings = [router(load(tmp_path, text)) for text in examples.values()]
    assert all(other == settings[0] for other in settings)


def test_the_chat_example_has_the_documented_schema(tmp_path: Path) -> None:
    graph = compile_graph(router(load(tmp_path, CHAT["older"])))
    schema = graph.workflow(None).schema
    assert schema["title"] == "Generate Chat Messages"
    assert [(item["name"], item["type"], item["required"]) for item in schema["input"]] == [
        ("system_prompt", "text", False),
        ("user_prompt", "text", True),
    ]
    assert schema["output"] == [{"name": "generated", "type": "text"}]


EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/**/model-compose.yml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_of_the_repository_loads_without_a_warning(example: Path) -> None:
    from compose.loader import load_spec

    loaded = load_spec([example], environ={})
    assert loaded.warnings == ()
    compile_graph(router(loaded))
