"""The table of tasks: what each of them reads, how it may be asked to answer, and what the answer is."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.catalog.fields import MAX_COUNT, MAX_SEED, Field

Network = Literal["text", "sequence-to-sequence", "embedding", "classification"]
"""What kind of network a task needs; `text` is any that writes, with an encoder or without."""


@dataclass(frozen=True, slots=True)
class Part:
    """One key of a result that is an object. word: its type, in an expression's words.

    flag: the parameter that decides whether it is there, and what that is when an action does not say; None: always.
    """

    word: str
    flag: str | None = None
    by_default: bool = True


@dataclass(frozen=True, slots=True)
class TaskType:
    """One task: where its code is, and what its actions may say."""

    name: str
    module: str
    network: Network
    fields: Mapping[str, Field]
    """What the model reads."""
    parameters: Mapping[str, Field]
    """How it answers; on the action or under `params`."""
    defaults: Mapping[str, Any]
    """Templates for fields that an action leaves out."""
    streams: bool
    """Whether the answer grows piece by piece."""
    result: str
    """Type of one result in an expression's words."""
    item: str | None = None
    """What a list holds, where that is no object."""
    parts: Mapping[str, Part] = dataclasses.field(default_factory=dict)
    """What an object holds, or each object of a list."""
    same_as: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Fields that are given in place of another one."""

    def field(self, name: str) -> Field | None:
        """The field or parameter of this name."""
        return self.fields.get(name) or self.parameters.get(name)


def _table(*fields: Field) -> dict[str, Field]:
    return {item.name: item for item in fields}


_STREAMING = Field("streaming", "boolean", "send the answer as it is made")
_BATCH_SIZE = Field(
    "batch_size", "integer", "inputs of one list computed together at most", minimum=1, maximum=MAX_COUNT
)
_MAX_INPUT_LENGTH = Field(
    "max_input_length", "integer", "tokens of the input that are kept", minimum=1, maximum=MAX_COUNT
)

GENERATION = _table(
    Field("max_output_length", "integer", "new tokens at most", minimum=1, maximum=MAX_COUNT),
    Field("max_length", "integer", "tokens of prompt and continuation at most", minimum=1, maximum=MAX_COUNT),
    Field("min_output_length", "integer", "new tokens at least", minimum=0, maximum=MAX_COUNT),
    _MAX_INPUT_LENGTH,
    Field("temperature", "number", "spread of the sampling; 0 is greedy", minimum=0, maximum=100),
    Field("top_p", "number", "share of probability to sample from", minimum=0, maximum=1, above=True),
    Field("top_k", "integer", "number of tokens to sample from; 0 is all", minimum=0, maximum=MAX_COUNT),
    Field("repetition_penalty", "number", "above 1 discourages repeats", minimum=0.01, maximum=100),
    Field("do_sample", "boolean", "sample, or take the likeliest token"),
    Field("num_return_sequences", "integer", "answers to one input", minimum=1, maximum=64),
    Field("stop_sequences", "text-list", "texts that end the answer"),
    Field("seed", "seed", "a whole number, or random", minimum=0, maximum=MAX_SEED),
    Field("num_beams", "integer", "beams of a beam search", minimum=1, maximum=64),
    Field("length_penalty", "number", "above 0 favours long beams", minimum=-5, maximum=5),
    Field("early_stopping", "early-stopping", "when a beam search ends: true, false or never"),
    Field("pad_token_id", "integer", "accepted, and never used as input"),
    _BATCH_SIZE,
    _STREAMING,
)
_ENCODING = _table(_MAX_INPUT_LENGTH, _BATCH_SIZE, _STREAMING)


def _text_to_text(name: str, description: str) -> TaskType:
    """One of the names for what an encoder-decoder network does."""
    return TaskType(
        name=name,
        module="services.tasks.text_to_text",
        network="sequence-to-sequence",
        fields=_table(Field("text", "text-or-list", description)),
        parameters=GENERATION,
        defaults={"text": "${input.text as text}"},
        streams=True,
        result="text",
    )


_TASKS = (
    TaskType(
        name="chat-completion",
        module="services.tasks.chat_completion",
        network="text",
        fields=_table(Field("messages", "messages", "the conversation so far")),
        parameters={**GENERATION, **_table(Field("reasoning", "boolean", "let the model think aloud first"))},
        defaults={
            "messages": [
                {"role": "system", "content": "${input.system_prompt}"},
                {"role": "user", "content": "${input.user_prompt}"},
            ]
        },
        streams=True,
        result="text",
    ),
    TaskType(
        name="text-generation",
        module="services.tasks.text_generation",
        network="text",
        fields=_table(
            Field("text", "text-or-list", "the prompt; the answer repeats it"),
            Field("prompt", "text-or-list", "the prompt; the answer leaves it out"),
        ),
        parameters={
            **GENERATION,
            **_table(Field("return_full_text", "boolean", "whether the answer repeats the prompt")),
        },
        defaults={"text": "${input.prompt as text}"},
        streams=True,
        result="text",
        same_as={"prompt": "text"},
    ),
    _text_to_text("text-to-text", "what is made into another text"),
    _text_to_text("summarization", "what is summed up"),
    _text_to_text("translation", "what is translated"),
    TaskType(
        name="text-embedding",
        module="services.tasks.text_embedding",
        network="embedding",
        fields=_table(Field("text", "text-or-list", "what becomes a vector")),
        parameters={
            **_table(
                Field("pooling", "choice", "how the tokens' vectors become one", choices=("mean", "cls", "max")),
                Field("normalize", "boolean", "scale the vector to length 1"),
            ),
            **_ENCODING,
        },
        defaults={"text": "${input.text}"},
        streams=False,
        result="list",
        item="number",
    ),
    TaskType(
        name="text-classification",
        module="services.tasks.text_classification",
        network="classification",
        fields=_table(Field("text", "text-or-list", "what gets a label")),
        parameters={
            **_table(Field("return_probabilities", "boolean", "add the probability of every label")),
            **_ENCODING,
        },
        defaults={"text": "${input.text}"},
        streams=False,
        result="object",
        parts={
            "label": Part("text"),
            "label_id": Part("integer"),
            "score": Part("number"),
            "probabilities": Part("list", "return_probabilities", by_default=False),
        },
    ),
    TaskType(
        name="text-reranking",
        module="services.tasks.text_reranking",
        network="classification",
        fields=_table(
            Field("query", "text", "what is looked for"),
            Field("documents", "documents", "where it is looked for: a list of texts, or of objects that hold one"),
        ),
        parameters={
            **_table(
                Field("document_field", "text", "the key of a document's text, when documents are objects"),
                Field("top_k", "integer", "documents in the answer at most", minimum=1, maximum=MAX_COUNT),
                Field("score_threshold", "number", "documents with a lower score are left out"),
                Field("return_documents", "boolean", "whether the answer holds the documents themselves"),
            ),
            **_ENCODING,
        },
        defaults={"query": "${input.query}", "documents": "${input.documents}"},
        streams=False,
        result="list",
        parts={
            "index": Part("integer"),
            "score": Part("number"),
            "document": Part("json", "return_documents"),
        },
    ),
)

TASKS: dict[str, TaskType] = {task.name: task for task in _TASKS}
