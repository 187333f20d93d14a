"""The notes of a frame, one after the other from the lowest: their probabilities, and chance; NumPy and the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.rolls import KEYS, Frames
from recurra.runtime.ops.activation import Activation
from recurra.runtime.program import Program

F32: TypeAlias = NDArray[np.float32]
UNIT = 2.0**-53
LEAST = 1e-12  # a probability, where logarithms are taken
APART = 1 << 64  # between the beginnings of two frames' chance


class Chords:
    """What a model says of the notes that sound together.

    Args:
        programs: of a model: `before`; `above` and `below`, which are not there where notes are independent.
    """

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self.before = programs["before"]
        self.joint = "above" in programs
        self.sigmoid = Program([Activation("sigmoid")], {"x": KEYS}).session()
        if self.joint:
            below: Any = programs["below"].ops[0]
            self.above = programs["above"].session()
            self.to_bias = np.ascontiguousarray(below.W[:KEYS].T)
            self.to_hidden = np.ascontiguousarray(below.W[KEYS:].T)

    def begun(self, output: F32, rows: F32) -> F32:
        """What is known of frames before their first notes, [T, 88 + U]: outputs of the network, and what the frames
        before, its rows [T, 88], add."""
        found = output.copy()
        found[:, :KEYS] += self.before.run(rows)
        return found

    def probabilities(self, output: F32, frame: Frames) -> F32:
        """Of each key [88] by those below it in a frame."""
        return self._walk(output, lambda p, q: int(np.argmax(frame[q:])) + q if frame[q:].any() else KEYS)

    def draw(self, output: F32, u: NDArray[np.float64]) -> tuple[Frames, F32]:
        """A frame whose key k sounds where u[k] is less than its probability, and these; u below 0 or from 1 on
        decides by itself."""
        frame = np.zeros(KEYS, bool)

        def following(p: F32, q: int) -> int:
            there = np.flatnonzero(u[q:] < p[q:])
            k = q + int(there[0]) if len(there) else KEYS
            frame[k : k + 1] = True
            return k

        return frame, self._walk(output, following)

    def likely(self, output: F32) -> tuple[Frames, F32]:
        """The frame in which each key sounds that does so rather than not, given those below it."""
        return self.draw(output, np.full(KEYS, 0.5))

    def choose(self, output: F32, u: NDArray[np.float64], given: Sequence[int], temperature: float) -> Frames:
        """One of the frames that are drawn by `u` [n, 88], as if the joint distribution had been raised to the power
        1 / temperature and some keys were known to sound (importance resampling, Rubin 1987).

        Frames are drawn as it was learned, and each weighs what it should come more often by; the first number of the
        last row chooses. u of keys that are `given` is below 0.
        """
        drawn = [self.draw(output, row) for row in u[:-1]]
        logs = np.array([self._weight(*one, row, given, temperature) for one, row in zip(drawn, u, strict=False)])
        sums = np.cumsum(np.exp(logs - logs.max()))
        return drawn[min(int(np.searchsorted(sums, u[-1, 0] * sums[-1], "right")), len(drawn) - 1)][0]

    @staticmethod
    def _weight(frame: Frames, p: F32, u: NDArray[np.float64], given: Sequence[int], temperature: float) -> float:
        """The logarithm of what a frame weighs."""
        logs = np.log(np.maximum(np.where(frame, p, 1.0 - p.astype(np.float64)), LEAST))
        decided = (u < 0) | (u >= 1)
        known, chance = float(logs[list(given)].sum()), float(logs[~decided].sum())
        return known / temperature + chance * (1.0 / temperature - 1.0)

    def _walk(self, output: F32, following: Any) -> F32:
        """From one key that sounds to the next; `following(p, q)` names the first from q on."""
        found, q = np.empty(KEYS, np.float32), 0
        bias = output[:KEYS].astype(np.float32)
        hidden = output[KEYS:].astype(np.float32)
        while True:
            scores = bias + self.above.step(hidden) if self.joint else bias
            p: F32 = self.sigmoid.step(scores)
            k = following(p, q)
            found[q : k + 1] = p[q : k + 1]
            if k >= KEYS - 1:
                return found
            q = k + 1
            if self.joint:
                bias += self.to_bias[k]
                hidden += self.to_hidden[k]


def chance(seed: int, frame: int, count: int = 1) -> NDArray[np.float64]:
    """Numbers [count, 88] from 0 to 1 of a frame: the same for a seed on every machine (Philox, Salmon et al. 2011)."""
    random = np.random.Philox(key=seed, counter=frame * APART)
    found: NDArray[np.float64] = (random.random_raw(count * KEYS) >> np.uint64(11)).astype(np.float64) * UNIT
    return found.reshape(count, KEYS)
