"""A `Recurrent` as a composition of runs of the definition: values and all gradients, in NumPy float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from helpers import generator
from recurra import reference
from recurra.torch import Recurrent
from recurra.weights import Weights

T, B, I = 11, 5, 3
RAGGED = np.array([11, 0, 4, 1, 10])


def numbers(*shape: int, key: object = "x", dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(generator(key, shape).normal(size=shape)).to(dtype)


def mask(key: object = "reset") -> torch.Tensor:
    return torch.from_numpy(generator(key).random((T, B)) < 0.25)


def fill(module: torch.nn.Module, *key: object) -> None:
    """Distinct numbers in every parameter."""
    rng = generator(*key)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(0.6 * rng.normal(size=tuple(p.shape))))


def weights_of(module: Recurrent, suffix: str, inputs: int, H: int) -> Weights:
    """The weights of one layer and direction, zeros for what it does not have."""
    cell, P = module.cell, module.proj_size or None
    named = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh", "R": "weight_hr"}
    found = {n: p.detach().double().numpy() for n, p in module.named_parameters()}
    shapes = Weights.shapes(cell, inputs, H, P)
    names = {n: named.get(n, n.replace(".", "_")) + suffix for n in shapes}
    return Weights.of(cell, {n: found.get(names[n], np.zeros(s)) for n, s in shapes.items()})


def cut(reset: Any, lengths: np.ndarray, reverse: bool) -> Any:
    """The definition's mask: reading backwards, the cut before step t comes before step t - 1 is read."""
    if reset is None or not reverse:
        return reset
    mask = np.zeros_like(reset)
    for b, end in enumerate(lengths):
        for t in range(1, end):
            mask[t - 1, b] = reset[t, b]
    return mask


@dataclass
class Composed:
    """Output, final states [state][place], and after `backward` the gradients."""

    output: np.ndarray
    state: list[list[np.ndarray]]
    runs: list[list[tuple[Any, ...]]]
    initial: list[list[np.ndarray]] | None

    def backward(
        self, module: Recurrent, d_output: np.ndarray, d_state: list[list[np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The gradients in x, in each initial state (`h`, `c`) and in each parameter, by name."""
        D, found = len(self.runs[0]), {}
        states: list[list[Any]] = [[None] * (D * len(self.runs)) for _ in module.cell.states]
        for layer in reversed(range(len(self.runs))):
            d_input = 0.0
            for direction, (weights, x, run, mask) in enumerate(self.runs[layer]):
                part = np.split(d_output, D, -1)[direction]
                place = layer * D + direction
                back = reference.backward(module.cell, weights, x, run, part, [s[place] for s in d_state], mask)
                d_input = d_input + back.x
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                named = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh", "R": "weight_hr"}
                found |= {named.get(n, n.replace(".", "_")) + suffix: a for n, a in back.weights.items()}
                for k, d in enumerate(back.state):
                    states[k][place] = d
            d_output = d_input
        return found | {"x": d_output} | {s: np.stack(states[k]) for k, s in enumerate(module.cell.states)}


def compose(
    module: Recurrent,
    x: np.ndarray,
    initial: list[list[np.ndarray]] | None = None,
    lengths: np.ndarray | None = None,
    reset: np.ndarray | None = None,
) -> Composed:
    """Every layer and direction as one run of the definition."""
    D = 2 if module.bidirectional else 1
    ends = np.full(x.shape[1], len(x)) if lengths is None else lengths
    runs: list[list[tuple[Any, ...]]] = []
    final: list[list[np.ndarray]] = [[] for _ in module.cell.states]
    for layer, H in enumerate(module.hidden_sizes):
        outputs, here = [], []
        for direction in range(D):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            weights = weights_of(module, suffix, x.shape[-1], H)
            state = None if initial is None else [s[layer * D + direction] for s in initial]
            mask = cut(reset, ends, bool(direction))
            run = reference.forward(module.cell, weights, x, state, lengths, bool(direction), mask)
            outputs.append(run.output)
            here.append((weights, x, run, mask))
            for k, s in enumerate(run.state):
                final[k].append(s)
        x = np.concatenate(outputs, -1)
        runs.append(here)
    return Composed(x, final, runs, initial)
