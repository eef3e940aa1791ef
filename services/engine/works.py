"""What is left to do of each job in a running batch, and what came of it: the same wherever the rows live."""

from collections import deque
from collections.abc import Collection

from services.engine.base import Finished, GenerationHost, GenerationRequest, Job, Outcome, Piece
from services.engine.row import Answer, Row
from services.engine.text import Decode
from services.errors import ServiceError


class Work:
    """What is left to do of one job. seated: its rows in the batch. at_once: rows of it that may be."""

    def __init__(self, answer: Answer) -> None:
        request = answer.job.request
        self.answer = answer
        self.waiting: deque[Row] = deque(answer.rows)
        self.seated = 0
        self.at_once = request.batch_size * request.sampling.num_return_sequences or len(answer.rows)


class Works:
    """The jobs that have rows to compute, in the order of arrival, and outcomes that the host does not know yet.

    decode: token ids -> text, special tokens left out. ends: the model's end tokens.
    """

    def __init__(self, host: GenerationHost, *, decode: Decode, ends: Collection[int]) -> None:
        self._host = host
        self._decode = decode
        self._ends = ends
        self._works: dict[Job[GenerationRequest], Work] = {}
        self._outcomes: list[Outcome[GenerationRequest, Piece | Finished]] = []

    def __bool__(self) -> bool:
        """Whether there is anything to compute or to tell."""
        return bool(self._works or self._outcomes)

    def __contains__(self, job: Job[GenerationRequest]) -> bool:
        return job in self._works

    @property
    def unfinished(self) -> Collection[Work]:
        return self._works.values()

    @property
    def cancelled(self) -> list[Job[GenerationRequest]]:
        """Those that nobody waits for any more."""
        return [job for job in self._works if job.cancelled]

    def add(self, job: Job[GenerationRequest]) -> Work:
        work = self._works[job] = Work(Answer(job, decode=self._decode, ends=self._ends))
        return work

    def drop(self, job: Job[GenerationRequest]) -> None:
        """Forget a job without a word."""
        self._works.pop(job, None)

    def fail(self, job: Job[GenerationRequest], error: ServiceError) -> None:
        """End a job, one that was never added, too."""
        self.drop(job)
        self._outcomes.append((job, error))

    def push(self, row: Row, token: int) -> None:
        """Give a row its next token; the row says whether it is done."""
        text = row.push(token)
        if text and row.job.request.stream:
            self._outcomes.append((row.job, row.piece(text)))

    def leave(self, row: Row) -> None:
        """A row that is done left the batch; its job ends with the last one."""
        work = self._works[row.job]
        work.seated -= 1
        if not work.seated and not work.waiting:
            del self._works[row.job]
            self._outcomes.append((row.job, work.answer.finished()))

    def report(self) -> None:
        """Tell the host what came since the last time."""
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            self._host.emit(outcomes)

    def clear(self) -> None:
        self._works.clear()
        self._outcomes.clear()
