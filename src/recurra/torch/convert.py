"""torch.nn's recurrent layers inside a model, replaced by Recurra's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from recurra.errors import ConversionError
from recurra.torch.layers import OURS, Layer, as_stock

Model = TypeVar("Model", bound=nn.Module)

CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
TOLERANCE = 1e-5
_NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


@dataclass
class Conversion:
    """What `convert` did.

    Attributes:
        replaced: the path of each layer that was replaced, and what it is now.
        left: the path of each recurrent layer that was left alone, and why.
        difference: the largest difference between outputs before and after; None where nothing could be run.
        checked: on what the outputs were compared.
    """

    replaced: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    difference: float | None = None
    checked: str = ""

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} replaced, {len(self.left)} left alone"]
        lines += [f"  {path}: {what}" for path, what in self.replaced.items()]
        lines += [f"  {path}: left alone: {why}" for path, why in self.left.items()]
        if self.replaced:
            found = "not compared" if self.difference is None else f"largest difference {self.difference:.1e}"
            lines.append(f"  outputs: {found}, {self.checked}")
        return "\n".join(lines)


def convert(model: Model, inplace: bool = False, sample: Any = None) -> tuple[Model, Conversion]:
    """Replace every torch.nn.RNN, LSTM and GRU in a model by Recurra's, and check that outputs stay the same.

    Parameters, hooks, the training flag and sharing stay as they are, and so does every reference to a layer. Outputs
    are compared in eval mode; in bfloat16 and float16 within four units of the dtype's precision.

    Args:
        model: any module; it may itself be a recurrent layer.
        inplace: change the model; otherwise a copy is changed.
        sample: an input of the model, or a tuple of arguments or a dict of keyword arguments. Without it every
            replaced layer is given random numbers.

    Returns:
        The converted model, and a report that prints what was replaced, and what was left alone and why.

    Raises:
        ConversionError: an output differs by more than 1e-5; the model is as it was.

    >>> import torch
    >>> model, report = convert(torch.nn.Sequential(torch.nn.GRU(3, 8)))
    >>> print(str(report).splitlines()[1])
      0: GRU(3, 8)
    """
    if not inplace:
        model = copy.deepcopy(model)
    report, chosen = Conversion(), list[nn.Module]()
    for path, module in model.named_modules():
        why = _reason(module)
        if why is None and type(module) in OURS:
            chosen.append(module)
            report.replaced[path or "(model)"] = repr(module)
        elif why is not None:
            report.left[path or "(model)"] = why

    def run() -> list[list[Tensor]]:
        return [_run_model(model, sample)] if sample is not None else [_run_layer(m) for m in chosen]

    before = run() if chosen else []
    for module in chosen:
        module.__class__ = OURS[type(module)]  # the same object: every reference and hook holds
    try:
        after = run() if chosen else []
        pairs = [p for old, new in zip(before, after, strict=True) for p in zip(old, new, strict=True)]
        _compare(pairs, report, "on the sample" if sample is not None else "each layer on random numbers")
    except Exception:
        for module in chosen:
            as_stock(module)
        raise
    return model, report


def _reason(module: nn.Module) -> str | None:
    """Why a module that seems recurrent stays; None: it is replaced, or has nothing to do with recurrence."""
    kind, name = type(module), getattr(module, "original_name", type(module).__name__)
    if isinstance(module, Layer):
        return "is Recurra's already"
    if kind in CELLS:
        return f"torch.nn.{name} is one step in a loop of yours: use a layer, or recurra.engine.Stepper"
    if kind in OURS:
        return "its forward was replaced" if "forward" in vars(module) else None
    if isinstance(module, torch.jit.ScriptModule):
        return "is TorchScript: convert before scripting" if name in _NAMES else None
    if parametrize.is_parametrized(module) and isinstance(module, tuple(OURS)):
        return "has parametrizations, which made it a class of its own: convert first, then parametrize"
    if name.removeprefix("Quantized").removeprefix("Dynamic") in _NAMES and kind.__module__.startswith("torch.ao"):
        return "is quantized: Recurra has no quantized kernels"
    if isinstance(module, (*OURS, *CELLS)):
        return f"{name} inherits from torch.nn and may change what it computes: inherit from recurra.torch instead"
    return None


def _run_layer(layer: nn.Module) -> list[Tensor]:
    """The outputs of a layer for random numbers; nothing where it has no numbers to compute with."""
    weight: Any = layer.weight_ih_l0
    if weight.device.type == "meta" or isinstance(weight, nn.parameter.UninitializedParameter):
        return []
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, weight.shape[1], generator=generator).to(weight)
    return _outputs(layer, lambda: type(layer).forward(layer, x))


def _run_model(model: nn.Module, sample: Any) -> list[Tensor]:
    if isinstance(sample, dict):
        return _outputs(model, lambda: model(**sample))
    return _outputs(model, lambda: model(*sample) if type(sample) is tuple else model(sample))


def _outputs(model: nn.Module, call: Callable[[], Any]) -> list[Tensor]:
    """Every tensor that comes out, in eval mode, without disturbing random numbers."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _evaluating(model):
        torch.manual_seed(0)
        leaves = [leaf.data if isinstance(leaf, PackedSequence) else leaf for leaf in tree_leaves(call())]
        return [t for t in leaves if isinstance(t, Tensor)]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag


def _compare(pairs: list[tuple[Tensor, Tensor]], report: Conversion, checked: str) -> None:
    report.checked = checked if pairs else "there are no numbers: the layers are on the meta device"
    for before, after in pairs:
        if before.shape != after.shape or before.dtype != after.dtype:
            was, now = (f"{tuple(t.shape)} of {t.dtype}" for t in (before, after))
            raise ConversionError(
                f"convert: an output was {was} and is {now}, expected the same; the model is as it was"
            )
        if not before.is_floating_point():
            continue
        same = (before == after) | (before.isnan() & after.isnan())
        apart = torch.where(same, 0.0, before.double() - after.double()).abs().nan_to_num(torch.inf)
        difference = apart.max().item() if apart.numel() else 0.0
        report.difference = max(report.difference or 0.0, difference)
        tolerance = TOLERANCE if before.dtype in (torch.float32, torch.float64) else 4 * torch.finfo(before.dtype).eps
        if difference > tolerance:
            raise ConversionError(
                f"convert: the largest difference is {difference:.1e}, expected at most {tolerance:.0e}, {checked}; "
                "the model is as it was. Give a sample of ordinary size if this one is extreme"
            )
