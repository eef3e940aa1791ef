"""The rows of the batch and the slots they live in: those that write first, then those that read, without a gap."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.engine.base import GenerationRequest, Job, Prompt
from services.engine.continuous.cache import SlotCache
from services.engine.continuous.prefixes import shared
from services.engine.row import Row


@dataclass(eq=False, slots=True)
class Seat:
    """One row in the batch.

    slot: where its keys and values are. turn: its place in the order of arrival. length: tokens that the cache holds.
    leader: the row that reads the same prompt for this one, too. begun: whether it has read something itself.
    common: tokens that its prompt begins with as well as that of an earlier row, where they have been compared.
    """

    row: Row
    slot: int
    turn: int
    leader: "Seat | None" = None
    length: int = 0
    begun: bool = False
    common: dict["Seat", int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Tokens of the prompt that have not been read."""
        return len(self.row.prompt.ids) - self.length

    def next_tokens(self, count: int) -> tuple[int, ...]:
        return self.row.prompt.ids[self.length : self.length + count]


class Seats:
    """Who sits where; keys and values move in the cache as rows come and go."""

    def __init__(self, cache: SlotCache) -> None:
        self._cache = cache
        self._seats: list[Seat] = []
        self._writing = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def writing(self) -> list[Seat]:
        """In the order of their slots, from 0 on."""
        return self._seats[: self._writing]

    @property
    def reading(self) -> list[Seat]:
        """In the order of arrival, without those for whom another one reads."""
        leaders = [seat for seat in self._seats[self._writing :] if seat.leader is None]
        return sorted(leaders, key=lambda seat: seat.turn)

    @property
    def longest(self) -> int:
        """Tokens that the longest row may come to have."""
        return max((needed(seat.row.prompt) for seat in self._seats), default=0)

    @property
    def tokens(self) -> int:
        """Held by the cache."""
        return sum(seat.length for seat in self._seats)

    def common(self, seat: Seat) -> Mapping[Seat, int]:
        """How many tokens the row begins with as well as each that came earlier and reads for itself, or has done so.

        Two rows are compared once, and not where they begin like a third one.
        """
        for other in self._seats:
            if other.turn < seat.turn and other.leader is None and other not in seat.common:
                known = max((min(count, other.common.get(third, 0)) for third, count in seat.common.items()), default=0)
                seat.common[other] = shared(seat.row.prompt.ids, other.row.prompt.ids, known)
        return seat.common

    def take(self, row: Row) -> None:
        """Add a row that has its prompt to read, unless another one of its job reads the same prompt just now."""
        before = (seat for seat in self._seats[self._writing :] if seat.leader is None)
        leader = next((seat for seat in before if seat.row.job is row.job and seat.row.index == row.index), None)
        self._seats.append(Seat(row, slot=len(self._seats), turn=self._turn, leader=leader))
        self._turn += 1

    def begin(self, seat: Seat) -> list[Seat]:
        """The row has read its prompt, so it writes from now on, and those that waited for it; returns all of them."""
        followers = [other for other in self._seats[self._writing :] if other.leader is seat]
        self._promote(seat)
        for follower in followers:
            self._cache.copy(seat.slot, follower.slot, seat.length)
            follower.length = seat.length
            follower.leader = None
            self._promote(follower)
        return [seat, *followers]

    def leave(self, seat: Seat) -> None:
        """Take the row out; the last ones of both kinds fill the gap."""
        for other in self._seats:
            other.common.pop(seat, None)
        gap = seat.slot
        if gap < self._writing:
            self._writing -= 1
            self._move(self._writing, gap)
            gap = self._writing
        self._move(len(self._seats) - 1, gap)
        self._seats.pop()

    def dismiss(self, job: Job[GenerationRequest]) -> None:
        """Take all rows of a job out."""
        for seat in [seat for seat in self._seats if seat.row.job is job]:
            self.leave(seat)

    def scrub(self) -> None:
        """Leave nothing of rows that are gone in the cache."""
        self._cache.scrub([seat.length for seat in self._seats])

    def clear(self) -> None:
        self._seats.clear()
        self._writing = 0

    def _promote(self, seat: Seat) -> None:
        first = self._seats[self._writing]
        if first is not seat:
            self._cache.swap(seat.slot, first.slot, max(seat.length, first.length))
            self._seats[first.slot], self._seats[seat.slot] = seat, first
            seat.slot, first.slot = first.slot, seat.slot
        self._writing += 1

    def _move(self, source: int, target: int) -> None:
        if source != target:
            seat = self._seats[source]
            self._cache.copy(source, target, seat.length)
            self._seats[target], seat.slot = seat, target


def needed(prompt: Prompt) -> int:
    """Tokens of prompt and answer."""
    return len(prompt.ids) + prompt.max_new
