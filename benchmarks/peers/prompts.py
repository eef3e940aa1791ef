"""The texts that everybody is asked to continue: unlike each other, and equal in every run."""

import itertools
import random
from typing import Literal

Kind = Literal["short", "long", "shared"]
KINDS: tuple[Kind, ...] = ("short", "long", "shared")
"""short: 6 to 14 words. long: 64 to 512 of them. shared: the same 768, and then 8 of its own."""
CHECKED: tuple[Kind, ...] = ("short", "long")
"""Those whose answers are compared."""

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"


def words() -> list[str]:
    """4 900 words of two syllables and as many of three, shuffled."""
    choice = random.Random(0)
    syllables = [first + second for first, second in itertools.product(_CONSONANTS, _VOWELS)]
    shorter = [first + second for first, second in itertools.product(syllables, syllables)]
    found = [*shorter, *(word + choice.choice(syllables) for word in shorter)]
    choice.shuffle(found)
    return found


_WORDS = words()


def prompt(kind: Kind, number: int) -> str:
    """Another text for each number."""
    choice = random.Random(f"{kind} {number}")
    match kind:
        case "short":
            return " ".join(choice.choices(_WORDS, k=choice.randint(6, 14)))
        case "long":
            return " ".join(choice.choices(_WORDS, k=choice.randint(64, 512)))
        case "shared":
            return " ".join([*random.Random("system").choices(_WORDS, k=768), *choice.choices(_WORDS, k=8)])
