"""How layers show themselves to those who read a module's code in place of running it: torch.fx, TorchScript, ONNX."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import torch
from torch import nn
from torch.fx import Proxy

from recurra.errors import ExportError


def as_node(module: nn.Module, x: Proxy, *arguments: Any, **options: Any) -> Any:
    """A module as one node of a torch.fx graph, as torch.nn's own layers are."""
    tracer: Any = x.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (x, *arguments), options)


def is_for_onnx() -> bool:
    """Whether torch.onnx.export is at work, which knows torch's own operators and no others."""
    if torch.compiler.is_dynamo_compiling():
        return False
    if torch._C._get_tracing_state() is None and not torch.compiler.is_compiling():
        return False
    return "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()


def refuse_script(name: str) -> NoReturn:
    """Say what to do in place of torch.jit.script."""
    raise ExportError(
        f"torch.jit.script cannot read {name}: use torch.jit.trace, whose file opens where recurra is imported, or "
        "recurra.torch.export for a model file"
    )


def refuse_onnx(name: str) -> NoReturn:
    """Say what to do in place of torch.onnx.export."""
    raise ExportError(
        f"torch.onnx.export has no operator for {name}: write a model file with recurra.torch.export, and the graph "
        "with recurra.onnx.export(recurra.load(path), 'model.onnx')"
    )
