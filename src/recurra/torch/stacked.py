"""The layers of a cell: sizes, and parameters by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells.cell import Cell
from recurra.cells.trace import get
from recurra.errors import ShapeError


class StackedCell(nn.Module):
    """What `Recurrent` is made of, before anything runs. It has the arguments."""

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None,
        bias: bool,
        bidirectional: bool,
        proj_size: int,
        initial_state: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.cell = get(cell)
        self.input_size = int(input_size)
        self.hidden_sizes = _sizes(hidden_size, num_layers)
        self.num_layers = len(self.hidden_sizes)
        self.hidden_size = self.hidden_sizes[0] if len(set(self.hidden_sizes)) == 1 else self.hidden_sizes
        self.bias = bias
        self.bidirectional = bidirectional
        self.proj_size = int(proj_size)
        self.initial_state = initial_state
        self._check_sizes()
        shapes = self._shapes()
        self._named = frozenset(shapes)
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again: uniform in +-1/sqrt(H); learned initial states are zero."""
        for name, parameter in self.named_parameters():
            H = self.hidden_sizes[int(name.rpartition("_l")[2].removesuffix("_reverse"))]
            bound = 0.0 if name.startswith("initial_") else H**-0.5
            nn.init.uniform_(parameter, -bound, bound)

    def recurrences(self) -> list[list[tuple[Cell, dict[str, Tensor]]]]:
        """What `export` takes: for each layer and direction the cell, and its arrays as `Weights.shapes` names them.

        Learned initial states are `initial:h` and so on.
        """
        layers: list[list[tuple[Cell, dict[str, Tensor]]]] = [[] for _ in self.hidden_sizes]
        some = next(iter(self.parameters()))
        for layer, _, suffix in self._places():
            below = (self.proj_size or self.hidden_sizes[layer - 1]) * (2 if self.bidirectional else 1)
            x = some.new_empty(0, below if layer else self.input_size)
            weights, parameters = self._weights(suffix, x, layer)
            named = zip(("W", "U", "b", "c_", "R"), weights, strict=True)
            arrays = {name: array for name, array in named if array is not None}
            arrays |= dict(zip(self.cell.parameters, parameters, strict=True))
            begins = zip(self.cell.states, self._learned(suffix), strict=False)
            layers[layer].append((self.cell, arrays | {f"initial:{state}": value for state, value in begins}))
        return layers

    def _check_sizes(self) -> None:
        call, projects = f"Recurrent({self.cell.name})", self.cell.projection is not None
        if self.input_size < 1 or min(self.hidden_sizes) < 1:
            raise ShapeError(f"{call}: sizes {self.input_size} and {self.hidden_sizes}, expected at least 1 of each")
        if projects != (self.proj_size > 0):
            cure = (
                "give the size of the projection"
                if projects
                else "use lstm_projected or a cell of your own that projects"
            )
            raise ShapeError(
                f"{call}: proj_size={self.proj_size}, but the cell has {'a' if projects else 'no'} projection: {cure}"
            )
        if self.initial_state not in ("zeros", "learned"):
            raise ShapeError(f"{call}: initial_state={self.initial_state!r}, expected 'zeros' or 'learned'")

    def _places(self) -> Iterator[tuple[int, int, str]]:
        """Each layer and direction, and how the names of its parameters end."""
        for layer in range(self.num_layers):
            for direction in range(2 if self.bidirectional else 1):
                yield layer, direction, f"_l{layer}" + ("_reverse" if direction else "")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by name, in torch's order."""
        cell, shapes, initial = self.cell, dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
        for layer, _, suffix in self._places():
            H = self.hidden_sizes[layer]
            P, rows, recurrent = self.proj_size or H, len(cell.input_gates) * H, len(cell.recurrent_gates) * H
            below = self.proj_size or self.hidden_sizes[layer - 1]
            I = self.input_size if layer == 0 else below * (2 if self.bidirectional else 1)
            shapes |= {"weight_ih" + suffix: (rows, I), "weight_hh" + suffix: (recurrent, P)}
            if self.bias:
                shapes |= {"bias_ih" + suffix: (rows,), "bias_hh" + suffix: (recurrent,)}
            if self.proj_size:
                shapes["weight_hr" + suffix] = (P, H)
            shapes |= {p.replace(".", "_") + suffix: (H,) for p in cell.parameters}
            initial |= {f"initial_{s}{suffix}": (P if k == 0 else H,) for k, s in enumerate(cell.states)}
        learned = initial if self.initial_state == "learned" else {}
        return {name: shape for name, shape in (shapes | learned).items() if shape[0]}

    def _weights(self, suffix: str, x: Tensor, layer: int) -> tuple[list[Tensor | None], list[Tensor]]:
        """W, U, b, c, R, and the per-unit parameters, of one layer and direction."""
        H, cell = self.hidden_sizes[layer], self.cell
        inputs, recurrent = len(cell.input_gates) * H, len(cell.recurrent_gates) * H

        def get(name: str, *shape: int) -> Tensor:
            return self._parameter(name + suffix) if name + suffix in self._named else x.new_zeros(shape)

        weights: list[Tensor | None] = [
            get("weight_ih", inputs, x.shape[-1]),
            get("weight_hh", recurrent, self.proj_size or H),
            get("bias_ih", inputs),
            get("bias_hh", recurrent),
            get("weight_hr") if self.proj_size else None,
        ]
        return weights, [self._parameter(p.replace(".", "_") + suffix) for p in cell.parameters]

    def _parameter(self, name: str) -> Tensor:
        parameter = self._parameters.get(name)  # not there where it is parametrized
        return getattr(self, name) if parameter is None else parameter

    def _learned(self, suffix: str) -> list[Tensor]:
        """What a row of one layer and direction begins with, [H] for each state, where that is learned."""
        names = self.cell.states if self.initial_state == "learned" else ()
        return [self._parameter(f"initial_{s}{suffix}") for s in names]

    @property
    def _even(self) -> bool:
        """Whether one tensor holds a state of all layers: they are of one size."""
        return len(set(self.hidden_sizes)) == 1

    def _call(self) -> str:
        return f"Recurrent({self.cell.name}).forward"


def _sizes(hidden_size: int | Sequence[int], num_layers: int | None) -> tuple[int, ...]:
    """The hidden size of each layer."""
    if isinstance(hidden_size, (int, np.integer)):
        layers = 1 if num_layers is None else int(num_layers)
        if layers < 1:
            raise ShapeError(f"Recurrent: num_layers={num_layers}, expected at least 1")
        return (int(hidden_size),) * layers
    sizes = tuple(map(int, hidden_size))
    if not sizes or num_layers not in (None, len(sizes)):
        raise ShapeError(
            f"Recurrent: hidden_size={sizes} with num_layers={num_layers}, expected one size for each layer"
        )
    return sizes
