"""Clients that ask a product again and again, beside what a test does to it."""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from typing import Self


class Clients(ABC):
    """So many of them ask inside the block. answers: how often each status came, or what else became of a request."""

    def __init__(self, number: int) -> None:
        self.answers: Counter[int | str] = Counter()
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self.ask, args=(each,)) for each in range(number)]

    @abstractmethod
    def ask(self, client: int) -> None:
        """What one client does, until it is `over`."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()
