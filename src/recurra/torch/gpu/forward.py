"""Forward on a GPU: all input products at once, then the sequence in one launch or, with torch's products, in many."""

# ruff: noqa: A002  (`all` is the operator's)

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.torch.gpu.plan import Plan, product


class Forward:
    """One run over a batch, and what its kernels write, in float32 and in the order of reading."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.states = plan.begin
        self.inputs = self._inputs()
        self.arrays = plan.parameters | {"lengths": plan.ends, "reset": plan.reset}

    def run(self, keep: bool, all: bool) -> tuple[list[Tensor], Tensor]:
        """Output, final states, with `all` states and gates of every step, and what backward needs."""
        plan = self.plan
        segmented = keep and plan.every < plan.T
        tape = plan.empty(plan.tape if keep else 0)
        after, kept = self.memory(plan.T, (keep and not segmented) or all, tape if keep and not segmented else None)
        begin = [s.clone() for s in self.states]
        segments = plan.segments if segmented else [(0, plan.T)]
        places = tape.split([plan.B * w for _ in segments for w in plan.widths]) if segmented else ()
        for k, (first, end) in enumerate(segments):
            if segmented:
                for s, place in zip(self.states, places[k * len(self.states) :], strict=False):
                    place.copy_(s.reshape(-1))
            self.segment(first, end, [a[first:end] for a in after], None if kept is None else kept[first:end])
        results = [plan.read(after[0]), *self.states]
        if all:
            results += [*(plan.read(a) for a in after), self._gates(begin, after, kept)]
        return [r.to(plan.call.x.dtype, copy=True) for r in results], tape

    def memory(self, steps: int, saves: bool, tape: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """The states after so many steps, and what is kept of them; in the tape, where that is to hold them."""
        plan, count = self.plan, self.plan.kernels.printed.kept
        shapes = [(steps, plan.B, w) for w in plan.widths] + [(steps, plan.B, count * plan.H)] * saves
        if tape is None:
            found = [plan.empty(*shape) for shape in shapes]
        else:
            sizes = [s * b * w for s, b, w in shapes]
            found = [part.view(shape) for part, shape in zip(tape.split(sizes), shapes, strict=True)]
        return found[: len(plan.widths)], found[-1] if saves else None

    def segment(self, first: int, end: int, after: list[Tensor], kept: Tensor | None) -> None:
        """Take the states from one step to another."""
        plan = self.plan
        arrays = self.arrays | {f"state{k}": s for k, s in enumerate(self.states)}
        arrays |= {f"after{k}": a for k, a in enumerate(after)} | ({} if kept is None else {"kept": kept})
        ending = "" if kept is None else "_saving"
        if plan.inside:
            arrays |= {"inputs": self.inputs[first:end], "reset": plan.reset[first:]}
            plan.launch(f"sequence{ending}", arrays, first, end - first)
            return
        step = self._step(arrays, f"step{ending}", after, kept)
        operands = [torch.where(self._fresh(first), 0.0, s) for s in self.states]
        for s in range(first, end):
            step(s, s - first, operands)

    def _step(
        self, arrays: dict[str, Tensor], name: str, after: list[Tensor], kept: Tensor | None
    ) -> Callable[[int, int, list[Tensor]], None]:
        """One step: products and routines in turns."""
        plan, kernels = self.plan, self.plan.kernels.printed
        U, c = plan.call.U, plan.call.c
        runs = [(r, r.of(U).t(), r.of(c).float()) for r in plan.runs if r.operand >= 0]
        slots = plan.empty(plan.B, len(kernels.layout.slots) * plan.H)
        inner = [plan.empty(plan.B, plan.H) for _ in range(kernels.inner + kernels.projects)]
        arrays = arrays | {"products": slots} | {f"inner{i}": v for i, v in enumerate(inner)}
        n = len(self.states)

        def fill(operands: list[Tensor], late: bool) -> None:
            for run, weights, bias in runs:
                if (run.operand >= n) == late:
                    slots[:, run.columns] = product(operands[run.operand], weights) + bias

        def step(s: int, at: int, operands: list[Tensor]) -> None:
            fill(operands, late=False)
            own = arrays | {"inputs": self.inputs[s], "reset": plan.reset[s:]}
            own |= {f"after{k}": a[at] for k, a in enumerate(after)} | ({} if kept is None else {"kept": kept[at]})
            own |= {f"operand{k}": o for k, o in enumerate(operands)}
            if kernels.inner:
                plan.launch("step_inner", own, s, 1)
                fill([*operands, *inner], late=True)
            plan.launch(name, own, s, 1)
            if kernels.projects:
                self._project(s, inner[-1], after[0][at], operands[0])

        return step

    def _project(self, s: int, hidden: Tensor, after: Tensor, operand: Tensor) -> None:
        """The first state of a cell that projects it, which no routine touches."""
        plan, state = self.plan, self.states[0]
        assert plan.call.R is not None
        runs = (s < plan.ends)[:, None]
        state.copy_(torch.where(runs, product(hidden, plan.call.R.t()), state))
        after.copy_(torch.where(runs, state, 0.0))
        operand.copy_(torch.where(self._fresh(s + 1), 0.0, state))

    def _fresh(self, s: int) -> Tensor:
        return (self.plan.reset[s] != 0)[:, None]

    def _inputs(self) -> Tensor:
        """[T, B, slots * H], what the input brings to the slots that it feeds."""
        plan = self.plan
        flat = plan.x.reshape(-1, plan.I)
        parts = [product(flat, r.of(plan.call.W).t()) + r.of(plan.call.b).float() for r in plan.runs if r.operand < 0]
        whole = torch.cat(parts, 1) if len(parts) > 1 else parts[0] if parts else plan.empty(len(flat), 0)
        return whole.reshape(plan.T, plan.B, -1).contiguous()

    def _gates(self, begin: list[Tensor], after: list[Tensor], kept: Tensor | None) -> Tensor:
        """[gates, T, B, H], from what was kept."""
        plan, count = self.plan, len(self.plan.call.cell.gates)
        found = plan.zeros(plan.T, plan.B, count * plan.H)
        rows = plan.T * plan.B
        assert kept is not None
        arrays = self.arrays | {"kept": kept, "gates_": found}
        arrays |= {f"begin{k}": before(plan, k, begin, after) for k in range(len(after))}
        arrays |= {f"after{k}": a for k, a in enumerate(after)}
        arrays["lengths"] = plan.inside_rows.to(torch.int64).reshape(rows)
        arrays["reset"] = plan.zeros(2 * rows, dtype=torch.int8)
        plan.launch("gates", arrays, 0, 1, rows)
        shaped = found.reshape(plan.T, plan.B, count, plan.H).permute(2, 0, 1, 3)
        return torch.stack([plan.read(g.contiguous()) for g in shaped]) if count else shaped


def before(plan: Plan, k: int, begin: list[Tensor], after: list[Tensor], first: int = 0) -> Tensor:
    """State k before each step, as the step reads it: after its resets."""
    shifted = torch.cat([begin[k][None], after[k][:-1]])[: len(after[k])]
    if plan.call.reset is None:
        return shifted
    return torch.where((plan.reset[first : first + len(shifted)] != 0)[..., None], 0.0, shifted)
