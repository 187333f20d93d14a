"""`Ends`: what a program says after the last step of each of many sequences, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.runtime.ops.op import FLOAT
from recurra.runtime.program import Program
from recurra.weights import Array

STEPS = 64  # of a native call: what it gives and nobody reads stays in the cache


class Ends:
    """The output after the last step of sequences, in the bits of a session of each alone.

    Ops behind the last one that has a state say nothing that lasts, so they are run at the last step only.

    Args:
        program: one that can step, has an answer at each step, and takes features.

    Attributes:
        width: how many numbers of a row it reads at the steps before the last, the first ones.

    >>> from recurra import cells, runtime
    >>> from recurra.weights import Weights
    >>> rng = np.random.default_rng(0)
    >>> recurrent = runtime.Recurrent(cells.gru, [Weights.random(cells.gru, 2, 4, rng=rng)])
    >>> program = Program([recurrent, runtime.Linear(np.ones((1, 4), np.float32))])
    >>> xs = [rng.random((T, 2), np.float32) for T in (5, 3)]
    >>> found = Ends(program).run([x[:-1] for x in xs], np.stack([x[-1] for x in xs]))
    >>> all((found[b] == program.run(x)[-1]).all() for b, x in enumerate(xs))
    True
    """

    def __init__(self, program: Program) -> None:
        stateful = max((int(name.split(".")[1]) for name in program.state_widths()), default=-1)
        kept, first = program.ops[: stateful + 1], next(iter(program.inputs))
        before: Program | None
        self.program = program
        if any(op.reads for op in kept):  # of the other numbers of a row
            self.width, before = program.input_size, program
        else:
            self.width = program.inputs[first]
            before = Program(kept, {first: self.width}) if kept else None
        self.before = before

    @staticmethod
    def fits(program: Program) -> bool:
        """Whether it is for such a program."""
        return program.streams and program.stride == 1 and not program.vocabulary_size

    def run(self, rows: Sequence[Array], last: Array) -> Array:
        """Outputs [B, O] of B sequences.

        Args:
            rows: of each, those before the last, [T - 1, width].
            last: the last row of each, [B, I].
        """
        B = len(rows)
        order = sorted(range(B), key=lambda b: -len(rows[b]))
        session = self.program.session(B)
        if self.before is not None:
            session.state = self._states(self.before, [rows[b] for b in order])
        out = np.empty((B, self.program.output_size), FLOAT)
        out[order] = session.run(np.ascontiguousarray(last[order])[None])[0]
        return out

    @staticmethod
    def _states(program: Program, rows: Sequence[Array]) -> dict[str, Array]:
        """The states after all rows of each sequence, the longest first: those that end leave the batch."""
        session, at, running = program.session(len(rows)), 0, len(rows)
        ended = {name: np.empty_like(array) for name, array in session.state.items()}
        for end in sorted({len(one) for one in rows}):
            X = np.stack([one[at:end] for one in rows[:running]], 1)
            for step in range(0, end - at, STEPS):
                session.run(X[step : step + STEPS])
            states, at = session.state, end
            left = sum(len(one) > end for one in rows[:running])
            for name, array in states.items():
                ended[name][left:running] = array[left:]
            if left:
                session = program.session(left)
                session.state = {name: array[:left] for name, array in states.items()}
            running = left
        return ended
