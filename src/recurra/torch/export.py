"""Between torch modules and model files, with the parity of the two measured on the way; see `recurra.torch.bridge`."""

from __future__ import annotations

import copy
import os
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from recurra.errors import ExportError, RecurraError
from recurra.runtime import file
from recurra.runtime.model import Model
from recurra.runtime.parity import (
    TOLERANCE,
    check_parity,
    difference,
    random_input,
    refuse_difference,
    refuse_differing,
)
from recurra.torch import graph
from recurra.torch.bridge import is_layer, layers_of, leaves, stack_of
from recurra.torch.layers import as_stock
from recurra.torch.stack import Stack
from recurra.weights import Array

Module = TypeVar("Module", bound=nn.Module)

STEPS, ROWS = 24, 3  # of the sample, where none is given


def export(
    module: nn.Module,
    path: str | os.PathLike[str],
    sample: Tensor | Array | None = None,
    *,
    preprocessing: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
) -> Model:
    """Write a module to a model file for `recurra.load`, and return the model.

    Recurrent layers (torch.nn's and Recurra's) and the layers that `recurra.torch.bridge` lists can be exported, alone
    or in nn.Sequential or `Stack`, nested or not; and a module with a forward of its own, which torch.export traces and
    which must come to such layers one after the other: with activations, arithmetic with numbers, values of the same
    input added, multiplied or side by side, the last step, a final state or a pool over all steps of them, and axes
    turned. A batch normalization is folded into the linear layer or the
    convolution before it. A layer of two directions exports for `run` only. Before the file is written, the model is
    run as a whole, in chunks, stepped, in batches and reloaded, which must all have the same bits, and compared with
    the module itself; `model.parity` has the result.

    Args:
        module: in float32, on any device; its training mode does not matter.
        path: where to write.
        sample: an input of the module, on which parity is measured and a forward traced; random numbers if not given.
        preprocessing, card: see `Model`.

    Raises:
        ExportError: a layer cannot be exported, or the model does not compute what the module does.
        OSError: the file cannot be written.

    >>> import tempfile, torch, recurra
    >>> from recurra.torch import LSTM, Stack, export
    >>> module = Stack(LSTM(1, 8), torch.nn.Linear(8, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = export(module, f"{folder}/model.recurra")
    ...     session = recurra.load(f"{folder}/model.recurra").session()
    >>> model.parity["differing"]["stepped"]
    0
    """
    model = to_model(module, sample, preprocessing=preprocessing, card=card)
    file.save_model(model, path)
    return model


def to_model(
    module: nn.Module,
    sample: Tensor | Array | None = None,
    *,
    preprocessing: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
) -> Model:
    """As `export`, without a file."""
    return read_model(module, sample, preprocessing=preprocessing, card=card)[1]


def read_model(
    module: nn.Module,
    sample: Tensor | Array | None = None,
    *,
    preprocessing: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
) -> tuple[graph.Found, Model]:
    """As `to_model`, with what was read of the module."""
    try:
        found = read(module, sample)
        model = Model(found.ops, preprocessing=preprocessing, card=card)
    except RecurraError as error:
        raise ExportError(f"export of {type(module).__name__}: {error}") from error
    batch_first = found.time == 1
    x = _sample(model, sample, batch_first)
    report = check_parity(model, x)
    report["torch"] = torch.__version__
    lengths = (len(x),) if is_layer(module) else (len(x), -(-len(x) // 2))  # a forward may depend on them
    report["torch_difference"] = max(_difference(module, model, x[:steps], batch_first) for steps in lengths)
    report["tolerance"] = TOLERANCE
    hint = "a layer with a hook or a `forward` of its own is not exported as it runs, a typical `sample` helps, and "
    refuse_differing("export", report, ExportError)
    refuse_difference("export", "the module's", report["torch_difference"], ExportError, hint)
    model.parity = report
    return found, model


def read(module: nn.Module, sample: Tensor | Array | None = None) -> graph.Found:
    """The ops of a module: of its layers in their order, or of the graph of a forward of its own.

    Raises:
        ExportError: a layer cannot be exported, or the forward is no chain of layers.
    """
    if is_layer(module) or isinstance(module, Stack) or not any(True for _ in module.children()):
        return graph.Found(layers_of(module), int(_batch_first(module)), False)
    module = copy.deepcopy(module).eval()
    return graph.read(module, _traced(module) if sample is None else torch.as_tensor(sample))


def _traced(module: nn.Module) -> Tensor:
    """Something that the module takes, of the width of one of its layers."""
    for part in module.modules():
        ids = isinstance(part, nn.Embedding)
        width = getattr(part, "num_embeddings", 0) if ids else _width(part)
        x = torch.zeros(ROWS, STEPS, dtype=torch.int64) if ids else torch.zeros(ROWS, STEPS, width)
        if width:
            try:
                with torch.no_grad():
                    module(x)
            except Exception:  # whatever a forward says of what does not fit
                continue
            return x
    raise ExportError("no input was found that its forward takes: pass a `sample`, a tensor of [B, T, I] or [T, B, I]")


def _width(part: nn.Module) -> int:
    """The features that a layer takes; 0 where it takes any."""
    names = ("input_size", "in_features", "in_channels", "num_features")
    return next((int(getattr(part, name)) for name in names if hasattr(part, name)), 0)


@overload
def to_torch(model: Model) -> Stack: ...
@overload
def to_torch(model: Module) -> Module: ...
def to_torch(model: Any) -> Any:
    """A torch module with a model's layers and numbers, to train on or to use elsewhere; or back from `convert`.

    Of a torch module it gives a copy in which Recurra's `RNN`, `LSTM` and `GRU` are torch.nn's again. Of a model of the
    runtime it gives a `Stack`.

    A recurrent layer with the equations of torch.nn's RNN, LSTM or GRU becomes that layer, every other cell
    `recurra.torch.Recurrent`, as does a layer whose states do not begin with zeros. The module takes [T, B, I] (ids
    [T, B]), is in eval mode, and has been run on random numbers. `recurra.torch.convert` puts Recurra's kernels under
    torch.nn's layers; `export` leads back.

    Raises:
        ExportError: a layer has no form in torch, or the module does not compute what the model does.

    >>> import numpy as np
    >>> from recurra import cells, runtime
    >>> from recurra.torch import to_torch
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.lstm, 2, 5, rng=np.random.default_rng(0))
    >>> to_torch(runtime.Model([runtime.Recurrent(cells.lstm, [weights]), runtime.Activation("relu")]))
    Stack(
      (0): LSTM(2, 5)
      (1): ReLU()
    )
    """
    if isinstance(model, nn.Module):
        copied = copy.deepcopy(model)
        for part in copied.modules():
            as_stock(part)
        return copied
    module = stack_of(model).eval()
    x = random_input(model, STEPS, ROWS)
    refuse_difference("to_torch", "the module's", _difference(module, model, x, False), ExportError)
    return module


def _batch_first(module: nn.Module) -> bool:
    """What the recurrent layers agree on."""
    orders = {name: bool(part.batch_first) for name, part in leaves(module) if hasattr(part, "batch_first")}
    if len(set(orders.values())) > 1:
        raise ExportError(f"export: batch_first is {orders}, expected the same of all layers")
    return True in orders.values()


def _sample(model: Model, sample: Tensor | Array | None, batch_first: bool) -> Array:
    """Time-major, with a batch axis."""
    if sample is None:
        return random_input(model, STEPS, ROWS)
    x: Any = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
    batched = 2 if model.vocabulary_size else 3
    if x.ndim == batched - 1:
        x = x[:, None]
    elif x.ndim == batched and batch_first:
        x = x.swapaxes(0, 1)
    features = () if model.vocabulary_size else (model.input_size,)
    if x.ndim != batched or x.shape[2:] != features or 0 in x.shape:
        wanted = ", ".join(["steps", "rows", *map(str, features)])
        raise ExportError(f"export: `sample` has shape {tuple(np.shape(sample))}, expected one of [{wanted}]")
    return np.ascontiguousarray(x, np.int64 if model.vocabulary_size else np.float32)


def _difference(module: nn.Module, model: Model, x: Array, batch_first: bool) -> float:
    """The difference from the module's own output."""
    module = copy.deepcopy(module).eval()  # which begins anew, and is not trained further
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    given = torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1) if batch_first else x)).to(device)
    try:
        with torch.no_grad():
            result = module(given)
    except Exception as error:
        raise ExportError(
            f"export: the module itself fails on the sample ({error}): put recurrent layers into recurra.torch.Stack, "
            "which passes on their outputs"
        ) from error
    theirs, ours = (result[0] if isinstance(result, tuple) else result).cpu().numpy(), model.run(x)
    whole = theirs.swapaxes(0, 1) if batch_first and theirs.ndim > 1 else theirs
    for found, wanted in ((ours[-1], theirs), (ours, whole)):  # the last step alone, or one feature without its axis
        if wanted.size == found.size and wanted.shape in (found.shape, found.shape[:-1]):
            return difference(found, wanted.reshape(found.shape))
    raise ExportError(
        f"export: the module gives the shape {theirs.shape} for an input of {tuple(given.shape)}, expected "
        f"{ours.shape[-1]} features of each step or of the last"
    )
