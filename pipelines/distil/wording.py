"""Questions that are nearly the same by their words: MinHash of datasketch, and the words with every number taken out.

Two texts are alike where they are the same words (case, spaces, punctuation and markup apart), where they are the same
words around other numbers, or where their word triples overlap by more than a threshold.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.distil.config import Alike

if TYPE_CHECKING:
    from datasketch import MinHash

Likeness = Literal["exact", "numbers", "near"]
_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MARKUP = re.compile(r"<image\s?\d*>|\\(?:text|mathrm|left|right|quad|,|;|!)|[${}\\]")
_SHINGLE = 3


@dataclass(frozen=True)
class Wording:
    """What of a question is compared: its words, its words without numbers, and its signature."""

    plain: str
    numberless: str
    numbers: tuple[str, ...]
    signature: NDArray[np.uint32]
    words: int


def wording_of(text: str, permutations: int) -> Wording:
    """The question's words as they are compared."""
    folded = unicodedata.normalize("NFKC", _MARKUP.sub(" ", text)).casefold()
    words = _WORD.findall(folded)
    numberless = [_NUMBER.sub("#", word) for word in words]
    shingles = {" ".join(numberless[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))}
    minhash = _permuted(permutations).copy()
    minhash.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
    numbers = tuple(sorted(_NUMBER.findall(" ".join(words))))
    return Wording(" ".join(words), " ".join(numberless), numbers, minhash.hashvalues, len(words))


def overlap(first: Wording, second: Wording) -> float:
    """The share of common word triples, as the signatures estimate it."""
    return float(np.mean(first.signature == second.signature))


@cache
def _permuted(permutations: int) -> "MinHash":
    """Whose permutations all signatures share; drawing them costs more than a question does."""
    from datasketch import MinHash

    return MinHash(num_perm=permutations)


def _signed(signature: NDArray[np.uint32]) -> "MinHash":
    minhash = _permuted(len(signature)).copy()
    minhash.hashvalues = signature
    return minhash


class WordingIndex:
    """Questions by their wording."""

    def __init__(self, alike: Alike) -> None:
        from datasketch import MinHashLSH

        self._alike = alike
        # Candidates are looked at again, so that a miss is the dearer error.
        self._lsh = MinHashLSH(threshold=alike.overlap, num_perm=alike.permutations, weights=(0.1, 0.9))
        self._names: dict[str, str] = {}
        self._numberless: dict[str, str] = {}
        self._wordings: dict[str, Wording] = {}

    def add(self, name: str, wording: Wording) -> None:
        """From now on `find` knows the question; of equal ones the first."""
        self._names.setdefault(wording.plain, name)
        if self._numberless.setdefault(wording.numberless, name) == name:
            self._lsh.insert(name, _signed(wording.signature))
            self._wordings[name] = wording

    def find(self, wording: Wording) -> tuple[str, Likeness] | None:
        """A question that is alike and in what, the nearest kind first."""
        if (name := self._names.get(wording.plain)) is not None:
            return name, "exact"
        if (name := self._numberless.get(wording.numberless)) is not None:
            return name, "numbers"
        return next(((name, "near") for name in self._near(wording)), None)

    def is_telling(self, wording: Wording) -> bool:
        """Whether the question has so many words that another one with them is the same."""
        return wording.words >= self._alike.words

    def _near(self, wording: Wording) -> list[str]:
        candidates = sorted(self._lsh.query(_signed(wording.signature)))
        return [name for name in candidates if overlap(wording, self._wordings[name]) >= self._alike.overlap]
