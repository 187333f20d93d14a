"""How a run over a batch is laid out on a GPU: one launch for the sequence or one for each step, tiles, and memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from recurra.torch.call import Call
from recurra.torch.gpu.source import Loaded, interpreted, loaded

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 32  # units, with which a program does the products of its rows itself: in 16 bits twice as many
RESIDENT = 96 << 10  # bytes of weights that stay on the chip over all steps
ROWS = 16  # of a tile with products: no fewer can be multiplied
TALL, WIDE = 4, 64  # rows and units of a tile without


@dataclass(frozen=True)
class Plan:
    """The sizes of one run and what follows from them.

    Attributes:
        call: the operator's arguments.
        kernels: the cell's.
        T, B, I, H, P: its sizes.
    """

    call: Call
    kernels: Loaded
    T: int
    B: int
    I: int
    H: int
    P: int

    @classmethod
    def of(cls, call: Call) -> Plan:
        """Of a call of the operator.

        Raises:
            MissingExtraError: the kernels cannot be made.
        """
        T, B, I = call.x.shape
        return cls(call, loaded(call.cell), T, B, I, call.hidden_size, call.U.shape[1])

    @property
    def multiplies(self) -> bool:
        """Whether a step has products."""
        return bool(self.call.cell.recurrent_gates) or self.call.R is not None

    @property
    def inside(self) -> bool:
        """Whether one launch runs the sequence, products included."""
        widest = WIDEST if self.call.U.dtype == torch.float32 else 2 * WIDEST
        return not self.multiplies or max(self.H, self.P) <= widest

    @property
    def precision(self) -> str:
        """Of a program's products of float32: TF32 only where torch is told so, else three of it, which is float32's.

        Triton 3.9 fails to compile the adjoint of some cells (an LSTM's) with "ieee" products.
        """
        if interpreted():
            return "ieee"
        return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"

    @property
    def every(self) -> int:
        """The steps of a segment, between states that are kept."""
        return min(self.call.options.every or self.T, self.T)

    @property
    def segments(self) -> list[tuple[int, int]]:
        """The first step of each segment and its end."""
        return [(s, min(s + self.every, self.T)) for s in range(0, self.T, self.every)] if self.T else []

    @property
    def widths(self) -> list[int]:
        """The width of each state."""
        return self.call.widths

    @property
    def tape(self) -> int:
        """How many numbers backward needs: of every step, or the states at the beginning of each segment."""
        if self.every < self.T:
            return len(self.segments) * self.B * sum(self.widths)
        return self.T * self.B * (sum(self.widths) + self.kernels.printed.kept * self.H)

    def launch(self, name: str, arrays: dict[str, Tensor], first: int, steps: int, rows: int | None = None) -> None:
        """Start a kernel on all rows and units."""
        rows = self.B if rows is None else rows
        products = name.startswith("sequence") and self.multiplies
        tall = ROWS if products else TALL
        wide = max(16, _power(self.H)) if products else min(WIDE, _power(self.H))
        grid = (-(-rows // tall), 1 if self.call.R is not None else -(-self.H // wide))
        if self.call.R is not None:
            wide = max(16, _power(self.H))
        across = max(16, _power(self.P))
        weights = self.call.U.numel() + (0 if self.call.R is None else self.call.R.numel())
        resident = products and weights * self.call.U.element_size() <= RESIDENT
        masks = self.call.lengths is not None, self.call.reset is not None
        sizes = first, steps, rows, self.H, self.P
        if rows and steps and self.H:
            self.kernels.launch(name, grid, arrays, sizes, (tall, wide, across, *masks, resident, self.precision))

    # The operator's arguments as kernels take them.

    @cached_property
    def ends(self) -> Tensor:
        """[B], the steps of each row."""
        x = self.call.x
        whole = torch.full((self.B,), self.T, dtype=torch.int64, device=x.device)
        return whole if self.call.lengths is None else self.call.lengths.to(torch.int64).contiguous()

    @cached_property
    def inside_rows(self) -> Tensor:
        """[T, B, 1], where a row has a step, in the order of reading."""
        return (torch.arange(self.T, device=self.call.x.device)[:, None] < self.ends)[..., None]

    @cached_property
    def order(self) -> Tensor | None:
        """[T, B], which step is read as the s-th, and the other way; None where they are read as they stand."""
        if not self.call.reverse:
            return None
        steps = torch.arange(self.T, device=self.call.x.device)[:, None]
        return torch.where(steps < self.ends, self.ends - 1 - steps, steps)

    def read(self, t: Tensor) -> Tensor:
        """[T, B, ...] in the order of reading, or from it in that of time; zeros past the end of each row."""
        if self.order is not None:
            t = t.gather(0, self.order.reshape(*self.order.shape, *[1] * (t.dim() - 2)).expand_as(t))
        if self.call.lengths is not None and t.dim() == 3:
            t = torch.where(self.inside_rows, t, 0)
        return t.contiguous()

    @cached_property
    def x(self) -> Tensor:
        """The input."""
        return self.read(self.call.x)

    @cached_property
    def reset(self) -> Tensor:
        """[T + 1, B] of int8."""
        found = torch.zeros(self.T + 1, self.B, dtype=torch.int8, device=self.call.x.device)
        if self.call.reset is not None:
            found[: self.T] = self.read(self.call.reset.to(torch.int8))
        return found

    @property
    def begin(self) -> list[Tensor]:
        """The initial states, in float32."""
        given = list(self.call.state) or [self.call.x.new_zeros(self.B, w) for w in self.widths]
        return [s.to(torch.float32, copy=True).contiguous() for s in given]

    def zeros(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """On the device."""
        return torch.zeros(shape, dtype=dtype, device=self.call.x.device)

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """On the device."""
        return torch.empty(shape, dtype=dtype, device=self.call.x.device)

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """What every kernel reads."""
        arrays = {f"parameter{i}": p.float().contiguous() for i, p in enumerate(self.call.parameters)}
        none = self.empty(1)
        arrays |= {"weights": self.call.U.contiguous(), "biases": self.call.c.contiguous()}
        arrays["projection"] = none if self.call.R is None else self.call.R.contiguous()
        return arrays

    @cached_property
    def runs(self) -> list[Run]:
        """The products: what fills which neighbouring slots, with the rows of weights that do."""
        layout, cell, H = self.kernels.printed.layout, self.call.cell, self.H
        found = []
        for run in layout.runs:
            slots = layout.slots[run.first : run.first + run.slots]
            gates = cell.input_gates if run.operand < 0 else cell.recurrent_gates
            named = [s.input if run.operand < 0 else s.recurrent for s in slots]
            rows = [gates.index(g) for g in named if g is not None]
            found.append(Run(run.operand, slice(run.first * H, (run.first + run.slots) * H), rows, H))
        return found


@dataclass(frozen=True)
class Run:
    """A product's operand (-1 the input, a state, an inner value), the columns it fills, and its gates' numbers."""

    operand: int
    columns: slice
    gates: list[int]
    H: int

    def of(self, weights: Tensor) -> Tensor:
        """Its rows of the weights, or of the bias."""
        first, n = self.gates[0], len(self.gates)
        if self.gates == list(range(first, first + n)):
            return weights[first * self.H : (first + n) * self.H]
        return torch.cat([weights[g * self.H : (g + 1) * self.H] for g in self.gates])

    def spread(self, gradient: Tensor, to: Tensor) -> None:
        """Add the gradient of `of(weights)` to that of the weights."""
        for k, g in enumerate(self.gates):
            to[g * self.H : (g + 1) * self.H] += gradient[k * self.H : (k + 1) * self.H]


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a b with sums in float32, added to `out` where that is given. Narrow factors stay narrow on a GPU."""
    if a.dtype != b.dtype:
        a = a.to(b.dtype)
    if a.dtype == torch.float32:
        return torch.mm(a, b) if out is None else out.addmm_(a, b)
    if a.is_cuda:
        found: Any = torch.mm(a, b, out_dtype=torch.float32)
    else:
        found = torch.mm(a.float(), b.float())
    return found if out is None else out.add_(found)


def _power(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()
