"""A cell's kernels, loaded: their text is compiled by Triton for the device when a kernel is first launched."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recurra.cells.cell import Cell
from recurra.cells.emit_triton import Kernels
from recurra.cells.triton_tile import CONSTANTS
from recurra.errors import GpuError, MissingExtraError

WARPS = 4
OPTIONS = {"num_stages": 1, "enable_fp_fusion": False}  # nothing is fused but what is written fma
OLDEST = (8, 0)  # compute capability: Ampere
CURE = "use torch's own operations, Recurrent(..., backend='equations')"


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU instead of compiling them (TRITON_INTERPRET=1), as tests do."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def check_device(device: torch.device) -> None:
    """Raise unless kernels can run there.

    Raises:
        GpuError: there is no CUDA, or the GPU is older than the kernels.
    """
    if interpreted():
        return
    if device.type != "cuda" or not torch.cuda.is_available():
        raise GpuError(
            f"kernels for a GPU: got device {device}, expected a CUDA device, which this process lacks: {CURE}"
        )
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < OLDEST:
        got = ".".join(map(str, torch.cuda.get_device_capability(device)))
        name = torch.cuda.get_device_name(device)
        raise GpuError(f"kernels for a GPU: {name} has compute capability {got}, expected at least 8.0: {CURE}")


class Loaded:
    """The kernels of a cell, ready to be launched."""

    def __init__(self, cell: Cell) -> None:
        try:
            import triton  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(f"the kernels of {cell.name} for a GPU", "Triton", "gpu") from error
        self.printed = Kernels(cell)
        name = f"<recurra kernels of {cell.fingerprint}>"
        text = self.printed.text
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # Triton reads its source
        self.functions: dict[str, Any] = {"__name__": f"recurra_kernels_{cell.fingerprint[:16]}"}
        exec(compile(text, name, "exec"), self.functions)

    def launch(
        self,
        name: str,
        grid: tuple[int, int],
        arrays: dict[str, Tensor],
        sizes: Sequence[int],
        constants: Sequence[Any],
    ) -> None:
        """Start a kernel on arrays by the names of `Kernels.arrays`; sizes and constants in their order.

        Raises:
            GpuError: the device cannot run it: its memory on the chip is too small, or Triton lacks an operation.
        """
        given = [arrays[n] for n in self.printed.arrays[name]]
        try:
            self.functions[name][grid](
                *given, *sizes, **dict(zip(CONSTANTS, constants, strict=True)), num_warps=WARPS, **OPTIONS
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if type(error).__module__.startswith("triton"):
                what = f"the kernel {name} of {self.printed.cell.name}"
                raise GpuError(f"{what}: Triton could not run it ({_line(error)}): {CURE}") from error
            raise


@cache
def loaded(cell: Cell) -> Loaded:
    """The kernels of a cell; each is printed once in a process.

    Raises:
        MissingExtraError: Triton is not installed, or SymPy or NetworkX, which derive the gradient.
    """
    return Loaded(cell)


def within_memory(what: str, run: Callable[[], Any]) -> Any:
    """What `run` returns; where the device has no memory for it, the error says what needs less.

    Raises:
        GpuError: there is not enough memory on the device.
    """
    try:
        return run()
    except torch.OutOfMemoryError as error:
        raise GpuError(
            f"{what}: the GPU has no memory for it ({_line(error)}): use checkpoint_every=, fewer rows or fewer steps"
        ) from error


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
