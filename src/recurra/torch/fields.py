"""`Fields`: equations on the fields of a row, element by element, as `recurra.runtime.Fields` has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from recurra.cells import Cell
from recurra.errors import CellError
from recurra.torch.recurrent import Recurrent
from recurra.torch.traced import as_node


class Fields(nn.Module):
    """One step of a cell without products, whose K states are the first K fields of a row.

    Letters: V numbers of a field, R of a row, of which the first K V are fields.

    Args:
        equations: a cell without products, as `input_decay`.
        size: V.
        rest: R - K V, the numbers that stay as they are.

    Raises:
        CellError: the cell has products.

    >>> import torch
    >>> from recurra.cells import input_decay
    >>> from recurra.torch import Fields, Recurrent
    >>> network = torch.nn.Sequential(Fields(input_decay, 5, rest=2), Recurrent("gru_d", 17, 8))
    >>> network(torch.zeros(10, 4, 17))[0].shape
    torch.Size([10, 4, 8])
    """

    def __init__(self, equations: Cell, size: int, rest: int = 0) -> None:
        super().__init__()
        self.equations, self.size, self.rest = equations, size, rest
        if self.equations.gates or self.equations.projection is not None:
            gates = ", ".join(self.equations.gates)
            raise CellError(f"Fields: {self.equations.name} has the gates {gates}, expected a cell without products")
        self.step = Recurrent(self.equations, 1, size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first small and above 0: a decay of 0 or less would learn nothing."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, 0.0, self.size**-0.5)

    def extra_repr(self) -> str:
        """The equations and the sizes."""
        return f"{self.equations.name}, {self.size}, rest={self.rest}"

    def forward(self, x: Tensor) -> Tensor:
        """[..., R] to [..., R]."""
        if isinstance(x, Proxy):
            node: Tensor = as_node(self, x)
            return node
        rows = x.reshape(-1, x.shape[-1])
        *fields, rest = rows.split([self.size] * len(self.equations.states) + [self.rest], -1)
        states = tuple(field.contiguous()[None] for field in fields)
        new = self.step(x.new_zeros(1, len(rows), 1), states if len(states) > 1 else states[0])[1]
        new = new if isinstance(new, tuple) else (new,)
        return torch.cat([*(field[0] for field in new), rest], -1).reshape(x.shape)
