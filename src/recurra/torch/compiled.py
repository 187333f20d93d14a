"""torch.compile takes in Recurra's drop-in layers, as it does any other module.

It refuses torch.nn.RNN, LSTM and GRU and whatever inherits from them, unless `torch._dynamo.config.allow_rnn` is set:
torch's own would be unrolled, step by step. Ours are one operator. So that setting is on while one of ours is taken in,
and for nobody else. Where torch has changed inside, it does what it does with its own: the layer runs outside the
graph.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from recurra.imports import when_imported


def let_in(kind: type) -> None:
    """Let torch.compile take in modules of a class, as soon as its tracer is imported: it is when it is used."""
    when_imported("torch._dynamo.variables.builder", lambda builder: _let_in(builder, kind))


def _let_in(builder: ModuleType, kind: type) -> None:
    config = getattr(builder, "config", None)
    tracer = getattr(builder, "VariableBuilder", None)
    stock: Any = getattr(tracer, "wrap_module", None)
    if stock is None or not hasattr(config, "allow_rnn"):
        return

    def wrap_module(self: Any, value: Any) -> Any:
        if not isinstance(value, kind):
            return stock(self, value)
        with config.patch(allow_rnn=True):  # type: ignore[union-attr]
            return stock(self, value)

    tracer.wrap_module = wrap_module  # type: ignore[union-attr]
