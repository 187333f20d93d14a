"""`Stack`: layers one after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor, nn
from torch.fx import Proxy

from recurra.torch.traced import refuse_script


class Stack(nn.Sequential):
    """nn.Sequential, where a recurrent layer passes on its output and not its state.

    Args:
        layers: from the input to the output, or one OrderedDict of them by name. One with an attribute `reads`, as
            `ForecastHead` has it, is called with the inputs of those names too, and its last two axes are put side by
            side; one that `goes_by_ids`, as `NGrams`, with the first number of each row.
        inputs: names and features of several inputs that stand side by side in x; the first goes into the first layer.

    >>> import torch
    >>> from recurra.torch import LSTM, Stack
    >>> Stack(LSTM(1, 8), torch.nn.Linear(8, 1))(torch.zeros(5, 2, 1)).shape
    torch.Size([5, 2, 1])
    """

    def __init__(
        self, *layers: nn.Module | OrderedDict[str, nn.Module], inputs: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(*layers)  # type: ignore[arg-type]
        self.inputs = dict(inputs or {})

    def __getitem__(self, at: Any) -> Any:
        """A layer by its place, or a Stack of those of a slice."""
        found: Any = super().__getitem__(at)
        if isinstance(at, slice) and at.start in (None, 0):
            found.inputs = dict(self.inputs)
        return found

    def __add__(self, other: Any) -> Stack:
        """These layers and then the other's."""
        return Stack(*super().__add__(other), inputs=self.inputs)

    def __mul__(self, other: int) -> Stack:
        """So many times the same layers."""
        return Stack(*super().__mul__(other), inputs=self.inputs)

    def __prepare_scriptable__(self) -> NoReturn:
        """What layers give is not known before they run."""
        refuse_script("a Stack")

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output, [T, B, O] (or [B, T, O] where the recurrent layers are batch_first)."""
        named = dict(zip(self.inputs, x.split(list(self.inputs.values()), -1), strict=True)) if self.inputs else {}
        x = first = next(iter(named.values()), x)
        for layer in self:
            reads: tuple[str, ...] = getattr(layer, "reads", ())
            beside = [first[..., 0]] if getattr(layer, "goes_by_ids", False) else [named[name] for name in reads]
            y: Any = layer(x, *beside)
            if isinstance(y, tuple) or (isinstance(y, Proxy) and _gives_state(layer)):
                y = y[0]  # type: ignore[index]
            x = y.flatten(-2) if reads else y
        return x


def _gives_state(layer: nn.Module) -> bool:
    """Whether a layer gives its state beside its output."""
    return isinstance(layer, nn.RNNBase) or hasattr(layer, "recurrences")
