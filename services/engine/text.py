"""From tokens that arrive one by one to text that never has to be taken back."""

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

_UNDECIDED = "\ufffd"
"""What a decoder writes for bytes that are not (yet) a character."""

_LONGEST_TAIL = 3
"""Bytes of an unfinished UTF-8 character at most."""

_WINDOW = 4
"""Tokens decoded together before the window moves on; what a token costs grows with it."""

_CONTEXT = 8
"""Tokens of a prompt that its continuation is decoded with."""


def whole_text(decode: Decode, ids: Sequence[int], *, before: Sequence[int] = ()) -> str:
    """What the pieces of a TextStream join to, for the price of one decoding."""
    context = list(before[-_CONTEXT:])
    text = decode([*context, *ids])[len(decode(context)) if context else 0 :]
    if _UNDECIDED not in text:
        return text
    stream = TextStream(decode, before=before)  # bytes that are no character spoil their neighbours when read together
    return "".join([*map(stream.push, ids), stream.finish()])


class TextStream:
    """The text of one sequence: whole characters only, and nothing from a stop text onwards.

    decode: token ids -> text, special tokens left out.
    before: the prompt's ids when the text continues it; decoders drop the space before a first word otherwise.
    """

    def __init__(self, decode: Decode, *, before: Sequence[int] = (), stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._window = list(before[-_CONTEXT:])
        self._sent = len(decode(self._window)) if self._window else 0
        self._stop = StopText(stop)

    @property
    def stopped(self) -> bool:
        """Whether a stop text came; further tokens say nothing."""
        return self._stop.found

    def push(self, token: int) -> str:
        """The text that this token made certain, often empty."""
        self._window.append(token)
        text = self._decode(self._window)
        certain = len(text)
        while len(text) - certain < _LONGEST_TAIL and text.endswith(_UNDECIDED, 0, certain):
            certain -= 1
        piece = text[self._sent : certain]
        self._sent = max(self._sent, certain)
        if certain == len(text) and len(self._window) > _WINDOW:
            self._move()
        return self._stop.push(piece)

    def finish(self) -> str:
        """What was held back, once no token follows."""
        rest = self._decode(self._window)[self._sent :]
        self._sent += len(rest)
        return self._stop.push(rest) + self._stop.finish()

    def _move(self) -> None:
        """Keep a last token that stands for itself as context, so that the cost of a token does not grow."""
        last = self._decode(self._window[-1:])
        if last and _UNDECIDED not in last:
            del self._window[:-1]
            self._sent = len(last)


class StopText:
    """Lets text through up to the first stop text, and holds back whatever may yet become one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        if not self._stop:
            return text
        if self.found:
            return ""
        self._held += text
        starts = [start for start in map(self._held.find, self._stop) if start >= 0]
        if starts:
            self.found = True
            passed, self._held = self._held[: min(starts)], ""
            return passed
        return self._release(len(self._held) - self._doubtful())

    def finish(self) -> str:
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        passed, self._held = self._held[:length], self._held[length:]
        return passed

    def _doubtful(self) -> int:
        """Length of the longest end of the held text that begins a stop text."""
        longest = max(map(len, self._stop)) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0
