"""What is known of a value in a forward that is read as a chain of ops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from recurra.errors import ExportError
from recurra.runtime.chained import Chained
from recurra.runtime.ops import Op

ONE = "one"  # what an axis of one holds
OTHERWISE = "put what the model file needs into recurra.torch.Stack"


@dataclass(frozen=True)
class Flow(Chained):
    """A value that depends on the input; `ONE` is an axis of one."""

    axes: tuple[str, ...]
    features: int = 0  # of the input; 0: it is a whole number

    def then(self, *layers: Op, **changes: Any) -> Flow:
        """After some ops more."""
        return replace(self, layers=(*self.layers, *layers), **changes)


@dataclass(frozen=True)
class States:
    """Final states [layers * directions, B, H], each a flow."""

    each: tuple[Flow, ...]


class Unread:
    """What no op gives, such as a final cell state: nothing may come of it."""


def one(x: Any) -> Flow:
    """A value as a flow that a layer may follow.

    Raises:
        ValueError, ExportError: it is none.
    """
    if not isinstance(x, Flow):
        raise ValueError("a value that no layer reads")
    if x.pending:
        raise ExportError(f"forward uses {x.pending}")
    return x
