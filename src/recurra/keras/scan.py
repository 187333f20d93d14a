"""The native scan of the backend that Keras runs on, and which those are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

BACKEND: str = keras.backend.backend()
NATIVE = ("torch", "jax")


def scan(
    text: str,
    x: Any,
    weights: Sequence[Any],
    parameters: Sequence[Any] = (),
    state: Sequence[Any] = (),
    lengths: Any = None,
    reverse: bool = False,
) -> list[Any]:
    """Output [T, B, P] and final states of a cell over x [T, B, I]; see `recurra.torch.operator.scan`."""
    if BACKEND == "torch":
        from recurra.torch import operator

        return operator.scan(text, x, weights, parameters, state, lengths, None, reverse)
    from recurra.keras import jax_scan

    return jax_scan.scan(text, x, weights, parameters, state, lengths, reverse)


def is_plain(x: Any) -> bool:
    """Whether an array is of the most usual kind, told at little cost; `foreign` has the last word on all others."""
    if BACKEND == "torch":
        import torch

        plain = type(x) is torch.Tensor and x.dtype is torch.float32 and x.is_cpu
        return plain and not (torch.compiler.is_compiling() or torch._C._get_tracing_state())
    return BACKEND == "jax" and x.dtype == "float32" and not _foreign_jax()


def zeros(shape: Sequence[int], like: Any) -> Any:
    """Zeros of an array's dtype."""
    return like.new_zeros(shape) if BACKEND == "torch" else keras.ops.zeros(shape, like.dtype)


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A tensor or a variable as a NumPy array, without gradients."""
    value = getattr(x, "value", x)
    return np.asarray(value.detach().cpu().numpy() if BACKEND == "torch" else value)


def foreign(x: Any) -> str:
    """Why an array of this backend cannot run natively: its dtype, its device, or that it is being exported; or "".

    Args:
        x: a tensor of Keras' backend, in the layer's compute dtype.
    """
    if BACKEND not in NATIVE:
        return f"the backend is {BACKEND}, not torch or jax"
    kind = keras.backend.standardize_dtype(x.dtype)
    if kind not in ("float32", "float64"):
        return f"it computes in {kind}, not float32 or float64"
    return _foreign_torch(x) if BACKEND == "torch" else _foreign_jax()


def _foreign_torch(x: Any) -> str:
    import torch

    if x.device.type not in ("cpu", "meta"):
        return f"it is on {x.device.type}, not on the CPU"
    exporting = torch._C._get_tracing_state() or torch.compiler.is_exporting()
    return "it is being exported, to operators that others have too" if exporting else ""


def _foreign_jax() -> str:
    import jax

    device: Any = getattr(jax.config, "jax_default_device", None)
    kind = getattr(device, "platform", device) or jax.default_backend()
    return "" if kind == "cpu" else f"it is on {kind}, not on the CPU"
