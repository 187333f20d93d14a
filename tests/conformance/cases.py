"""What a backend is asked to do: a cell, its weights, a batch, and everything that can be set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers import generator, random_state, random_weights
from recurra.cells import Cell
from recurra.weights import Array, Weights


@dataclass(frozen=True)
class Setting:
    """Sizes and options of a case; P is used by cells that project."""

    T: int = 11
    B: int = 7
    I: int = 5
    H: int = 19
    P: int = 8
    lengths: tuple[int, ...] | None = None
    reverse: bool = False
    resets: bool = False
    checkpoint_every: int | None = None
    threads: int = 1
    state: bool = True
    d_output: bool = True
    d_state: bool = True

    def __str__(self) -> str:
        default = Setting()
        changed = {k: v for k, v in vars(self).items() if v != getattr(default, k)}
        return (
            "_".join(f"{k}{'-'.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in changed.items())
            or "plain"
        )


@dataclass(frozen=True)
class Case:
    """A setting filled with random numbers of one dtype; past the end of a row stands NaN."""

    cell: Cell
    setting: Setting
    weights: Weights
    x: Array
    state: list[Array] | None
    lengths: np.ndarray | None
    reset: np.ndarray | None
    d_output: Array | None
    d_state: list[Array] | None


def make_case(cell: Cell, setting: Setting, dtype: object) -> Case:
    """The case of a setting, always the same for the same cell and setting."""
    s, rng = setting, generator(cell.name, setting)
    weights = random_weights(cell, s.I, s.H, s.P, rng=rng, dtype=dtype)
    lengths = None if s.lengths is None else np.array(s.lengths, np.int64)
    past = np.arange(s.T)[:, None] >= (np.full(s.B, s.T) if lengths is None else lengths)

    def sequence(width: int) -> Array:
        array = rng.normal(size=(s.T, s.B, width)).astype(dtype)
        array[past] = np.nan
        return array

    x, d_output = sequence(s.I), sequence(weights.U.shape[1])
    state, d_state = (random_state(cell, weights, s.B, rng) for _ in range(2))
    reset = rng.random((s.T, s.B)) < 0.2
    return Case(
        cell=cell,
        setting=setting,
        weights=weights,
        x=x,
        state=state if s.state else None,
        lengths=lengths,
        reset=reset if s.resets else None,
        d_output=d_output if s.d_output else None,
        d_state=d_state if s.d_state else None,
    )


RAGGED = (3, 11, 0, 7, 11, 1, 5)

SETTINGS = (
    Setting(),
    Setting(state=False, d_state=False),
    Setting(d_output=False),
    Setting(lengths=RAGGED),
    Setting(reverse=True),
    Setting(lengths=RAGGED, reverse=True),
    Setting(resets=True),
    Setting(lengths=RAGGED, reverse=True, resets=True, threads=2),
    Setting(lengths=RAGGED, resets=True, checkpoint_every=3, threads=2),
    Setting(lengths=RAGGED, reverse=True, checkpoint_every=4),
    Setting(checkpoint_every=1),
    Setting(reverse=True, resets=True, checkpoint_every=50),
    Setting(threads=2),
    Setting(threads=2, reverse=True, checkpoint_every=5),
    Setting(H=1, P=1),
    Setting(H=1, P=3, B=3, lengths=(4, 0, 11)),
    Setting(H=16, P=16),
    Setting(H=33, P=35, lengths=RAGGED),
    Setting(I=1, B=1),
    Setting(B=1, H=33, P=17, reverse=True, resets=True, threads=2),
    Setting(T=61, H=9, P=5, threads=2, resets=True),  # more rows than a chunk of steps holds
    Setting(T=61, H=9, P=5, reverse=True, lengths=(61, 0, 60, 29, 28, 27, 1), checkpoint_every=40),
    Setting(T=3, B=205, I=2, H=5, P=4),  # more rows in one step than that
    Setting(T=1, B=2),
    Setting(T=4, B=2, lengths=(0, 0)),
)
