"""The doors under `/v1`: the file's model components for OpenAI's clients, on the same road as every other run."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.errors import ServiceError
from services.router.analysis.inputs import Inputs
from services.router.analysis.outputs import Piped
from services.router.core import Core
from services.router.doors.answers import json_response, large_response
from services.router.doors.body import read_body
from services.router.doors.openai_answers import (
    Answer,
    ChatAnswer,
    ChoiceAnswer,
    TextAnswer,
    VectorAnswer,
    model_json,
    models_json,
)
from services.router.doors.openai_requests import CHAT, COMPLETIONS, DIALECTS, EMBEDDINGS, Dialect, Order, parse_order
from services.router.doors.sse import Channel
from services.router.doors.waiting import RunStream, cancelled_when_gone, client_of, failed_early
from services.router.graph import Action, CallWork, Component, Job, ModelCall, Workflow
from services.router.messages import Run, RunRequest, RunStatus
from services.router.names import listed
from services.router.settings import ComponentSettings

_JOB = "__job__"


class OpenAIApi:
    """Models are the file's model components. A request is a run of a workflow that only asks one of them.

    Its parameters stand above those of the component's default action, or of its first one; the action's own messages
    or text, and its output, are left out, because the client says everything itself.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._created = int(time.time())
        settings = [item for item in core.settings.components if isinstance(item, ComponentSettings)]
        default_first = sorted(settings, key=lambda item: not item.default)
        self._models = [_model(item, core.graph.components[item.id]) for item in default_first]

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self.list_models),
            Route("/v1/models/{model:path}", self.show_model),
            Route(CHAT.path, self.chat, methods=["POST"]),
            Route(COMPLETIONS.path, self.complete, methods=["POST"]),
            Route(EMBEDDINGS.path, self.embed, methods=["POST"]),
        ]

    async def list_models(self, _: Request) -> Response:
        return json_response(models_json(list(self._core.graph.components), self._created))

    async def show_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        self._known(name)
        return json_response(model_json(name, self._created))

    async def chat(self, request: Request) -> Response:
        return await self._run(request, CHAT, ChatAnswer)

    async def complete(self, request: Request) -> Response:
        return await self._run(request, COMPLETIONS, TextAnswer)

    async def embed(self, request: Request) -> Response:
        return await self._run(request, EMBEDDINGS, VectorAnswer)

    async def _run(self, request: Request, dialect: Dialect, form: type[Answer]) -> Response:
        body = await read_body(request.headers, request.receive, self._core.settings.max_body_bytes)
        order = parse_order(body, dialect)
        workflow = _workflow(self._choose(order.model, dialect), order)
        asked = RunRequest(
            workflow.id, session_id=order.user, metadata=order.metadata, client=client_of(request, order.user)
        )
        answer = form(order)
        if order.stream and isinstance(answer, ChoiceAnswer):
            return await self._stream(request, workflow, asked, answer)
        live = await self._core.runs.start(asked, request.state.request_id, workflow=workflow)
        with cancelled_when_gone(request.receive, live):
            await live.ended()
        if live.run.status is not RunStatus.COMPLETED:
            return answer.failed(live.run)
        return await large_response(answer.whole(live.run), {"X-Task-Id": live.run.task_id})

    async def _stream(self, request: Request, workflow: Workflow, asked: RunRequest, answer: ChoiceAnswer) -> Response:
        channel = Channel()
        begun: asyncio.Future[Run] = asyncio.get_running_loop().create_future()

        async def put(path: str, text: str) -> None:
            await channel.add(answer.chunk(await begun, path, text))

        live = await self._core.runs.start(asked, request.state.request_id, put, channel.end, workflow)
        begun.set_result(live.run)
        if await failed_early(request.receive, channel, live):
            return answer.failed(live.run)
        return RunStream(channel, live, answer.end)

    def _choose(self, name: str, dialect: Dialect) -> "_Model":
        """The one that a request means; raises ServiceError 400 when it cannot do what is asked."""
        found = self._known(name)
        fitting = [model for model in found if model.component.task.name == dialect.task]
        if fitting:
            return fitting[0]
        task = found[0].component.task.name
        hint = f"Use {DIALECTS[task].path}." if task in DIALECTS else None
        message = f'The model "{name[:80]}" does {task}, and this address is for {dialect.task}.'
        raise ServiceError(400, "model_not_supported", message, hint=hint, field="model")

    def _known(self, name: str) -> "list[_Model]":
        """The component of this id, or those with this model, the default one first; raises ServiceError 404."""
        found = [model for model in self._models if model.component.id == name]
        found = found or [model for model in self._models if model.component.model == name]
        if not found:
            raise ServiceError(
                404,
                "model_not_found",
                f'There is no model "{name[:80]}".',
                hint=f"Known: {listed(self._core.graph.components)}.",
                field="model",
            )
        return found


class _Model(NamedTuple):
    """A component and the action whose parameters are its defaults here."""

    component: Component
    action: Action


def _model(settings: ComponentSettings, component: Component) -> _Model:
    first, *_ = sorted(settings.actions, key=lambda action: not action.default)
    return _Model(component, component.actions[first.id])


def _workflow(model: _Model, order: Order) -> Workflow:
    """One call of the component. The order's values are constants in it, so nothing in them is ever parsed."""
    component, action = model
    replaced = set(order.fields)
    if replaced & {"temperature", "top_p"}:  # who names a spread wants sampling, whatever the file says
        replaced.add("do_sample")
    kept = [name for name in component.task.parameters if name not in replaced]
    asked = Action(
        action.id,
        {**_picked(action.constants, kept), **order.fields},
        _picked(action.templates, kept),
        output=None,
        streaming=order.stream,
    )
    call = CallWork(ModelCall(component, asked, None), None)
    text = Piped(_JOB, component.task.result)
    job = Job(_JOB, (), call, None, pipes=(("", text),))
    return Workflow(
        f"v1/{component.id}",
        (job,),
        terminal=(_JOB,),
        output=None,
        shape=text,
        inputs=Inputs((), open=True),
        streaming=order.stream,
        private=True,
        digest="",
        schema={},
    )


def _picked(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
