"""Backward on a GPU: the steps, from the last, give the slots' gradients, and products over all steps the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.torch.gpu.forward import Forward, before
from recurra.torch.gpu.plan import Plan, product


class Backward:
    """One way back over a batch."""

    def __init__(self, plan: Plan, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool) -> None:
        call, self.plan, self.want_x = plan.call, plan, want_x
        shape = (plan.T, plan.B, plan.P)
        self.d_output = plan.zeros(*shape) if d_output is None else plan.read(d_output.float())
        self.d_state = [
            plan.zeros(plan.B, w) if d is None else d.to(torch.float32, copy=True).reshape(plan.B, w).contiguous()
            for d, w in zip(d_state, plan.widths, strict=True)
        ]
        self.d_x = plan.zeros(plan.T, plan.B, plan.I)
        self.d_W, self.d_U = (plan.zeros(*t.shape) for t in (call.W, call.U))
        self.d_b, self.d_c = (plan.zeros(*t.shape) for t in (call.b, call.c))
        self.d_R = None if call.R is None else plan.zeros(*call.R.shape)
        self.d_parameters = [plan.zeros(plan.B, plan.H) for _ in call.parameters]

    def run(self, tape: Tensor) -> list[Tensor]:
        """The gradients in the order of `Call.differentiable`."""
        plan, forward = self.plan, Forward(self.plan)
        n = len(plan.widths)
        if plan.every < plan.T:
            places = tape.split([plan.B * w for _ in plan.segments for w in plan.widths])
            for k, (first, end) in reversed([*enumerate(plan.segments)]):
                parts = zip(places[k * n : (k + 1) * n], plan.widths, strict=True)
                begin = [p.reshape(plan.B, w) for p, w in parts]
                forward.states = [s.clone() for s in begin]
                after, kept = forward.memory(end - first, saves=True)
                assert kept is not None
                forward.segment(first, end, after, kept)
                self._segment(first, begin, after, kept)
        else:
            after, kept = forward.memory(plan.T, saves=True, tape=tape)
            assert kept is not None
            self._segment(0, forward.states, after, kept)
        return self._results()

    def _results(self) -> list[Tensor]:
        plan, call = self.plan, self.plan.call
        weights = [self.d_W, self.d_U, self.d_b, self.d_c, *([] if self.d_R is None else [self.d_R])]
        found = [plan.read(self.d_x) if self.want_x else self.d_x.new_empty(0), *weights]
        found += [d.sum(0) for d in self.d_parameters]
        found += self.d_state if call.state else []
        return [g.to(call.x.dtype) for g in found]

    def _segment(self, first: int, begin: list[Tensor], after: list[Tensor], kept: Tensor) -> None:
        """The steps of a segment, and what their slots owe to weights and inputs."""
        plan, kernels, steps = self.plan, self.plan.kernels.printed, len(kept)
        slots = plan.zeros(steps, plan.B, len(kernels.layout.slots) * plan.H, dtype=plan.call.U.dtype)
        inner = [plan.empty(steps, plan.B, plan.H) for _ in range(kernels.inner + kernels.projects)]
        arrays = plan.parameters | {f"begin{k}": b for k, b in enumerate(begin)} | {"lengths": plan.ends}
        arrays |= {f"d_state{k}": d for k, d in enumerate(self.d_state)}
        arrays |= {f"d_parameter{i}": d for i, d in enumerate(self.d_parameters)}
        whole = {f"after{k}": a for k, a in enumerate(after)} | {f"inner{i}": v for i, v in enumerate(inner)}
        whole |= {"kept": kept, "d_slots": slots, "d_output": self.d_output[first:]}
        seeds = plan.empty(steps, plan.B, plan.P) if kernels.projects else None
        if seeds is not None:
            whole["d_projected"] = seeds
        if plan.inside:
            plan.launch("sequence_backward", arrays | whole | {"reset": plan.reset[first:]}, first, steps)
        else:
            for at in reversed(range(steps)):
                own = arrays | {name: a[at] for name, a in whole.items()} | {"reset": plan.reset[first + at :]}
                if at:
                    own |= {f"begin{k}": a[at - 1] for k, a in enumerate(after)}
                self._step(first + at, own)
            fresh = (plan.reset[first] != 0) & (first < plan.ends)
            for d in self.d_state:
                d.masked_fill_(fresh[:, None], 0.0)
        self._weights(first, begin, after, slots, inner)
        if seeds is not None and self.d_R is not None:
            hidden = inner[-1].reshape(-1, plan.H)
            product(seeds.reshape(-1, plan.P).t().to(plan.call.U.dtype), hidden.to(plan.call.U.dtype), self.d_R)

    def _step(self, s: int, arrays: dict[str, Tensor]) -> None:
        """One step: routines, and between them the products that lead on to inner values and to the old states."""
        plan, kernels, n = self.plan, self.plan.kernels.printed, len(self.d_state)
        slots, U = arrays["d_slots"], plan.call.U
        arrays = arrays | {f"d_inner{i}": plan.empty(0) for i in range(kernels.inner + kernels.projects)}
        if plan.call.R is not None:
            seed, d = arrays["d_projected"], self.d_state[0]
            runs, ran = (s < plan.ends)[:, None], (s + 1 < plan.ends)[:, None]
            d = torch.where((plan.reset[s + 1] != 0)[:, None] & ran, 0.0, d)
            seed.copy_(torch.where(runs, d + arrays["d_output"], 0.0))
            arrays[f"d_inner{kernels.inner}"] = product(seed, plan.call.R)
        if kernels.inner:
            plan.launch("step_backward_inner", arrays, s, 1)
            late: dict[int, Tensor] = {}
            for run in plan.runs:
                if run.operand >= n:
                    i = run.operand - n
                    late[i] = product(slots[:, run.columns], run.of(U), late.get(i))
            arrays |= {f"d_inner{i}": d for i, d in late.items()}
        plan.launch("step_backward", arrays, s, 1)
        for run in plan.runs:
            if 0 <= run.operand < n:
                product(slots[:, run.columns], run.of(U), self.d_state[run.operand])

    def _weights(
        self, first: int, begin: list[Tensor], after: list[Tensor], slots: Tensor, inner: list[Tensor]
    ) -> None:
        """What the slots of all steps owe to what was multiplied."""
        plan, call, steps = self.plan, self.plan.call, len(slots)
        flat = slots.reshape(steps * plan.B, -1)
        x = plan.x[first : first + steps].reshape(-1, plan.I)
        d_x = self.d_x[first : first + steps].reshape(-1, plan.I)
        n = len(begin)
        for run in plan.runs:
            d = flat[:, run.columns]
            if run.operand < 0:
                run.spread(product(d.t(), x), self.d_W)
                run.spread(d.float().sum(0), self.d_b)
                if self.want_x:
                    product(d, run.of(call.W), d_x)
                continue
            given = before(plan, run.operand, begin, after, first) if run.operand < n else inner[run.operand - n]
            run.spread(product(d.t(), given.reshape(len(flat), -1).to(d.dtype)), self.d_U)
            run.spread(d.float().sum(0), self.d_c)
