"""Which of the waiting sequences are computed together next; knows no torch. Pure."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from services.engine.row import Row


@dataclass(frozen=True, slots=True)
class Unit:
    """What `generate()` takes as one input: a row, or all rows of a prompt that is searched with beams."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.first.prompt.ids)

    @property
    def width(self) -> int:
        """Sequences that the network computes for it."""
        return self.first.sampling.num_beams

    @property
    def group(self) -> Hashable:
        """What units must have in common to be computed together.

        Rows bring their own sampling along, while `generate()` has one set of beam settings for all its inputs, and one
        generator of random numbers, which beams that are sampled must have for themselves.
        """
        sampling, prompt = self.first.sampling, self.first.prompt
        if sampling.num_beams == 1:
            return None
        return id(self) if sampling.do_sample else (sampling, prompt.max_new, prompt.min_new)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may be.

    rows: sequences computed together. tokens: rows x (longest prompt + longest answer) that the memory holds.
    prompt_tokens: rows x longest prompt read at once; None where prompts are read in pieces.
    context: longest prompt + longest answer, where both are counted together; None otherwise.
    padding: whether prompts of different lengths may be padded to one.
    """

    rows: int
    tokens: int
    prompt_tokens: int | None = None
    context: int | None = None
    padding: bool = True

    def hold(self, units: Sequence[Unit]) -> bool:
        rows = sum(unit.width for unit in units)
        longest = max(unit.length for unit in units)
        whole = longest + max(unit.first.prompt.max_new for unit in units)
        return (
            rows <= self.rows
            and rows * whole <= self.tokens
            and (self.prompt_tokens is None or len(units) * longest <= self.prompt_tokens)
            and (self.context is None or whole <= self.context)
            and (self.padding or all(unit.length == longest for unit in units))
        )


def units_of(rows: Sequence[Row]) -> list[Unit]:
    """The rows of one job, cut as `generate()` takes them."""
    together = rows[0].sampling.num_return_sequences if rows[0].sampling.num_beams > 1 else 1
    return [Unit(tuple(rows[start : start + together])) for start in range(0, len(rows), together)]


def next_batch(waiting: Sequence[Unit], limits: Limits) -> list[Unit]:
    """The unit that waits longest, in any case, and those that may join it, first those of about its length."""
    oldest = waiting[0]
    batch = [oldest]
    counts = Counter({oldest.first.job: 1})
    alike = [unit for unit in waiting[1:] if unit.group == oldest.group]
    for unit in sorted(alike, key=lambda unit: abs(unit.length - oldest.length)):
        request = unit.first.job.request
        sequences = request.sampling.num_return_sequences // len(unit.rows)
        most = request.batch_size * sequences or len(waiting)
        if counts[unit.first.job] < most and limits.hold([*batch, unit]):
            batch.append(unit)
            counts[unit.first.job] += 1
    return batch
