"""What a backend is asked to do: a cell, its weights, a batch, and everything that can be set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from helpers import generator, random_state, random_weights, state_widths
from recurra.cells import Cell
from recurra.weights import Array, Weights


@dataclass(frozen=True)
class Setting:
    """Sizes and options of a case; P is used by cells that project.

    `resets` may be the flags themselves, (step, row) each. In one direction a reset zeros the state that is read; in
    two, or with a learned state, it is what `recurra.torch.Recurrent` says: nothing passes a cut in either direction.
    """

    T: int = 11
    B: int = 7
    I: int = 5
    H: int = 19
    P: int = 8
    lengths: tuple[int, ...] | None = None
    reverse: bool = False
    resets: bool | tuple[tuple[int, int], ...] = False
    checkpoint_every: int | None = None
    threads: int = 1
    state: bool = True
    d_output: bool = True
    d_state: bool = True
    layers: int = 1
    directions: int = 1
    learned: bool = False
    batch_first: bool = False

    def __str__(self) -> str:
        default = Setting()
        changed = {k: v for k, v in vars(self).items() if v != getattr(default, k)}
        return (
            "_".join(f"{k}{'-'.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in changed.items())
            or "plain"
        )

    @property
    def features(self) -> frozenset[str]:
        """What is asked for beyond sizes, in words that a backend may refuse."""
        found = {n for n in ("reverse", "learned", "batch_first", "lengths", "resets") if getattr(self, n)}
        found |= {n for n in ("layers", "directions", "threads") if getattr(self, n) > 1}
        found |= {"checkpoints"} if self.checkpoint_every else set()
        found |= {"given state of two directions"} if self.state and self.directions > 1 else set()
        found |= set() if self.state else {"no state given"}
        found |= {"rows without steps"} if self.lengths and 0 in self.lengths else set()
        found |= {"nothing"} if 0 in (self.T, self.B) else set()
        found |= {"some gradients"} if not (self.d_output and self.d_state) else set()
        return frozenset(found)

    @property
    def is_one_run(self) -> bool:
        """Whether it is one run of the definition: one layer, one direction, states that begin as they are given."""
        return self.layers == self.directions == 1 and not self.learned

    def places(self) -> Iterator[tuple[int, int, str]]:
        """Each layer and direction, and how results of it are called; nothing where there is one."""
        for layer in range(self.layers):
            for direction in range(self.directions):
                name = f" of layer {layer}" + " backwards" * direction
                yield layer, direction, name if self.layers * self.directions > 1 else ""


@dataclass(frozen=True)
class Case:
    """A setting filled with random numbers of one dtype; past the end of a row stands NaN.

    Weights and states have an entry for each layer and direction, in the order of `Setting.places`; `learned` has [H]
    of each state, which a row begins with where no state is given and after a reset.
    """

    cell: Cell
    setting: Setting
    weights: list[Weights]
    x: Array
    state: list[list[Array]] | None
    learned: list[list[Array]] | None
    lengths: np.ndarray | None
    reset: np.ndarray | None
    d_output: Array | None
    d_state: list[list[Array]] | None

    @property
    def ends(self) -> np.ndarray:
        """The steps of each row."""
        return np.full(self.setting.B, self.setting.T) if self.lengths is None else self.lengths


def make_case(cell: Cell, setting: Setting, dtype: object) -> Case:
    """The case of a setting, always the same for the same cell and setting."""
    s, rng = setting, generator(cell.name, setting)
    places = s.layers * s.directions
    width = s.P if cell.projection is not None else s.H
    inputs = [s.I, *([s.directions * width] * (s.layers - 1))]
    weights = [random_weights(cell, inputs[k], s.H, s.P, rng=rng, dtype=dtype) for k, *_ in s.places()]
    lengths = None if s.lengths is None else np.array(s.lengths, np.int64)
    past = np.arange(s.T)[:, None] >= (np.full(s.B, s.T) if lengths is None else lengths)

    def sequence(width: int) -> Array:
        array = rng.normal(size=(s.T, s.B, width)).astype(dtype)
        array[past] = np.nan
        return array

    x, d_output = sequence(s.I), sequence(s.directions * width)
    state, d_state = ([random_state(cell, w, s.B, rng) for w in weights] for _ in range(2))
    learned = [[rng.normal(size=k).astype(dtype) for k in state_widths(cell, weights[0])] for _ in range(places)]
    return Case(
        cell=cell,
        setting=setting,
        weights=weights,
        x=x,
        state=state if s.state else None,
        learned=learned if s.learned else None,
        lengths=lengths,
        reset=_mask(s, past, rng) if s.resets else None,
        d_output=d_output if s.d_output else None,
        d_state=d_state if s.d_state else None,
    )


def _mask(s: Setting, past: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The flags that are given; else a fifth of all, and some before the first step and at the first of the padding."""
    mask = np.zeros((s.T, s.B), bool)
    if isinstance(s.resets, tuple):
        for t, b in s.resets:
            mask[t, b] = True
        return mask
    mask |= rng.random((s.T, s.B)) < 0.2
    mask[0, ::2] = True
    mask[1:] |= past[1:] & ~past[:-1]
    return mask


RAGGED = (3, 11, 0, 7, 11, 1, 5)
WITH_STEPS = (3, 11, 2, 7, 11, 1, 5)  # for those that take no row without a step
STACK = {"layers": 2, "directions": 2, "H": 9, "P": 4}

SETTINGS = (
    Setting(),
    Setting(state=False, d_state=False),
    Setting(d_output=False),
    Setting(lengths=RAGGED),
    Setting(lengths=WITH_STEPS),
    Setting(reverse=True),
    Setting(lengths=RAGGED, reverse=True),
    Setting(resets=True),
    Setting(lengths=RAGGED, resets=True),
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
    # What layers add to one run.
    Setting(batch_first=True),
    Setting(batch_first=True, lengths=RAGGED, resets=True, state=False, **STACK),
    Setting(layers=3, H=6, P=5),
    Setting(layers=2, H=6, P=5, lengths=RAGGED, resets=True),
    Setting(directions=2, H=6, P=5, state=False),
    Setting(directions=2, H=6, P=5, lengths=RAGGED, resets=True),
    Setting(**STACK),
    Setting(state=False, **STACK),
    Setting(lengths=WITH_STEPS, **STACK),
    Setting(lengths=WITH_STEPS, batch_first=True, **STACK),
    Setting(lengths=RAGGED, resets=True, checkpoint_every=3, threads=2, **STACK),
    Setting(learned=True, state=False),
    Setting(learned=True, state=False, lengths=RAGGED, layers=2, H=6, P=5),
    Setting(learned=True, resets=True, state=False),
    Setting(learned=True, resets=True, lengths=RAGGED, H=6, P=5),
    Setting(learned=True, resets=True, lengths=RAGGED, state=False, **STACK),
    Setting(learned=True, resets=True, lengths=RAGGED, **STACK),
)
