"""A module with a forward of its own as ops, through the graph that torch.export makes of it.

The layers that `bridge` knows are nodes of that graph; between them are torch's operators. What depends on the input is
a `Flow`: the ops that it has gone through, and what each of its axes holds.
"""

from __future__ import annotations

import operator
import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from recurra.errors import ExportError, RecurraError
from recurra.runtime import ops
from recurra.runtime.chained import FEATURES, FIRST, SECOND
from recurra.runtime.ops import Op
from recurra.torch.bridge import is_layer, layers_of
from recurra.torch.flows import ONE, OTHERWISE, Flow, States, Unread
from recurra.torch.functions import FUNCTIONS


class Found(NamedTuple):
    """What a module computes: its ops, which of its axes is time, and whether it gives the last step alone."""

    ops: list[Op]
    time: int
    last: bool


def read(module: nn.Module, sample: Tensor) -> Found:
    """The ops that a module's forward comes to, traced on a sample.

    Raises:
        ExportError: it cannot be traced, or is no chain of layers; the message names the place.
    """
    graph = _graph(module, sample)
    ids = not sample.is_floating_point()
    begin = Flow((), (FIRST, SECOND)) if ids else Flow((), (FIRST, SECOND, FEATURES), features=sample.shape[-1])
    result = _Reader(module, graph, "").run(begin)
    result = _pytree.tree_leaves(result, is_leaf=lambda value: isinstance(value, (Flow, States)))[0]
    if not isinstance(result, Flow) or result.pending or not result.layers:
        raise ExportError(f"the first output of {type(module).__name__} comes from no chain of layers: {OTHERWISE}")
    time, axes = result.time or FIRST, [axis for axis in result.axes if axis != ONE]
    rows = SECOND if time == FIRST else FIRST
    if set(axes) != {rows, FEATURES} | (set() if result.last else {time}) or axes[-1] != FEATURES:
        raise ExportError(f"{type(module).__name__} gives the axes {result.axes}, expected steps, rows and features")
    if not result.last and result.axes[:2] != (FIRST, SECOND):
        raise ExportError(f"{type(module).__name__} turns steps and rows round, expected them as they come in")
    return Found(list(result.layers), int(time == SECOND), result.last)


def _graph(module: nn.Module, sample: Tensor) -> Any:
    """The module as torch.export has it, in which each part of the module is a node."""
    names = tuple(name for name, _ in module.named_modules() if name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own layers' attributes and of its own code
            program = torch.export.export(module, (sample,), strict=False, preserve_module_call_signature=names)
            return torch.export.unflatten(program)
    except Exception as error:  # whatever the forward and the tracer say
        line = " ".join(str(error).split())[:300]
        raise ExportError(f"torch.export cannot read {type(module).__name__}: {line}: {OTHERWISE}") from error


class _Reader(fx.Interpreter):
    """Runs a graph on flows; what depends on no flow is computed as it stands."""

    def __init__(self, module: nn.Module, graph: Any, prefix: str) -> None:
        super().__init__(graph, graph=graph.graph)
        self.own, self.prefix, self.extra_traceback = module, prefix, False

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A layer, or a module with a graph of its own."""
        name, part = f"{self.prefix}{target}", self.own.get_submodule(target)
        if not _flows((args, kwargs)):
            return super().call_module(target, args, kwargs)
        if not is_layer(part):
            return _Reader(part, self.module.get_submodule(target), f"{name}.").run(*args, **kwargs)
        x, *rest = args
        given = [t for t in _pytree.tree_leaves((rest, kwargs)) if isinstance(t, Tensor) and t.any()]
        if not isinstance(x, Flow) or given or _flows((rest, kwargs)):
            raise ExportError(f"{name} takes more than one value that counts, expected its input alone: {OTHERWISE}")
        return _layer(name, part, x)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One of torch's operators."""
        if target is operator.getitem or not _flows((args, kwargs)):
            return super().call_function(target, args, kwargs)
        if "tree" in getattr(target, "__name__", ""):  # from and to the arguments of a module, as torch.export has them
            return super().call_function(target, args, kwargs)
        name = str(target)
        function = FUNCTIONS.get(name.removeprefix("aten."))
        if function is None:
            raise ExportError(
                f"forward has {name}, which the model file does not have, expected layers and the functions in the "
                f"guide to PyTorch: {OTHERWISE}"
            )
        try:
            return function(*args, **kwargs)
        except RecurraError as error:
            raise ExportError(
                str(error) if str(error).startswith("forward") else f"forward has {name}: {error}"
            ) from error
        except (TypeError, AttributeError, ValueError, IndexError) as error:  # values that it does not know
            raise ExportError(f"forward has {name} where no chain of layers has it: {OTHERWISE}") from error


def _flows(values: Any) -> bool:
    kinds = (Flow, States, Unread)
    return any(isinstance(v, kinds) for v in _pytree.tree_leaves(values, is_leaf=lambda v: isinstance(v, kinds)))


def _layer(name: str, part: nn.Module, x: Flow) -> Any:
    """What a layer of the bridge makes of a flow."""
    found = tuple(layers_of(part))
    if x.pending:
        raise ExportError(f"{name} reads {x.pending}")
    if isinstance(part, nn.BatchNorm1d) and type(part).forward is nn.BatchNorm1d.forward:
        if len(x.axes) < 2 or x.axes[1] != FEATURES:
            raise ExportError(f"{name} normalizes axis 1 of {x.axes}, expected the features there")
        return x.then(*found)
    if x.axes[-1:] == (FEATURES,) and not found:
        return x
    if isinstance(found[0], ops.Embedding):
        return x.then(*found, axes=(*x.axes, FEATURES))
    if x.axes[-1] != FEATURES:
        raise ExportError(f"{name} works along {x.axes[-1]}, expected the features last")
    if not hasattr(part, "batch_first"):
        return x.then(*found)
    time = x.axes[1 if part.batch_first else 0]
    if len(x.axes) != 3 or x.last or time not in (FIRST, SECOND) or (x.time and x.time != time):
        raise ExportError(f"{name} reads the axes {x.axes}, expected steps, rows and features")
    if not isinstance(found[-1], ops.Recurrent):
        return x.then(*found, time=time)
    rows = SECOND if time == FIRST else FIRST
    each = []
    for k, op in enumerate(found):
        directions = range(len(op.weights)) if isinstance(op, ops.Recurrent) else ()
        flow = x.then(*found[: k + 1], time=time, axes=(rows, FEATURES), last=True)
        each += [replace(flow, half=d if len(directions) == 2 else None) for d in directions]
    final: Any = States(tuple(each))
    if len(found[-1].cell.states) > 1:
        final = (final, *[Unread()] * (len(found[-1].cell.states) - 1))
    return x.then(*found, time=time), final
