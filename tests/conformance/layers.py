"""The definition of layers: a row is cut where it is reset, and each part of it is a row of a run of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.cases import Case
from recurra import reference
from recurra.weights import Array, Weights


@dataclass(frozen=True)
class Part:
    """Steps [first, stop) of a row. `opens` and `closes` say whether it has the row's first and last step.

    A row that is reset before its first step does not begin with the state that it is given, in that direction.
    """

    row: int
    first: int
    stop: int
    opens: bool
    closes: bool
    fresh: bool


def parts_of(case: Case) -> list[Part]:
    """The parts of every row; a row without steps is one part without any. What stands in the padding cuts nothing."""
    found = []
    for row, end in enumerate(case.ends):
        flags = [] if case.reset is None else [t for t in range(end) if case.reset[t, row]]
        edges = [0, *(t for t in flags if t > 0), int(end)]
        for k, (first, stop) in enumerate(pairwise(edges)):
            opens = k == 0
            found.append(Part(row, first, stop, opens, stop == end, fresh=not opens or 0 in flags))
    return found


@dataclass
class Run:
    """One layer and direction: what went in, what the reference gave, and which parts began with a given state."""

    weights: Weights
    x: Array
    result: reference.Forward
    begins: list[bool]


class Layers:
    """All layers and directions of a case, forward; `backward` gives the gradients by name."""

    def __init__(self, case: Case) -> None:
        self.case, self.parts = case, parts_of(case)
        self.runs: list[Run] = []
        s, x = case.setting, case.x.astype(np.float64)
        places = list(s.places())
        for layer in range(s.layers):
            here = [p for p, (k, _, _) in enumerate(places) if k == layer]
            outputs = [self._run(p, direction, x) for direction, p in enumerate(here)]
            x = np.concatenate(outputs, -1)
        self.output = x

    def _run(self, place: int, direction: int, x: Array) -> Array:
        case, weights = self.case, self.case.weights[place]
        widths = [weights.U.shape[1], *([weights.hidden_size] * (len(case.cell.states) - 1))]
        learned = [np.zeros(w) for w in widths] if case.learned is None else case.learned[place]
        given = [self._is_given(part, direction) for part in self.parts]
        begin = [
            np.array([case.state[place][k][p.row] if g else learned[k] for p, g in zip(self.parts, given, strict=True)])
            for k in range(len(widths))
        ]
        lengths = [p.stop - p.first for p in self.parts]
        run = reference.forward(case.cell, weights, self._taken(x), begin, lengths, bool(direction))
        self.runs.append(Run(weights, self._taken(x), run, given))
        return self._put(run.output)

    def _is_given(self, part: Part, direction: int) -> bool:
        """Whether a part begins with the row's given state."""
        return self.case.state is not None and (part.closes if direction else not part.fresh)

    def _is_last(self, part: Part, direction: int) -> bool:
        """Whether the row's final state is that of a part."""
        return part.opens if direction else part.closes

    def _taken(self, array: Array) -> Array:
        """[T, B, ...] as [steps, parts, ...], NaN past a part's end."""
        out = np.full((max([p.stop - p.first for p in self.parts], default=0), len(self.parts), array.shape[2]), np.nan)
        for i, p in enumerate(self.parts):
            out[: p.stop - p.first, i] = array[p.first : p.stop, p.row]
        return out

    def _put(self, array: Array) -> Array:
        """The inverse; zero past a row's end."""
        out = np.zeros((self.case.setting.T, self.case.setting.B, array.shape[2]))
        for i, p in enumerate(self.parts):
            out[p.first : p.stop, p.row] = array[: p.stop - p.first, i]
        return out

    def values(self) -> dict[str, Array]:
        """Output, final states, all states and all gates, by name."""
        found = {"output": self.output}
        for (_, direction, name), run in zip(self.case.setting.places(), self.runs, strict=True):
            last = [i for i, p in enumerate(self.parts) if self._is_last(p, direction)]
            for k, state in enumerate(self.case.cell.states):
                found[f"final {state}{name}"] = run.result.state[k][last]
                found[f"states {state}{name}"] = self._put(run.result.states[k])
            found |= {f"gate {gate}{name}": self._put(value) for gate, value in run.result.gates.items()}
        return found

    def backward(self) -> dict[str, Array]:
        """The gradients of x, of what states begin with, and of all weights, by name."""
        case, s, found = self.case, self.case.setting, dict[str, Array]()
        places = list(s.places())
        d_output: Any = case.d_output
        for layer in reversed(range(s.layers)):
            d_x = np.zeros((s.T, s.B, self.runs[layer * s.directions].x.shape[2]))
            each = [None] * s.directions if d_output is None else np.split(d_output, s.directions, -1)
            for direction, d in enumerate(each):
                place = layer * s.directions + direction
                back = self._back(place, direction, d)
                d_x += self._put(back.x)
                found |= self._named(place, direction, back, places[place][2])
            d_output = d_x
        return found | {"gradient of x": d_output}

    def _back(self, place: int, direction: int, d_output: Array | None) -> reference.Gradients:
        case, run = self.case, self.runs[place]
        seeds = [np.zeros(s.shape) for s in run.result.state]
        for i, part in enumerate(self.parts):
            if case.d_state is not None and self._is_last(part, direction):
                for k, seed in enumerate(seeds):
                    seed[i] = case.d_state[place][k][part.row]
        d = None if d_output is None else self._taken(d_output)
        return reference.backward(case.cell, run.weights, run.x, run.result, d, seeds)

    def _named(self, place: int, direction: int, back: reference.Gradients, name: str) -> dict[str, Array]:
        case, run = self.case, self.runs[place]
        found = {f"gradient of {n}{name}": a for n, a in back.weights.items()}
        for k, state in enumerate(case.cell.states):
            initial = np.zeros((case.setting.B, back.state[k].shape[1]))
            learned = np.zeros(back.state[k].shape[1])
            for i, (part, given) in enumerate(zip(self.parts, run.begins, strict=True)):
                if given:
                    initial[part.row] = back.state[k][i]
                else:
                    learned += back.state[k][i]
            if case.state is not None:
                found[f"gradient of initial {state}{name}"] = initial
            if case.learned is not None:
                found[f"gradient of learned {state}{name}"] = learned
        return found


def by_place(case: Case, arrays: Sequence[Sequence[Any]], what: str) -> dict[str, Any]:
    """Arrays [place][state] under the names that results have."""
    return {
        f"{what} {state}{name}": arrays[place][k]
        for place, (_, _, name) in enumerate(case.setting.places())
        for k, state in enumerate(case.cell.states)
    }
