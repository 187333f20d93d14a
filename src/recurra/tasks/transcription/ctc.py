"""The text of a network's outputs by prefix beam search, a step at a time: its definition, and the words that it found.

Connectionist temporal classification (Graves et al. 2006): at each step there is a letter or nothing (the blank, number
0), and a letter that stays is one letter. The search (Hannun et al. 2014) sums over all ways of writing a prefix. What
runs is `recurra._native.PrefixBeam`; `PrefixBeam` here says what it has to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.transcription.ngram import BEGIN, END, NGram

Floats = NDArray[np.floating[Any]]
NEVER = -math.inf
FLOOR = -30.0  # of the logarithm of a probability


class Letter(NamedTuple):
    """A letter of a text, by its number, the step at which it is surest, and the logarithm of how sure that is."""

    letter: int
    step: int
    sure: float


class Word(NamedTuple):
    """A word that was heard: the steps at which its first and last letters came, and how sure the network is of it."""

    text: str
    first: int
    last: int
    confidence: float


@dataclass(frozen=True)
class Search:
    """How texts are looked for.

    Attributes:
        beam: prefixes that are kept; 1: none, each step's best letter is taken.
        width: the logarithm of a probability below which a letter is not tried.
        model: of words; None: none.
        weight: of the model's logarithms.
        bonus: for each word, with a model.
        hot: words that are more likely than the model says, with the logarithm that is added.
        unknown: what is added for a word that the model does not have.
    """

    beam: int = 16
    width: float = -7.0
    model: NGram | None = None
    weight: float = 0.6
    bonus: float = 0.5
    hot: Mapping[str, float] = field(default_factory=dict)
    unknown: float = -6.0


class _Prefix:
    """A prefix as its last letter, the prefix before it, and what words it has come to."""

    __slots__ = ("before", "letter", "step", "sure", "value", "word", "words")

    def __init__(self, before: _Prefix | None, letter: int, step: int, sure: float) -> None:
        self.before, self.letter, self.step, self.sure = before, letter, step, sure
        self.word: str = "" if before is None else before.word
        self.words: tuple[str, ...] = (BEGIN,) if before is None else before.words
        self.value: float = 0.0 if before is None else before.value


class PrefixBeam:
    """A search that goes on step by step; what it says depends on the steps so far, and not on how they came.

    Args:
        letters: of the numbers from 1 on; one is a blank between words.
        search: how.
    """

    prefix = _Prefix

    def __init__(self, letters: Sequence[str], search: Search | None = None) -> None:
        self.letters, self.search = letters, search or Search()
        self.reset(0)

    def reset(self, step: int) -> None:
        """Begin anew at a step."""
        self.step = self.begun = step
        self.beams: list[tuple[_Prefix, float, float]] = [(self.prefix(None, 0, step, 0.0), 0.0, NEVER)]
        self.children: dict[tuple[int, int], _Prefix] = {}

    def push(self, logs: Floats) -> None:
        """Take the logarithms of a step [K + 1]."""
        p = np.maximum(logs, FLOOR).tolist()
        if self.search.beam == 1:
            chosen = [int(np.argmax(logs))]
        else:
            chosen = [k for k, value in enumerate(p) if value > self.search.width]
        found: dict[int, list[Any]] = {}
        made: dict[tuple[int, int], _Prefix] = {}

        def add(prefix: _Prefix, blank: float, letter: float) -> None:
            entry = found.get(id(prefix))
            if entry is None:
                found[id(prefix)] = [prefix, blank, letter]
            else:
                entry[1], entry[2] = _sum(entry[1], blank), _sum(entry[2], letter)

        for prefix, blank, letter in self.beams:
            whole = _sum(blank, letter)
            for k in chosen:
                if k == 0:
                    add(prefix, whole + p[0], NEVER)
                    continue
                if k == prefix.letter:
                    add(prefix, NEVER, letter + p[k])
                    grown = blank + p[k]
                else:
                    grown = whole + p[k]
                if grown == NEVER:
                    continue
                key = id(prefix), k
                child = self.children.get(key) or made.get(key)
                if child is None:
                    child = self._grown(prefix, k, p[k])
                made[key] = child
                if p[k] > child.sure:  # the step at which this letter is surest
                    child.sure, child.step = p[k], self.step
                add(child, NEVER, grown)
        ranked = sorted(found.values(), key=lambda e: -(_sum(e[1], e[2]) + e[0].value))
        self.beams = [(e[0], e[1], e[2]) for e in ranked[: self.search.beam]]
        kept = {id(e[0]) for e in self.beams}
        self.children = {
            key: c for key, c in {**self.children, **made}.items() if id(c) in kept and c.before is not None
        }
        best = max(_sum(b, n) for _, b, n in self.beams)
        self.beams = [(x, b - best, n - best) for x, b, n in self.beams]
        self.step += 1

    def _grown(self, prefix: _Prefix, k: int, sure: float) -> _Prefix:
        child, letter, how = self.prefix(prefix, k, self.step, sure), self.letters[k - 1], self.search
        if letter != " ":
            child.word = prefix.word + letter
            if how.model and child.word not in how.model.beginnings and prefix.word in how.model.beginnings:
                child.value += how.unknown
        elif prefix.word:
            child.value += self._of_word(prefix)
            child.words, child.word = (*prefix.words[-7:], prefix.word), ""
        return child

    def _of_word(self, prefix: _Prefix) -> float:
        how, word = self.search, prefix.word
        value = how.hot.get(word, 0.0)
        if how.model:
            value += how.weight * how.model.score(prefix.words, word) + how.bonus
            if word not in how.model.words and word in how.model.beginnings:
                value += how.unknown
        return value

    def best(self) -> _Prefix:
        """The most likely prefix, its last word taken as whole."""
        how = self.search

        def whole(entry: tuple[_Prefix, float, float]) -> float:
            prefix, blank, letter = entry
            value = _sum(blank, letter) + prefix.value + (self._of_word(prefix) if prefix.word else 0.0)
            if how.model:
                words = (*prefix.words, prefix.word) if prefix.word else prefix.words
                value += how.weight * how.model.score(words, END)
            return value

        return max(self.beams, key=whole)[0]

    def text(self, whole: bool) -> list[Letter]:
        """The letters of the best prefix, its last word taken as whole, or of the most likely one as it stands."""
        return [Letter(p.letter, p.step, p.sure) for p in self._letters(self.best() if whole else self.beams[0][0])]

    def common(self) -> int:
        """How many letters all prefixes begin with."""
        lines = [list(self._letters(prefix)) for prefix, _, _ in self.beams]
        same = 0
        for column in zip(*lines, strict=False):
            if any(one is not column[0] for one in column[1:]):
                break
            same += 1
        return same

    @staticmethod
    def _letters(prefix: _Prefix) -> list[_Prefix]:
        found = []
        while prefix.before is not None:
            found.append(prefix)
            prefix = prefix.before
        return found[::-1]


def words_of(text: Sequence[tuple[int, int, float]], letters: Sequence[str]) -> list[Word]:
    """The words of a text; `letters` are those of the numbers from 1 on."""
    found: list[Word] = []
    some: list[Letter] = []
    for one in [*text, None]:
        if one is not None and letters[one[0] - 1] != " ":
            some.append(Letter(*one))
        elif some:
            spelled = "".join(letters[k.letter - 1] for k in some)
            sure = math.exp(sum(k.sure for k in some) / len(some))
            found.append(Word(spelled, some[0].step, some[-1].step, sure))
            some = []
    return found


def _sum(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
