"""The remedies as changes of a module and of how it is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recurra.doctor.activity import is_gated, keeper_gates
from recurra.doctor.capture import recurrences_of, recurrent_layers
from recurra.runtime.layers import Layer
from recurra.torch import GRU, Recurrent
from recurra.torch.export import layers_of


@dataclass(frozen=True)
class Plan:
    """How a network is made and trained.

    Attributes:
        make: makes the module.
        learning_rate: of Adam.
        clip: the threshold of the gradient's norm, or None.
    """

    make: Callable[[], nn.Module]
    learning_rate: float
    clip: float | None


@dataclass(frozen=True)
class Case:
    """What a remedy may need to know of the data and of the diagnosis.

    Attributes:
        lag: how many steps back the task needs the network to look.
        x: a batch of inputs.
        axis: which axis of x is time, or None.
        answers_at_the_end: whether the output has no steps, so that the order of reading is free.
        usual_norm: the median of the gradient's norm in training.
    """

    lag: int
    x: Tensor
    axis: int | None
    answers_at_the_end: bool
    usual_norm: float


class Wrapped(nn.Module):
    """A recurrent layer with something done to its input or output; its states are passed on."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.batch_first = getattr(layer, "batch_first", False)

    def axis(self, x: Tensor) -> int:
        """Of time."""
        return 1 if self.batch_first and x.dim() == 3 else 0


class Normalised(Wrapped):
    """With layer normalisation of its output."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.norm = nn.LayerNorm(_width(layer))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the layer's."""
        output, *rest = self.layer(x, *args, **kwargs)
        return (self.norm(output), *rest)

    def model_layers(self) -> list[Layer]:
        """What it is in a model file."""
        return [*layers_of(self.layer), *layers_of(self.norm)]


class Residual(Wrapped):
    """With its input added to its output, through a matrix where their widths differ."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        wide, narrow = _width(layer), layer.input_size
        self.shortcut = nn.Identity() if wide == narrow else nn.Linear(narrow, wide, bias=False)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the layer's."""
        output, *rest = self.layer(x, *args, **kwargs)
        return (output + self.shortcut(x), *rest)


class BothWays(Wrapped):
    """With a second layer that reads from the end; outputs and states are added, so that the width stays."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.other = copy.deepcopy(layer)
        self.other.reset_parameters()

    def forward(self, x: Tensor) -> Any:
        """As the layer's; what is read at the last step is the sum of both ends."""
        axis = self.axis(x)
        output, state = self.layer(x)
        back, final = self.other(x.flip(axis))
        added = tuple(a + b for a, b in zip(state, final, strict=True)) if isinstance(state, tuple) else state + final
        output = output + back.flip(axis)
        last = output.select(axis, -1) - back.select(axis, 0) + back.select(axis, -1)
        output = torch.cat([output.narrow(axis, 0, output.shape[axis] - 1), last.unsqueeze(axis)], axis)
        return output, added


class Truncated(Wrapped):
    """With a gradient that goes back no more than so many steps."""

    def __init__(self, layer: Any, steps: int) -> None:
        super().__init__(layer)
        self.steps = steps

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """As the layer's: part by part, each with the detached state of the one before."""
        axis, outputs = self.axis(x), []
        for part in reversed([p.flip(axis) for p in x.flip(axis).split(self.steps, axis)]):
            output, state = self.layer(part, state)
            outputs.append(output)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return torch.cat(outputs, axis), state

    def model_layers(self) -> list[Layer]:
        """What it is in a model file: the layer, for only its training differs."""
        return layers_of(self.layer)


class Scaled(nn.Module):
    """A network whose inputs are brought to mean 0 and deviation 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.network = network
        flat = x.detach().reshape(-1, x.shape[-1])
        deviation = flat.std(0, correction=0)
        self.register_buffer("mean", flat.mean(0))
        self.register_buffer("deviation", torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor, *args: Any) -> Any:
        """As the network's."""
        return self.network((x - self.mean) / self.deviation, *args)


class Reversed(nn.Module):
    """A network that reads from the end."""

    def __init__(self, network: nn.Module, axis: int) -> None:
        super().__init__()
        self.network, self.axis = network, axis

    def forward(self, x: Tensor, *args: Any) -> Any:
        """As the network's."""
        return self.network(x.flip(self.axis), *args)


def treat(name: str, plan: Plan, case: Case) -> Plan | None:
    """The plan with a remedy; None where it cannot be applied to this network or these data."""
    if name == "clipping":
        return replace(plan, clip=case.usual_norm) if math.isfinite(case.usual_norm) else replace(plan, clip=1.0)
    if name == "learning_rate":
        return replace(plan, learning_rate=plan.learning_rate / 10)
    if name == "input_scaling":
        if not case.x.is_floating_point() or not bool(torch.isfinite(case.x).all()):
            return None
        return replace(plan, make=lambda: Scaled(plan.make(), case.x))
    if name == "time_reversal":
        axis = case.axis
        if axis is None or not case.answers_at_the_end:
            return None
        return replace(plan, make=lambda: Reversed(plan.make(), axis))
    change = _CHANGES[name]
    if not any(change(layer, case) is not None for _, layer in recurrent_layers(plan.make())):
        return None

    def make() -> nn.Module:
        module = plan.make()
        for _, layer in recurrent_layers(module):
            changed = change(layer, case)
            if layer is module:
                return module if changed is None else changed
            if changed is not None and changed is not layer:
                owner, own = next((m, n) for m in module.modules() for n, c in m.named_children() if c is layer)
                setattr(owner, own, changed)
        return module

    return replace(plan, make=make)


def _gated(layer: Any, _: Case) -> nn.Module | None:
    """The layer as a GRU of the same size; only where it has one state, for the next layer takes what it gives."""
    cell = recurrences_of(layer)[0][0][0]
    if is_gated(cell) or len(cell.states) != 1 or getattr(layer, "proj_size", 0) > 0:
        return None
    options: dict[str, Any] = {
        n: getattr(layer, n) for n in ("num_layers", "bias", "batch_first", "bidirectional") if hasattr(layer, n)
    }
    some = next(layer.parameters())
    options |= {"device": some.device, "dtype": some.dtype}
    if isinstance(layer, nn.RNNBase):
        return GRU(layer.input_size, layer.hidden_size, dropout=layer.dropout, **options)
    if not isinstance(layer, Recurrent):
        return None
    own: dict[str, Any] = {
        n: getattr(layer, n) for n in ("dropout", "initial_state", "stateful", "checkpoint_every", "return_all")
    }
    sizes = layer.hidden_sizes
    options.pop("num_layers")
    return Recurrent("gru", layer.input_size, sizes, **options, **own)


def _forget_bias(layer: Any, case: Case) -> nn.Module | None:
    """The bias log(u), u up to the lag: Tallec and Ollivier 2018, Can recurrent neural networks warp time?, eq. 16."""
    changed = False
    for entry in recurrences_of(layer):
        for cell, arrays in entry:
            H = arrays["W"].shape[0] // len(cell.input_gates) if cell.input_gates else 0
            for gate, sign in keeper_gates(cell).items():
                if gate not in cell.input_gates or not arrays["b"].requires_grad:
                    continue
                rows = slice(cell.input_gates.index(gate) * H, (cell.input_gates.index(gate) + 1) * H)
                with torch.no_grad():
                    u = torch.empty(H, dtype=arrays["b"].dtype).uniform_(1.0, max(2.0, float(case.lag)))
                    arrays["b"][rows] = sign * u.log()
                    if gate in cell.recurrent_gates:
                        i = cell.recurrent_gates.index(gate)
                        arrays["c_"][i * H : (i + 1) * H] = 0.0
                changed = True
    return layer if changed else None


def _orthogonal(layer: Any, _: Case) -> nn.Module | None:
    """Orthogonal blocks; the identity where the cell has relu (Le, Jaitly and Hinton 2015, section 2)."""
    changed = False
    for entry in recurrences_of(layer):
        for cell, arrays in entry:
            U = arrays["U"]
            if not cell.recurrent_gates or not U.requires_grad:
                continue
            relu = "relu(" in cell.text
            with torch.no_grad():
                for block in U.split(len(U) // len(cell.recurrent_gates)):
                    (nn.init.eye_ if relu else nn.init.orthogonal_)(block)
            changed = True
    return layer if changed else None


def _normalised(layer: Any, _: Case) -> nn.Module | None:
    return Normalised(layer)


def _residual(layer: Any, _: Case) -> nn.Module | None:
    return Residual(layer) if isinstance(getattr(layer, "input_size", None), int) else None


def _both_ways(layer: Any, case: Case) -> nn.Module | None:
    if getattr(layer, "bidirectional", True) or getattr(layer, "stateful", False) or case.axis is None:
        return None
    return BothWays(layer)


def _truncated(layer: Any, case: Case) -> nn.Module | None:
    return None if getattr(layer, "bidirectional", True) else Truncated(layer, max(1, case.lag))


def _width(layer: Any) -> int:
    entry = recurrences_of(layer)[-1]
    return sum(int(arrays["U"].shape[1]) for _, arrays in entry)


_CHANGES: dict[str, Callable[[Any, Case], nn.Module | None]] = {
    "gated_cell": _gated,
    "forget_bias": _forget_bias,
    "orthogonal": _orthogonal,
    "layer_norm": _normalised,
    "residual": _residual,
    "bidirectional": _both_ways,
    "truncation": _truncated,
}
