"""torch.compile takes in Recurra's drop-in layers, as it does any other module.

It refuses torch.nn.RNN, LSTM and GRU and whatever inherits from them, unless `torch._dynamo.config.allow_rnn` is set:
torch's own would be unrolled, step by step. Ours are one operator. So that setting is on while one of ours is taken in,
and for nobody else. Where torch has changed inside, it does what it does with its own: the layer runs outside the
graph.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_BUILDER = "torch._dynamo.variables.builder"


def let_in(kind: type) -> None:
    """Let torch.compile take in modules of a class, as soon as its tracer is imported: it is when it is used."""
    if _BUILDER in sys.modules:
        _let_in(sys.modules[_BUILDER], kind)
    else:
        sys.meta_path.insert(0, _Watch(kind))


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


class _Watch(MetaPathFinder):
    """Runs `_let_in` once, right after torch's tracer was imported."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """What the other finders say, with a loader that calls us."""
        if fullname != _BUILDER or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec: ModuleSpec | None = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _let_in(module, self.kind)

            loader.exec_module = exec_module
        return spec
