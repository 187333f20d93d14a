"""Which code runs a layer."""

# ruff: noqa: A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from recurra import engine
from recurra.errors import DtypeError
from recurra.torch.gpu.plan import DTYPES as GPU_DTYPES
from recurra.torch.kernels import NATIVE_DTYPES
from recurra.torch.layers import Layer
from recurra.torch.operator import is_autocast
from recurra.torch.recurrent import Recurrent


def backend_for(module: Layer | Recurrent, input: Tensor | PackedSequence) -> str:
    """What `module(input)` runs on, in the present autocast setting.

    Returns:
        "native avx512" (or another instruction set): the engine, on the CPU in float32 and float64. "equations
        (bfloat16)", "equations (meta)": the cell's equations as torch operations, in that dtype or on that device.
        "triton sm_90": the cell's own kernels, on CUDA in float32, bfloat16 and float16.
        "torch.nn cuDNN", or "torch.nn cuda" without cuDNN: torch's own kernels, for `RNN`, `LSTM` and `GRU` on CUDA.

    Raises:
        DtypeError: the module is not one of Recurra's layers.

    >>> import torch
    >>> backend_for(Recurrent("gru", 3, 8, dtype=torch.bfloat16), torch.zeros(5, 2, 3, dtype=torch.bfloat16))
    'equations (bfloat16)'
    """
    if not isinstance(module, (Layer, Recurrent)):
        raise DtypeError(
            f"backend_for: got a {type(module).__name__}, expected a layer of recurra.torch; "
            "`convert` replaces those of torch.nn"
        )
    x = input.data if isinstance(input, PackedSequence) else input
    kind = x.device.type
    if kind == "cuda" and isinstance(module, Layer):
        return "torch.nn cuDNN" if torch.backends.cudnn.is_acceptable(x) else "torch.nn cuda"
    wide = is_autocast(kind) and x.dtype != torch.float64
    dtype = torch.float32 if wide else x.dtype
    if isinstance(module, Recurrent) and module.backend == "equations":
        return f"equations ({str(dtype).removeprefix('torch.') if kind == 'cpu' else kind})"
    if kind == "cuda" and dtype in GPU_DTYPES:
        major, minor = torch.cuda.get_device_capability(x.device)
        return f"triton sm_{major}{minor}"
    if kind != "cpu":
        return f"equations ({kind})"
    return f"native {engine.isa()}" if dtype in NATIVE_DTYPES else f"equations ({str(dtype).removeprefix('torch.')})"
