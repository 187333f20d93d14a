"""`TransducerBeam`: the text of a transducer, step by step, by a beam over what has been written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.runtime.model import Model
from recurra.tasks.transcription.ctc import FLOOR, NEVER, PrefixBeam, Search, _Prefix, _sum

MOST = 6  # letters that are written at one step


class _Written(_Prefix):
    """A prefix with what the network of letters says of it."""

    __slots__ = ("features", "session")

    def __init__(self, before: _Prefix | None, letter: int, step: int, sure: float) -> None:
        super().__init__(before, letter, step, sure)
        self.session: Any = None
        self.features: Any = None


class TransducerBeam(PrefixBeam):
    """A search that goes on step by step, breadth first over the letters of a step (Graves 2012, in other order).

    The value of a prefix is the sum over the ways to write it that were kept. What was written so far goes through a
    network with a state, and a prefix keeps its own.

    Args:
        letters: of the numbers from 1 on; one is a blank between words.
        search: how; with a beam of 1 the most likely letter is taken until that is none.
        model: with the programs "written" and "join".
    """

    prefix = _Written

    def __init__(self, letters: Sequence[str], search: Search, model: Model) -> None:
        self.model, self.join = model, model.program("join")
        self.grew = False  # whether the best prefix has, at the last step
        super().__init__(letters, search)

    def push(self, logs: Any) -> None:
        """Take the features of a step, float32 [J]."""
        width = max(self.search.width, FLOOR)
        ended: dict[int, list[Any]] = {}
        made: dict[tuple[int, int], _Prefix] = {}
        live = [(prefix, value) for prefix, value, _ in self.beams]
        before = self.beams[0][0]
        for turn in range(MOST + 1):
            longer: dict[int, list[Any]] = {}
            for (prefix, value), p in zip(live, self._shares([one for one, _ in live], logs), strict=True):
                _add(ended, prefix, value + p[0])
                chosen = [int(p.argmax())] if self.search.beam == 1 else np.flatnonzero(p > width).tolist()
                for k in chosen if turn < MOST else []:
                    if k:
                        _add(longer, self._child(prefix, k, float(p[k]), made), value + float(p[k]))
            if self.search.beam == 1 and longer:
                ended.clear()
            live = [(one, value) for one, value in self._best_of(longer) if self._may_be_kept(one, value, ended)]
            if not live:
                break
        self.beams = [(prefix, value, NEVER) for prefix, value in self._best_of(ended)]
        most = max(value for _, value, _ in self.beams)
        self.beams = [(prefix, value - most, NEVER) for prefix, value, _ in self.beams]
        kept = {id(prefix) for prefix, _, _ in self.beams}
        self.children = {key: c for key, c in {**self.children, **made}.items() if id(c) in kept}
        self.grew = self.beams[0][0] is not before
        self.step += 1

    def _child(self, prefix: _Prefix, k: int, sure: float, made: dict[tuple[int, int], _Prefix]) -> _Prefix:
        key = id(prefix), k
        child = self.children.get(key) or made.get(key)
        if child is None:
            child = self._grown(prefix, k, sure)
        made[key] = child
        return child

    def _best_of(self, found: dict[int, list[Any]]) -> list[tuple[_Prefix, float]]:
        ranked = sorted(found.values(), key=lambda e: -(e[1] + e[0].value))
        return [(prefix, value) for prefix, value in ranked[: self.search.beam]]

    def _may_be_kept(self, prefix: _Prefix, value: float, ended: dict[int, list[Any]]) -> bool:
        """Whether what is written goes on: not below all that a full beam has."""
        if len(ended) < self.search.beam:
            return True
        values = sorted((e[1] + e[0].value for e in ended.values()), reverse=True)
        return bool(value + prefix.value > values[self.search.beam - 1])

    def _shares(self, prefixes: Sequence[Any], heard: Any) -> Any:
        """The logarithms [n, K + 1] of what comes after each prefix."""
        for one in prefixes:
            if one.features is None:
                self._read(one)
        rows = np.stack([heard + one.features for one in prefixes])
        shares = self.join.run(np.ascontiguousarray(rows, np.float32))
        return np.maximum(np.log(np.maximum(shares.astype(np.float64), 1e-13)), FLOOR)

    def _read(self, prefix: Any) -> None:
        """Let the network of letters go on from the last prefix that it has read."""
        unread = [prefix]
        while unread[-1].before is not None and unread[-1].before.features is None:
            unread.append(unread[-1].before)
        for one in reversed(unread):
            one.session = self.model.session(program="written") if one.before is None else one.before.session.fork()
            one.features = one.session.step(one.letter)

    def state(self) -> list[Any]:
        """All that it remembers, ready for JSON; the network of letters reads again what was written."""
        at: dict[int, int] = {}
        prefixes: list[list[Any]] = []
        for end, _, _ in self.beams:
            for one in (self._root_of(end), *self._letters(end)):
                if id(one) not in at:
                    at[id(one)] = len(prefixes)
                    before = -1 if one.before is None else at[id(one.before)]
                    prefixes.append([before, one.letter, one.step, one.sure, one.value, one.word, list(one.words)])
        return [prefixes, [[at[id(one)], value] for one, value, _ in self.beams], self.step, self.begun]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError, TypeError: it is something else; nothing has changed.
        """
        prefixes, beams, step, begun = state
        made: list[_Prefix] = []
        for before, letter, at, sure, value, word, words in prefixes:
            if not (-1 <= before < len(made) and (0 < letter <= len(self.letters) if made else letter == 0)):
                raise ValueError("a search's prefixes")
            one = self.prefix(made[before] if before >= 0 else None, letter, at, sure)
            one.value, one.word, one.words = value, word, tuple(words)
            made.append(one)
        if not beams or any(not 0 <= i < len(made) for i, _ in beams):
            raise ValueError("a search's beam")
        self.beams = [(made[i], float(value), NEVER) for i, value in beams]
        self.step, self.begun = int(step), int(begun)
        ends = [made[i] for i, _ in beams]
        self.children = {(id(one.before), one.letter): one for one in ends if one.before is not None}

    @staticmethod
    def _root_of(prefix: Any) -> Any:
        while prefix.before is not None:
            prefix = prefix.before
        return prefix


def _add(found: dict[int, list[Any]], prefix: _Prefix, value: float) -> None:
    entry = found.get(id(prefix))
    if entry is None:
        found[id(prefix)] = [prefix, value]
    else:
        entry[1] = _sum(entry[1], value)
