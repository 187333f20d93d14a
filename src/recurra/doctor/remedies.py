"""What can be done, by name; which of it helps against what; and how each changes a module or its training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells.unitwise import is_unitwise
from recurra.doctor.activity import is_gated, keeper_gates
from recurra.doctor.wrappers import BothWays, Normalised, Residual, Reversed, Scaled, Truncated
from recurra.torch import GRU, Recurrent
from recurra.torch.observe import recurrences_of, recurrent_layers

REMEDIES: dict[str, str] = {
    "gated_cell": "use a gated cell: GRU or LSTM, whose states are carried on instead of computed anew at each step",
    "forget_bias": "begin with the gate that keeps the state open: a bias of log(u), u uniform up to the lag needed",
    "orthogonal": "begin with orthogonal recurrent weights (the identity for relu), whose products keep their size",
    "clipping": "clip the gradient's norm, at the median of the norms seen",
    "layer_norm": "normalise the layer's output over its features",
    "residual": "add the layer's input to its output, so that depth does not shrink the gradient",
    "learning_rate": "lower the learning rate: divide it by 10",
    "truncation": "carry the gradient back over a limited number of steps",
    "input_scaling": "bring each input feature to mean 0 and deviation 1, with the numbers of the training data",
    "time_reversal": "read the sequence from its end, so that what comes first is nearest to the answer",
    "bidirectional": "read it in both directions; such a network cannot be run live",
    "parallel": "run it in parallel over time in training (parallel='auto'): faster, and the same but for rounding",
}

# In the order in which to try them.
KINDS: dict[str, tuple[str, ...]] = {
    "not finite": ("clipping", "learning_rate", "input_scaling", "orthogonal", "layer_norm"),
    "bad input scale": ("input_scaling", "layer_norm"),
    "learning rate too high": ("learning_rate", "clipping"),
    "exploding": ("clipping", "orthogonal", "gated_cell", "layer_norm", "learning_rate", "truncation"),
    "unstable state": ("orthogonal", "gated_cell", "layer_norm", "clipping", "learning_rate"),
    "vanishing": (
        "gated_cell",
        "forget_bias",
        "orthogonal",
        "layer_norm",
        "residual",
        "time_reversal",
        "bidirectional",
    ),
    "forgetting too early": ("forget_bias", "gated_cell", "orthogonal", "residual", "time_reversal", "bidirectional"),
    "saturated": ("input_scaling", "orthogonal", "layer_norm", "learning_rate"),
    "dead": ("learning_rate", "orthogonal", "input_scaling", "layer_norm"),
    "clipped all the time": ("clipping", "learning_rate", "orthogonal", "truncation"),
    "step by step": ("parallel",),
    "healthy": (),
}


def remedies_for(kind: str, gated: bool | None = None) -> tuple[str, ...]:
    """Against a finding in a layer whose cell is gated or not; None: not known."""
    useless = {True: {"gated_cell"}, False: {"forget_bias"}, None: set[str]()}[gated]
    return tuple(r for r in KINDS[kind] if r not in useless)


@dataclass(frozen=True)
class Setup:
    """How a network is made and trained.

    Attributes:
        make: makes the module.
        learning_rate: at its highest.
        clip: the threshold of the gradient's norm, or None.
    """

    make: Callable[[], nn.Module]
    learning_rate: float
    clip: float | None


@dataclass(frozen=True)
class Facts:
    """What a remedy may need to know of the data and of the training as it was.

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


def applied(name: str, setup: Setup, facts: Facts) -> Setup | None:
    """The setup with a remedy; None where it cannot be applied to this network or these data."""
    x, axis = facts.x, facts.axis
    match name:
        case "clipping":
            return replace(setup, clip=facts.usual_norm if math.isfinite(facts.usual_norm) else 1.0)
        case "learning_rate":
            return replace(setup, learning_rate=setup.learning_rate / 10)
        case "input_scaling":
            good = x.is_floating_point() and bool(torch.isfinite(x).all())
            return replace(setup, make=lambda: Scaled(setup.make(), x)) if good else None
        case "time_reversal":
            if axis is None or not facts.answers_at_the_end:
                return None
            return replace(setup, make=lambda: Reversed(setup.make(), axis))
    change = _CHANGES[name]
    if not any(change(layer, facts) is not None for _, layer in recurrent_layers(setup.make())):
        return None

    def make() -> nn.Module:
        module = setup.make()
        for _, layer in recurrent_layers(module):
            changed = change(layer, facts)
            if layer is module:
                return module if changed is None else changed
            if changed is not None and changed is not layer:
                owner, own = next((m, n) for m in module.modules() for n, c in m.named_children() if c is layer)
                setattr(owner, own, changed)
        return module

    return replace(setup, make=make)


def _gated(layer: Any, _: Facts) -> nn.Module | None:
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


def _forget_bias(layer: Any, facts: Facts) -> nn.Module | None:
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
                    u = torch.empty(H, dtype=arrays["b"].dtype).uniform_(1.0, max(2.0, float(facts.lag)))
                    arrays["b"][rows] = sign * u.log()
                    if gate in cell.recurrent_gates:
                        i = cell.recurrent_gates.index(gate)
                        arrays["c_"][i * H : (i + 1) * H] = 0.0
                changed = True
    return layer if changed else None


def _orthogonal(layer: Any, _: Facts) -> nn.Module | None:
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


def _normalised(layer: Any, _: Facts) -> nn.Module | None:
    return Normalised(layer)


def _residual(layer: Any, _: Facts) -> nn.Module | None:
    return Residual(layer) if isinstance(getattr(layer, "input_size", None), int) else None


def _both_ways(layer: Any, facts: Facts) -> nn.Module | None:
    if getattr(layer, "bidirectional", True) or getattr(layer, "stateful", False) or facts.axis is None:
        return None
    return BothWays(layer)


def _truncated(layer: Any, facts: Facts) -> nn.Module | None:
    return None if getattr(layer, "bidirectional", True) else Truncated(layer, max(1, facts.lag))


def _parallel(layer: Any, _: Facts) -> nn.Module | None:
    if not isinstance(layer, Recurrent) or not is_unitwise(layer.cell):
        return None
    layer.parallel = "auto"
    return layer


_CHANGES: dict[str, Callable[[Any, Facts], nn.Module | None]] = {
    "gated_cell": _gated,
    "forget_bias": _forget_bias,
    "orthogonal": _orthogonal,
    "layer_norm": _normalised,
    "residual": _residual,
    "bidirectional": _both_ways,
    "truncation": _truncated,
    "parallel": _parallel,
}
