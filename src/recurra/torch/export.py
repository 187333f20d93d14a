"""From a torch module to a model file, with the parity of the two measured on the way.

A layer of another kind takes part by a method of its own, `recurrences()`: a list with one entry for each of its
layers, from the input on; an entry is a list of one or two (two directions) pairs `(cell, arrays)`, where `arrays` has
a tensor for each name in `Weights.shapes(cell, ...)` and, where its states do not begin with zeros, `initial:h` [P] and
so on for each state. `batch_first`, where the layer has it, means what it does in
torch.nn. A network that is no sequence of layers takes part by `model_layers()`: the layers of `recurra.runtime` that
compute what its forward (or the first of what that returns) does; `layers_of` gives them for a part of it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells import Cell, gru, lstm, lstm_projected, rnn, rnn_relu
from recurra.errors import ExportError, RecurraError
from recurra.runtime import file, layers
from recurra.runtime.model import Model
from recurra.runtime.parity import check_parity
from recurra.weights import Array, Weights

TOLERANCE = 1e-5  # of the difference from torch's own output, relative to its largest number where that is above 1
STEPS, ROWS = 24, 3  # of the sample, where none is given

Entry = list[tuple[Cell, Mapping[str, Tensor]]]


class Stack(nn.Module):
    """Layers one after the other, as nn.Sequential, where a recurrent layer passes on its output and not its state.

    >>> import torch
    >>> from recurra.torch import LSTM, Stack
    >>> Stack(LSTM(1, 8), torch.nn.Linear(8, 1))(torch.zeros(5, 2, 1)).shape
    torch.Size([5, 2, 1])
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(str(i), layer)

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output, [T, B, O] (or [B, T, O] where the recurrent layers are batch_first)."""
        for layer in self.children():
            y = layer(x)
            x = y[0] if isinstance(y, tuple) else y
        return x


def export(
    module: nn.Module,
    path: str | os.PathLike[str],
    sample: Tensor | Array | None = None,
    *,
    preprocessing: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
) -> Model:
    """Write a module to a model file for `recurra.load`, and return the model.

    Recurrent layers (torch.nn's and Recurra's), Linear, Embedding, LayerNorm, Dropout, activations and Softmax can be
    exported, alone or in nn.Sequential or `Stack`, nested or not. A layer of two directions exports for `run` only.
    Before the file is written, the model is run as a whole, in chunks, stepped, in batches and reloaded, which must all
    have the same bits, and compared with the module itself; `model.parity` has the result.

    Args:
        module: in float32, on any device; its training mode does not matter.
        path: where to write.
        sample: an input of the module, on which parity is measured; random numbers if not given.
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
    try:
        model = Model(layers_of(module), preprocessing=preprocessing, card=card)
    except RecurraError as error:
        raise ExportError(f"export of {type(module).__name__}: {error}") from error
    batch_first = _batch_first(module)
    x = _sample(model, sample, batch_first)
    report = check_parity(model, x)
    report["torch"] = torch.__version__
    report["torch_difference"] = _difference(module, model, x, batch_first)
    report["tolerance"] = TOLERANCE
    differing = {name: count for name, count in report["differing"].items() if count}
    if differing:
        raise ExportError(f"export: outputs differ in bits where the model is run as {differing}: please report this")
    if not report["torch_difference"] <= TOLERANCE:
        raise ExportError(
            f"export: the model's output is {report['torch_difference']:.2g} from the module's, expected at most "
            f"{TOLERANCE}: a layer with a hook or a `forward` of its own is not exported as it runs, and some networks "
            "enlarge rounding errors: give a typical `sample`"
        )
    model.parity = report
    return model


def layers_of(module: nn.Module) -> list[layers.Layer]:
    """The layers of a model that compute what a module does.

    Raises:
        ExportError: one of its layers cannot be exported.
    """
    return [layer for name, part in _leaves(module, "") for layer in _layers_of(name, part)]


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers in their order, with their names."""
    if isinstance(module, (nn.Sequential, Stack)):
        for child, part in module.named_children():
            yield from _leaves(part, f"{name}.{child}" if name else child)
    else:
        yield name or "the module", module


_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Softplus: "softplus",
    nn.ELU: "elu",
    nn.Softsign: "softsign",
    nn.LeakyReLU: "leaky_relu",
    nn.Hardsigmoid: "hard_sigmoid",
    nn.Identity: "identity",
}

# Settings under which a layer is what we compute, by the name of the attribute.
_REQUIRED: dict[type[nn.Module], dict[str, tuple[object, ...]]] = {
    nn.GELU: {"approximate": ("none",)},
    nn.Softplus: {"beta": (1,), "threshold": (20,)},
    nn.ELU: {"alpha": (1,)},
    nn.Softmax: {"dim": (-1, 2)},
    nn.Embedding: {"max_norm": (None,)},
}


def _layers_of(name: str, module: nn.Module) -> list[layers.Layer]:
    """The layers of a model that a module is.

    Raises:
        ExportError: it is none; the message names it.
    """
    for kind, settings in _REQUIRED.items():
        for attribute, allowed in settings.items() if isinstance(module, kind) else ():
            if getattr(module, attribute) not in allowed:
                raise ExportError(
                    f"export: {name} is {module}, expected {attribute} to be {' or '.join(map(repr, allowed))}"
                )
    hook: Any = module
    if hasattr(module, "model_layers"):
        own: list[layers.Layer] = hook.model_layers()
        return own
    if isinstance(module, nn.RNNBase) or hasattr(module, "recurrences"):
        try:
            entries = _of_torch(module) if isinstance(module, nn.RNNBase) else hook.recurrences()
        except ExportError as error:
            raise ExportError(f"export: {name}: {error}") from error
        return [_recurrent(name, entry) for entry in entries]
    if isinstance(module, nn.Linear):
        bias = module.bias
        return [layers.Linear(_array(name, module.weight), None if bias is None else _array(name, bias))]
    if isinstance(module, nn.Embedding):
        return [layers.Embedding(_array(name, module.weight))]
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        size = module.normalized_shape[0]
        scale = np.ones(size, np.float32) if module.weight is None else _array(name, module.weight)
        shift = np.zeros(size, np.float32) if module.bias is None else _array(name, module.bias)
        return [layers.LayerNorm(scale, shift, module.eps)]
    if isinstance(module, nn.Dropout):
        return [layers.Dropout(module.p)]
    if isinstance(module, nn.Softmax):
        return [layers.Softmax()]
    for kind, word in _ACTIVATIONS.items():
        if isinstance(module, kind):
            return [layers.Activation(word, module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.01)]
    raise ExportError(
        f"export: {name} is a {type(module).__name__}, expected a recurrent layer, Linear, Embedding, LayerNorm over "
        f"the features, Dropout, Softmax or one of {', '.join(k.__name__ for k in _ACTIVATIONS)}, in nn.Sequential or "
        "recurra.torch.Stack"
    )


_CELLS: dict[str, Callable[[nn.RNNBase], Cell]] = {
    "RNN_TANH": lambda module: rnn,
    "RNN_RELU": lambda module: rnn_relu,
    "GRU": lambda module: gru,
    "LSTM": lambda module: lstm_projected if module.proj_size else lstm,
}


def _of_torch(module: nn.RNNBase) -> list[Entry]:
    """The hook of this module's docstring, for torch.nn's layers."""
    cell = _CELLS[module.mode](module)

    def arrays(suffix: str) -> dict[str, Tensor]:
        found = {"W": getattr(module, "weight_ih" + suffix), "U": getattr(module, "weight_hh" + suffix)}
        for ours, theirs in (("b", "bias_ih"), ("c_", "bias_hh")):
            found[ours] = getattr(module, theirs + suffix) if module.bias else found["W"].new_zeros(len(found["W"]))
        if module.proj_size:
            found["R"] = getattr(module, "weight_hr" + suffix)
        return found

    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    return [[(cell, arrays(f"_l{i}{suffix}")) for suffix in suffixes] for i in range(module.num_layers)]


def _recurrent(name: str, entry: Entry) -> layers.Recurrent:
    cell = entry[0][0]
    directions = [{n: _array(name, a) for n, a in arrays.items()} for _, arrays in entry]
    begins = [f"initial:{state}" for state in cell.states if f"initial:{state}" in directions[0]]
    initial = [[arrays[n] for n in begins] for arrays in directions] if begins else ()
    try:
        return layers.Recurrent(cell, [Weights.of(cell, arrays) for arrays in directions], initial)
    except RecurraError as error:
        raise ExportError(f"export: {name}: {error}") from error


def _array(name: str, tensor: Tensor) -> Array:
    if tensor.dtype != torch.float32:
        raise ExportError(
            f"export: {name} has parameters of {tensor.dtype}, expected torch.float32: use module.float()"
        )
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _batch_first(module: nn.Module) -> bool:
    """What the recurrent layers agree on."""
    orders = {name: bool(part.batch_first) for name, part in _leaves(module, "") if hasattr(part, "batch_first")}
    if len(set(orders.values())) > 1:
        raise ExportError(f"export: batch_first is {orders}, expected the same of all layers")
    return True in orders.values()


def _sample(model: Model, sample: Tensor | Array | None, batch_first: bool) -> Array:
    """Time-major, with a batch axis."""
    if sample is None:
        rng = np.random.default_rng(0)
        if model.words:
            ids: Any = rng.integers(0, model.words, (STEPS, ROWS))
            return np.asarray(ids)
        return rng.standard_normal((STEPS, ROWS, model.input_size)).astype(np.float32)
    x: Any = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
    batched = 2 if model.words else 3
    if x.ndim == batched - 1:
        x = x[:, None]
    elif x.ndim == batched and batch_first:
        x = x.swapaxes(0, 1)
    features = () if model.words else (model.input_size,)
    if x.ndim != batched or x.shape[2:] != features or 0 in x.shape:
        wanted = ", ".join(["steps", "rows", *map(str, features)])
        raise ExportError(f"export: `sample` has shape {tuple(np.shape(sample))}, expected one of [{wanted}]")
    return np.ascontiguousarray(x, np.int64 if model.words else np.float32)


def _difference(module: nn.Module, model: Model, x: Array, batch_first: bool) -> float:
    """The largest difference from the module's own output, relative to its largest number where that is above 1."""
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
    theirs = (result[0] if isinstance(result, tuple) else result).cpu().numpy()
    theirs, ours = theirs.swapaxes(0, 1) if batch_first else theirs, model.run(x)
    if theirs.shape != ours.shape:
        return float("inf")
    return float(np.abs(theirs - ours).max() / max(1.0, float(np.abs(theirs).max())))
