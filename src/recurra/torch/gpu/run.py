"""The operator on a GPU. What backward needs is the tape itself: numbers, which torch keeps and frees as any tensor.

Where a sequence is many launches, the second run of the same sizes becomes a CUDA graph, and those after it replay it.
"""

# ruff: noqa: A002  (`all` is the operator's)

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recurra.torch.call import Call
from recurra.torch.gpu.backward import Backward
from recurra.torch.gpu.forward import Forward
from recurra.torch.gpu.graph import replayed
from recurra.torch.gpu.plan import Plan
from recurra.torch.gpu.source import check_device, within_memory


def forward(call: Call, keep: bool, all: bool) -> list[Tensor]:
    """What the operator returns, on a GPU.

    Raises:
        GpuError: the GPU cannot run the kernels, or has no memory for the run.
        MissingExtraError: Triton is not installed, or what derives the gradient.
    """

    def run(*tensors: Tensor | None) -> list[Tensor]:
        results, tape = Forward(Plan.of(Call(call.options, tensors))).run(keep, all)
        return [*(_stacked(call, k, r) for k, r in enumerate(results)), tape]

    return _run(f"forward of {call.cell.name}", call, run, call.tensors, ("forward", keep, all))


def backward(
    call: Call, tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool
) -> list[Tensor]:
    """The gradients in the order of `Call.differentiable`; forward is run again where the tape is not that of one.

    Raises:
        GpuError, MissingExtraError: as `forward`.
    """
    count = len(call.tensors)

    def run(*tensors: Tensor | None) -> list[Tensor]:
        plan = Plan.of(Call(call.options, tensors[:count]))
        kept, d, *states = tensors[count:]
        if kept is None or kept.numel() != plan.tape:
            kept = Forward(plan).run(keep=True, all=False)[1]
        return Backward(plan, d, states, want_x).run(kept)

    given = (*call.tensors, tape, d_output, *d_state)
    return _run(f"backward of {call.cell.name}", call, run, given, ("backward", want_x))


def tape_size(call: Call, keep: bool) -> int:
    """How many numbers the tape has."""
    return Plan.of(call).tape if keep else 0


def _run(
    what: str, call: Call, run: Callable[..., list[Tensor]], tensors: Sequence[Tensor | None], how: tuple[Any, ...]
) -> list[Tensor]:
    check_device(call.x.device)
    work = partial(run, *tensors)
    if call.x.is_cuda and not Plan.of(call).inside:
        work = partial(replayed, (call.options, *how), run, tensors)
    if not call.x.is_cuda:
        return list(within_memory(what, work))
    with torch.cuda.device(call.x.device):
        return list(within_memory(what, work))


def _stacked(call: Call, k: int, result: Tensor) -> Tensor:
    """Final states as the operator's caller wants them."""
    return result.unsqueeze(0) if call.options.stacked and 0 < k <= call.options.states else result
