"""`watch`: the doctor beside a training loop, at every so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from recurra import engine
from recurra.doctor.activity import FLAT, LIMITED
from recurra.doctor.anomalies import Anomaly
from recurra.doctor.examine import need_recurrent, norm_of, steps_of
from recurra.doctor.findings import Findings
from recurra.doctor.gradient import last_look, norm, rate_of
from recurra.doctor.rules import LAG, findings_of_training, not_finite
from recurra.doctor.search import anomaly_in
from recurra.doctor.tensorboard import write_sample, writer_for
from recurra.errors import DoctorError
from recurra.torch.observe import Call, Observer
from recurra.traces import LayerTrace

ROWS = 8
MOST_STEPS = 512  # of a sequence, up to the loss, that are looked at


def watch(
    module: nn.Module, every: int = 50, *, lag: int | None = None, rows: int = ROWS, tensorboard: Any = None
) -> Record:
    """Look at a network while it is trained, at one of every so many steps.

    A step is a call of the module in training mode with gradients. Nothing of the training changes, to the last bit:
    at a sampled step the inputs of the recurrent layers and what comes back to them are noted, and just before the
    optimizer's step, when gradients have been clipped, the native kernels carry the gradient of the loss at the last
    step back once more, on some rows.

    Args:
        module: what is trained.
        every: how many steps apart.
        lag: how many steps back the task needs the network to look; 20 if not given.
        rows: sequences of a batch that are looked at.
        tensorboard: a SummaryWriter, or a folder, that gets the numbers of each sample.

    Raises:
        DoctorError: the module has no recurrent layer, or `every` is less than 1.

    >>> import torch
    >>> from recurra import doctor
    >>> from recurra.torch import GRU
    >>> layer = GRU(1, 4)
    >>> optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    >>> with doctor.watch(layer, every=2) as record:
    ...     for _ in range(4):
    ...         loss = layer(torch.ones(5, 2, 1))[0].square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    >>> [sample["step"] for sample in record.samples]
    [0, 2]
    """
    if every < 1:
        raise DoctorError(f"watch: every={every}, expected at least 1")
    return Record(module, every, LAG if lag is None else lag, rows, tensorboard)


class Record:
    """What `watch` saw; a context manager.

    Attributes:
        samples: for each sampled step a dict: `step`; `loss` where it was noted; the norm of the `gradient` before and
            `after` clipping; the `learning_rate`; the `update`, as a share of the parameters' norm; and for each of
            `layers` the `lags`, `norms` and `rate` of the loss gradient, the `saturation` of each gate and the
            `largest` output.
        losses: every loss that was noted.
    """

    def __init__(self, module: nn.Module, every: int, lag: int, rows: int, tensorboard: Any) -> None:
        self.samples: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.anomaly: Anomaly | None = None
        self._module, self._every, self._lag, self._rows = module, every, lag, rows
        self._tensorboard, self._writer, self._open = tensorboard, None, ExitStack()
        need_recurrent(module)
        self._seen = Observer(module, listening=False)
        self._steps = 0
        self._handles: list[Any] = []
        self._forget()

    def __enter__(self) -> Record:
        if self._tensorboard is not None:
            self._writer = self._open.enter_context(writer_for(self._tensorboard))
        self._seen.__enter__()
        self._handles = [
            self._module.register_forward_pre_hook(self._before, prepend=True),
            self._module.register_forward_hook(self._after),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()
        self._seen.__exit__()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._open.close()

    def __deepcopy__(self, memo: object) -> Record:
        """A copy of the module is not watched, and does not copy what was seen."""
        return self

    def loss(self, value: Tensor | float) -> None:
        """Note the loss of the present step: the doctor then sees whether it rises."""
        self.losses.append(float(value.detach()) if isinstance(value, Tensor) else float(value))

    def findings(self) -> Findings:
        """What the samples so far say; with the first NaN, if there was one.

        Raises:
            DoctorError: there is no sample.
        """
        if not self.samples:
            raise DoctorError("watch: no step was seen, expected calls of the module in training mode, then a backward")
        found = findings_of_training(self.samples, self.losses, self._lag)
        if self.anomaly is not None:
            found = [not_finite(self.anomaly), *(f for f in found if f.kind != "healthy")]
        return Findings(found, lag=self._lag, anomaly=self.anomaly, steps=self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return self.findings().to_dict()

    def _forget(self) -> None:
        self._calls: list[Call] = []
        self._back: dict[int, Tensor] = {}
        self._before_clipping: float | None = None
        self._was: list[Tensor] = []
        self._hooks: list[Any] = []

    def _before(self, module: nn.Module, _: Any) -> None:
        if module is not self._module or not (module.training and torch.is_grad_enabled()):
            return
        self._finish()
        self._seen.listening = self._steps % self._every == 0
        self._seen.calls.clear()
        self._steps += 1

    def _after(self, module: nn.Module, _: Any, result: Any) -> None:
        if module is not self._module or not self._seen.listening:
            return
        self._seen.listening = False
        self._calls = self._seen.longest()
        for call in self._calls:
            for tensor in call.tensors():
                if tensor.requires_grad:
                    self._hooks.append(tensor.register_hook(self._keeper(tensor)))
        parameters = [p for p in module.parameters() if p.requires_grad]
        if parameters:
            self._hooks.append(register_multi_grad_hook(parameters, self._arrived))

    def _keeper(self, tensor: Tensor) -> Any:
        key = id(tensor)

        def keep(gradient: Tensor) -> None:
            self._back[key] = gradient

        return keep

    def _arrived(self, gradients: Sequence[Tensor | None]) -> None:
        self._before_clipping = norm_of(gradients)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._before_clipping is None or not self._owns(optimizer):
            return
        after = norm_of([p.grad for p in self._module.parameters()])
        self._finish(after, float(optimizer.param_groups[0]["lr"]))
        self._was = [p.detach().clone() for p in self._module.parameters()]

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not self._was or not self._owns(optimizer):
            return
        moved = [p.detach() - was for p, was in zip(self._module.parameters(), self._was, strict=True)]
        self.samples[-1]["update"] = norm_of(moved) / max(norm_of(self._was), 1e-30)
        self._was = []

    def _owns(self, optimizer: torch.optim.Optimizer) -> bool:
        own = {id(p) for p in self._module.parameters()}
        return any(id(p) in own for group in optimizer.param_groups for p in group["params"])

    def _finish(self, after: float | None = None, rate: float | None = None) -> None:
        """Make a sample of what was noted, if a gradient came back."""
        if self._before_clipping is None:
            self._drop()
            return
        sample: dict[str, Any] = {"step": self._steps - 1, "gradient": self._before_clipping, "after": after}
        sample |= {"learning_rate": rate, "update": None, "loss": self.losses[-1] if self.losses else None}
        sample["layers"] = {}
        finite = np.isfinite(self._before_clipping)
        for call in self._calls if finite else []:
            found = call.gradients([self._back.get(id(t)) for t in call.tensors()])
            for trace in call.traces(_recent(call, self._rows), found):
                sample["layers"][trace.name] = _look(trace, self._lag)
        if not finite and self.anomaly is None:
            self.anomaly = anomaly_in(self._calls) or Anomaly(
                -1, "the network", "the gradient", "NaN or infinity", 0, f"in training step {sample['step']}", True
            )
        self.samples.append(sample)
        if self._writer is not None:
            write_sample(self._writer, sample)
        self._drop()

    def _drop(self) -> None:
        for handle in self._hooks:
            handle.remove()
        self._forget()


def _recent(call: Call, rows: int) -> list[tuple[int, int, int]]:
    """The ends of the longest segments; what is long before the loss takes time and tells no more."""
    return [(row, max(a, b - MOST_STEPS), b) for row, a, b in steps_of(call, rows)]


def _look(trace: LayerTrace, lag: int) -> dict[str, Any]:
    """The gradient at some lags, by the native kernels in the dtype of training, and how saturated the gates are."""
    end = last_look(trace) + 1
    lags = sorted({k for k in (0, 1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 128, 200, 320, lag) if k < end})
    ran = engine.forward(trace.cell, trace.weights, trace.x[:end], trace.begin, return_states=True, return_gates=True)
    states, now = ran.states or [], [np.array(d) for d in trace.d_state]
    now[0] = now[0] + trace.d_output[end - 1]
    norms = [norm(now)]
    for near, far in pairwise(lags):
        part = slice(end - far, end - near)
        begin = [np.ascontiguousarray(s[end - far - 1]) for s in states]
        tape = engine.forward(trace.cell, trace.weights, trace.x[part], begin, keep=True).tape
        now = engine.backward(tape, None, now, want_x=False).state  # type: ignore[arg-type]
        norms.append(norm(now))
    return {
        "lags": lags,
        "norms": norms,
        "rate": rate_of(np.array(lags), np.array(norms)),
        "saturation": _saturation(trace, ran.gates or {}),
        "largest": float(np.abs(ran.output).max(initial=0.0)),
    }


def _saturation(trace: LayerTrace, gates: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of each gate's values at a limit, by the slope that its value tells."""
    shares = {}
    for gate, node in trace.cell.gate_values.items():
        y = gates[gate]
        match node._op:
            case "tanh":
                slope = 1 - y * y
            case "sigmoid":
                slope = y * (1 - y)
            case "hard_sigmoid":
                slope = np.where((y > 0) & (y < 1), LIMITED["hard_sigmoid"], 0.0)
            case _:
                continue
        shares[gate] = float(np.mean(slope < FLAT * LIMITED[node._op]))
    return shares
