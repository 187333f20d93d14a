"""A recurrence unit by unit in parallel over time: parts of the sequence are run side by side, as rows of a batch.

Where a part begins is not known before the parts before it have been run. Newton's method finds all these states at
once (multiple shooting): from a guess every part is run, with the derivative of its last states in its first ones; the
parts' errors then follow a linear recurrence, which is solved by an associative scan over the parts. A cell that is
affine in its states needs one iteration. With parts of one step it is the method of ParaRNN (Danieli et al. 2025);
longer ones are fewer unknowns, and converge sooner.

The gradient is that of the solution: the last run is differentiated as it is, and the states at its beginnings through
the same linear recurrence, whose coefficients are known.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra import engine
from recurra.cells.cell import Cell
from recurra.cells.unitwise import Unitwise, is_unitwise, unitwise
from recurra.errors import CellError
from recurra.torch.call import cell_of
from recurra.torch.operator import is_autocast, scan, widened

FACTOR = 3.5  # `python -m benchmarks.parallel` on one thread
SHORTEST = 64  # steps of a part
ROWS = 1024  # of a batch, at least, that keeps a device busy
MOST = 8  # iterations: a sequence that needs more is not worth them
ROUNDING = 100  # the defect at which the parts fit together, in units of rounding


@dataclass(frozen=True)
class Solved:
    """How a sequence was run in parallel.

    Attributes:
        parts: how many parts were run side by side.
        iterations: of Newton's method; 1 where the cell is affine in its states.
        residual: by how much the parts fail to fit together, as a share of the largest state (or of 1).
        converged: whether they fit; if not, the sequence was run step by step instead.
    """

    parts: int
    iterations: int
    residual: float
    converged: bool


@dataclass(frozen=True)
class _Folded:
    """A batch [T, B, ...] as parts [steps, parts * B, ...], the rows of one part after those of another."""

    x: Tensor
    lengths: Tensor | None
    reset: Tensor | None
    T: int
    B: int
    parts: int

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None, reset: Tensor | None, parts: int) -> _Folded:
        T, B, _ = x.shape
        steps = -(-T // parts)

        def fold(t: Tensor) -> Tensor:
            whole = pad(t, (0, 0) * (t.dim() - 1) + (0, parts * steps - T)) if parts * steps > T else t
            return whole.reshape(parts, steps, *t.shape[1:]).transpose(0, 1).reshape(steps, parts * B, *t.shape[2:])

        ends = None
        if lengths is not None or parts * steps > T:
            whole = torch.full((B,), T, device=x.device) if lengths is None else lengths
            first = torch.arange(parts, device=x.device)[:, None] * steps
            ends = (whole - first).clamp(0, steps).reshape(-1)
        return cls(fold(x), ends, None if reset is None else fold(reset), T, B, parts)

    def rows(self, t: Tensor) -> Tensor:
        """[parts, B, H] of [parts * B, H], and back."""
        return t.reshape(self.parts, self.B, -1) if t.dim() == 2 else t.reshape(self.parts * self.B, -1)

    def unfold(self, t: Tensor) -> Tensor:
        """[T, B, H] again."""
        steps, H = t.shape[0], t.shape[-1]
        whole = t.reshape(steps, self.parts, self.B, H).transpose(0, 1).reshape(-1, self.B, H)
        return whole[: self.T]


def not_unitwise(cell: Cell) -> CellError:
    """What to raise where a cell cannot be run in parallel."""
    return CellError(
        f"{cell.name} in parallel: a step multiplies its states by matrices, expected a recurrence unit by unit: "
        "pass parallel='auto', or take gru_diagonal, lstm_diagonal, mingru or minlstm"
    )


def parts_for(parallel: Literal["auto"] | bool, cell: Cell, x: Tensor, training: bool) -> int:
    """In how many parts a layer runs x [T, B, I]; 1: step by step.

    Running the parts costs about FACTOR times the sequence, so that many must run at once for any gain: a part a thread
    on a CPU, and on another device as many rows as keep it busy.
    """
    T, B, _ = x.shape
    if parallel is False or T < 2 or not B or not is_unitwise(cell):
        return 1
    at_once = engine.get_num_threads() if x.is_cpu else ROWS
    parts = min(T // SHORTEST, -(-at_once // B))
    if parallel is True:
        return max(2, parts)
    pays = parts > FACTOR and training and torch.is_grad_enabled() and x.dtype in (torch.float32, torch.float64)
    return parts if pays and find_spec("sympy") else 1


def scan_parallel(
    cell: str,
    x: Tensor,
    weights: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    every: int,
    parts: int,
    scan: Callable[..., list[Tensor]] = scan,
) -> tuple[list[Tensor], Solved]:
    """As `operator.scan`, with the sequence in so many parts; step by step where these do not fit together in the end.

    Raises:
        CellError: the recurrence is not unit by unit.
        MissingExtraError: SymPy, or on a CPU llvmlite, is not installed.
    """
    how: Any = (lengths, reset, reverse, every, parts, scan)
    if is_autocast(x.device.type):
        inside: list[Solved] = []

        def run(*given: Any) -> list[Tensor]:
            results, found = scan_parallel(cell, *given, *how)
            inside.append(found)
            return results

        return widened(run, x, weights, parameters, state), inside[0]
    of = unitwise(cell_of(cell))
    if of is None:
        raise not_unitwise(cell_of(cell))
    H = weights[1].shape[1]  # type: ignore[union-attr]
    begin = list(state) or [x.new_zeros(x.shape[1], H) for _ in cell_of(cell).states]
    problem = _Problem(of, cell, _Folded.of(x, lengths, reset, parts), weights, parameters, begin, reverse, scan)
    with torch.no_grad():
        found = problem.solve()
    if found.converged:
        results, residual = problem.differentiable(found, every)
        return results, Solved(parts, found.iterations, residual, True)
    warnings.warn(
        f"{cell_of(cell).name} in parallel over {parts} parts: a residual of {found.residual:.2g} after "
        f"{found.iterations} iterations, so it was run step by step: pass parallel=False",
        RuntimeWarning,
        stacklevel=2,
    )
    solved = Solved(parts, found.iterations, found.residual, False)
    return scan(cell, x, weights, parameters, state, lengths, reset, reverse, every), solved


@dataclass
class _Found:
    """The states [parts, n, B, H] at the parts' beginnings, and around them the derivatives of each part's last states,
    [parts, n, n, B, H], and of its outputs, [steps, parts * B, H] for each carried state."""

    begin: Tensor
    over: Tensor
    outputs: list[Tensor]
    iterations: int
    residual: float
    converged: bool


class _Problem:
    """The parts of one call, in the order in which they are read."""

    def __init__(
        self,
        of: Unitwise,
        cell: str,
        folded: _Folded,
        weights: Sequence[Tensor | None],
        parameters: Sequence[Tensor],
        state: Sequence[Tensor],
        reverse: bool,
        scan: Callable[..., list[Tensor]],
    ) -> None:
        self.scan = scan
        self.of, self.cell, self.folded, self.reverse = of, cell, folded, reverse
        self.weights, self.parameters, self.state = weights, parameters, torch.stack([*state])

    def solve(self) -> _Found:
        """Newton's method from zeros."""
        found = _Found(self._guess(), self.state, [], 0, float("inf"), False)
        while found.iterations < MOST:
            last, found.over, found.outputs = self._linearised(found.begin)
            found.iterations += 1
            defect = last[:-1] - found.begin[1:]
            found.residual = self._share(defect, last)
            found.converged = self.of.affine or found.residual <= ROUNDING * torch.finfo(last.dtype).eps
            if (found.converged and not self.of.affine) or not found.residual < float("inf"):
                break
            found.begin[1:] += _propagate(found.over[:-1], defect)
            if self.of.affine:
                break
        found.converged = found.converged and found.residual < float("inf")
        return found

    def differentiable(self, found: _Found, every: int) -> tuple[list[Tensor], float]:
        """The cell itself from the states found, and what its results owe to these states' own causes."""
        results = self._run(self.cell, [self._rows(s) for s in found.begin.unbind(1)], every)
        last = torch.stack([self._parts(s) for s in results[1:]], 1)
        defect = last[:-1] - found.begin[1:]
        first = (self.state - found.begin[0])[None]
        entering = first
        if len(defect):
            defect = torch.cat([defect[:1] + _times(found.over[:1], first), defect[1:]])
            entering = torch.cat([first, _propagate(found.over[:-1], defect)])
        output = results[0]
        for k, slope in zip(self.of.carried, found.outputs, strict=True):
            output = torch.addcmul(output, slope, self._rows(entering[:, k]).expand_as(slope))
        final = last[-1] + _times(found.over[-1:], entering[-1:])[0]
        return [self.folded.unfold(output), *final.unbind()], self._share(defect.detach(), last.detach())

    def _guess(self) -> Tensor:
        begin = self.state.new_zeros(self.folded.parts, *self.state.shape)
        begin[0] = self.state
        return begin

    def _linearised(self, begin: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Each part's last states, their derivatives in its first, and those of its outputs."""
        n = begin.shape[1]
        over, outputs = begin.new_zeros(begin.shape[0], n, *begin.shape[1:]), []
        states = [self._rows(s) for s in begin.unbind(1)]
        for k, tangent in zip(self.of.carried, self.of.tangents, strict=True):
            unit = [torch.full_like(s, float(i == k)) for i, s in enumerate(states)]
            output, *final = self._run(tangent.text, unit + states, 0)
            outputs.append(output)
            over[:, :, k] = torch.stack([self._parts(d) for d in final[:n]], 1)
        ends = self.folded.lengths
        for k in {*range(n)} - {*self.of.carried} if ends is not None else ():
            assert ends is not None
            over[:, k, k] = self._parts(ends.eq(0).to(begin.dtype)[:, None])  # no step: it stays
        last = torch.stack([self._parts(s) for s in final[n:]], 1) if self.of.tangents else begin
        return last, over, outputs

    def _share(self, defect: Tensor, last: Tensor) -> float:
        """The largest defect of a state that is read, as a share of the largest state."""
        if not self.of.carried or not defect.numel():
            return 0.0
        worst = defect[:, self.of.carried].abs().max() / last.abs().max().clamp(min=1.0)
        return float(worst.nan_to_num(nan=float("inf")))

    def _run(self, cell: str, states: Sequence[Tensor], every: int) -> list[Tensor]:
        f = self.folded
        return self.scan(cell, f.x, self.weights, self.parameters, states, f.lengths, f.reset, self.reverse, every)

    def _rows(self, t: Tensor) -> Tensor:
        """[parts * B, H] in the order of time, of [parts, B, H] in the order of reading."""
        return self.folded.rows(t.flip(0) if self.reverse else t)

    def _parts(self, t: Tensor) -> Tensor:
        """The other way."""
        parts = self.folded.rows(t)
        return parts.flip(0) if self.reverse else parts


def _propagate(over: Tensor, defect: Tensor) -> Tensor:
    """d[k + 1] = defect[k] + over[k] d[k] from d[0] = 0, for all k at once, by doubling (Hillis & Steele 1986)."""
    reach = 1
    while reach < len(defect):
        defect = torch.cat([defect[:reach], defect[reach:] + _times(over[reach:], defect[:-reach])])
        products = (over[reach:, :, :, None] * over[:-reach, None]).sum(2)
        over = torch.cat([over[:reach], products])
        reach *= 2
    return defect


def _times(over: Tensor, vector: Tensor) -> Tensor:
    """A matrix for each unit, [k, n, n, B, H], times a vector, [k, n, B, H]."""
    product: Tensor = (over * vector[:, None]).sum(2)
    return product
