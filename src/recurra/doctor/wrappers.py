"""What a remedy puts around a recurrent layer or a network: modules that take and return what the layer does."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from recurra.runtime import Op
from recurra.torch.bridge import layers_of
from recurra.torch.observe import recurrences_of


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
        self.norm = nn.LayerNorm(width_of(layer))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the layer's."""
        output, *rest = self.layer(x, *args, **kwargs)
        return (self.norm(output), *rest)

    def model_layers(self) -> list[Op]:
        """What it is in a model file."""
        return [*layers_of(self.layer), *layers_of(self.norm)]


class Residual(Wrapped):
    """With its input added to its output, through a matrix where their widths differ."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        wide, narrow = width_of(layer), layer.input_size
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

    def model_layers(self) -> list[Op]:
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


def width_of(layer: Any) -> int:
    """How many numbers a recurrent layer gives at a step, of both directions together."""
    return sum(int(arrays["U"].shape[1]) for _, arrays in recurrences_of(layer)[-1])
