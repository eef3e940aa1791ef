"""What the tests of the OpenAI doors ask, with the official client and without it."""

import json
from typing import Any

import httpx
from openai import OpenAI

from tests.services.router.rig import Stack, http

TOKEN = "secret"
HANG = json.dumps({"hang": True})


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content if isinstance(content, str) else json.dumps(content)}]


def post(doors: Stack, path: str, body: Any, **options: Any) -> httpx.Response:
    """Without the client, for what it cannot send."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return http("POST", f"{doors.router.address}/v1/{path}", **({"headers": headers, "json": body} | options))


def sent(client: OpenAI, model: str = "chat", **parameters: Any) -> dict[str, Any]:
    """The fields that reach the task."""
    answer = client.chat.completions.create(model=model, messages=user({"fields": True}), **parameters)
    fields = json.loads(answer.choices[0].message.content or "")
    del fields["messages"]
    return dict(fields)


def authorized(doors: Stack, path: str) -> Any:
    return doors.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).json()
