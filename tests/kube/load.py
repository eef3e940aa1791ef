"""Clients of a router whose pods come and go: what they were answered, and what they were promised."""

import itertools
import json
import uuid
from collections import Counter
from http import HTTPStatus
from typing import Any

from tests.clients import Clients
from tests.conformance.folder import wait_until
from tests.kube.cluster import ASK_S, Answer, Cluster, NobodyThereError
from tests.kube.project import TOKEN

RUNS = "/api/workflows/runs"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
NOBODY = "nobody there"
_BETWEEN_S = 0.2
_KEPT = 4
"""One run of so many is asynchronous."""


def ask_run(cluster: Cluster, prompt: str, key: str | None = None) -> Answer:
    """One run, asynchronous when it has a key to be known by. Raises ConnectionError."""
    body: dict[str, Any] = {"input": {"user_prompt": prompt}}
    headers = {"Content-Type": "application/json", **AUTHORIZATION}
    if key is not None:
        body["wait_for_completion"] = False
        headers["Idempotency-Key"] = key
    return cluster.ask("router", RUNS, json.dumps(body), **headers)


class Load(Clients):
    """without_when: refusals that do not say when to try again. accepted: the ids of asynchronous runs."""

    def __init__(self, cluster: Cluster, clients: int) -> None:
        super().__init__(clients)
        self.without_when: list[Answer] = []
        self.accepted: list[str] = []
        self._cluster = cluster

    def until_answered(self, count: int) -> None:
        """Until so many more runs are completed, and one more is accepted for later."""
        answered, accepted = self.answers[HTTPStatus.OK] + count, len(self.accepted)
        wait_until(
            lambda: self.answers[HTTPStatus.OK] >= answered and len(self.accepted) > accepted, timeout_s=2 * ASK_S
        )

    def ends(self) -> Counter[str]:
        """How the accepted runs ended, all of them."""
        ended: Counter[str] = Counter()
        for each in self.accepted:
            run: dict[str, Any] = {}

            def has_ended(task_id: str = each, run: dict[str, Any] = run) -> bool:
                answer = self._cluster.ask("router", f"/api/tasks/{task_id}", **AUTHORIZATION)
                run.update(json.loads(answer.body))
                assert answer.status == HTTPStatus.OK, run
                return run["status"] not in ("pending", "processing")

            wait_until(has_ended, timeout_s=2 * ASK_S)
            ended[" ".join([run["status"], (run.get("error") or {}).get("code", "")]).strip()] += 1
        return ended

    def ask(self, client: int) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            key = uuid.uuid4().hex if number % _KEPT == 0 else None
            answer = self._one(f"Tell me a story. {client} {number}", key)
            while key and answer == NOBODY:  # with its key a run may be asked for as often as it takes
                self.over.wait(_BETWEEN_S)
                answer = self._one(f"Tell me a story. {client} {number}", key)
            self.answers[answer] += 1
            if answer not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                self.over.wait(_BETWEEN_S)

    def _one(self, prompt: str, key: str | None) -> int | str:
        try:
            answer = ask_run(self._cluster, prompt, key)
        except NobodyThereError:
            return NOBODY
        except OSError as error:  # also after ASK_S: who hangs is lost too
            return f"lost: {error!r}"
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" not in answer.headers:
            self.without_when.append(answer)
        if answer.status == HTTPStatus.ACCEPTED:
            self.accepted.append(json.loads(answer.body)["task_id"])
        return answer.status
