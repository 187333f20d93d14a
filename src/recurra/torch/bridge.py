"""What each op of the runtime is in torch, both ways: one row an op.

A layer of another class takes part by a method of its own, `recurrences()`: a list with one entry for each of its
recurrent layers, from the input on; an entry is a list of one or two (two directions) pairs `(cell, arrays)`, where
`arrays` has a tensor for each name in `Weights.shapes(cell, ...)` and, where its states do not begin with zeros,
`initial:h` [P] and so on for each state. `batch_first`, where the layer has it, means what it does in torch.nn. A
network that is no sequence of layers takes part by `model_layers()`: the ops of `recurra.runtime` that compute what its
forward (or the first of what that returns) does; `layers_of` gives them for a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells import Cell, gru, lstm, lstm_projected, rnn, rnn_relu
from recurra.errors import ExportError, RecurraError
from recurra.runtime import Model, ops
from recurra.runtime.ops import Op
from recurra.torch.attend import Attend
from recurra.torch.branches import Branches
from recurra.torch.convolution import BatchNorm1d, CausalConv1d, FlatConv2d
from recurra.torch.embedding import Embedding
from recurra.torch.fields import Fields
from recurra.torch.forecast import ForecastHead
from recurra.torch.layers import CELLS
from recurra.torch.ngrams import NGrams
from recurra.torch.pool import Pool
from recurra.torch.readout import Join, Readout
from recurra.torch.recurrent import Recurrent
from recurra.torch.stack import Stack
from recurra.weights import Array, Weights

Entry = list[tuple[Cell, Mapping[str, Tensor]]]
Read = Callable[[Any], Any]  # a tensor of the layer as an array, None as None


class Row(NamedTuple):
    """An op in torch.

    Attributes:
        modules: the classes that are this op.
        op: the op of a module, whose tensors are taken by the second argument.
        module: the module of an op.
        required: settings under which a module is the op, by attribute.
    """

    modules: tuple[type[nn.Module], ...]
    op: Callable[[Any, Read], Op]
    module: Callable[[Any], nn.Module]
    required: Mapping[str, tuple[object, ...]] = {}


def layers_of(module: nn.Module) -> list[Op]:
    """The ops of a program that compute what a module does.

    Raises:
        ExportError: one of its layers cannot be exported; the message names it.
    """
    found: list[Op] = []
    for name, part in leaves(module):
        for op in _ops_of(name, part):
            before = found[-1] if found else None
            if isinstance(op, ops.Affine) and isinstance(before, (ops.Linear, ops.Convolution)):
                found[-1] = _folded(before, op)
            else:
                found.append(op)
    return found


def is_layer(module: nn.Module) -> bool:
    """Whether `layers_of` knows a module as it is, or as a sequence of such."""
    if isinstance(module, nn.Sequential):
        return all(is_layer(part) for part in module)
    known: list[Any] = [nn.RNNBase, *(kind for rows in ROWS.values() for row in rows for kind in row.modules)]
    return isinstance(module, tuple(known)) or hasattr(module, "model_layers") or hasattr(module, "recurrences")


def stack_of(model: Model) -> Stack:
    """A torch module with a model's ops and numbers.

    Raises:
        ExportError: an op has no form in torch.
    """
    modules = (_module_of(i, op) for i, op in enumerate(model.ops))
    return Stack(*modules, inputs=model.inputs if len(model.inputs) > 1 else None)


def _module_of(i: int, op: Op) -> nn.Module:
    if isinstance(op, ops.Recurrent):
        return _of_recurrent(op)
    for kind, rows in ROWS.items():
        if isinstance(op, kind):
            return rows[0].module(op)
    known = ", ".join(["recurrent", *(kind.kind for kind in ROWS)])
    raise ExportError(f"to_torch: layer {i} is of the kind {op.kind!r}, expected one of: {known}")


def leaves(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers in their order, with their names."""
    if isinstance(module, nn.Sequential):
        for child, part in module._modules.items():
            yield from leaves(part, f"{name}.{child}" if name else child)
    else:
        yield name or "the module", module


def entries_of(module: Any) -> list[Entry]:
    """Cells and arrays of each layer and direction of a recurrent module, as its `recurrences()` would have them."""
    if not isinstance(module, nn.RNNBase):
        entries: list[Entry] = module.recurrences()
        return entries
    cell = lstm_projected if module.proj_size else CELLS[module.mode]

    def arrays(suffix: str) -> dict[str, Tensor]:
        found = {"W": getattr(module, "weight_ih" + suffix), "U": getattr(module, "weight_hh" + suffix)}
        for ours, theirs in (("b", "bias_ih"), ("c_", "bias_hh")):
            found[ours] = getattr(module, theirs + suffix) if module.bias else found["W"].new_zeros(len(found["W"]))
        if module.proj_size:
            found["R"] = getattr(module, "weight_hr" + suffix)
        return found

    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    return [[(cell, arrays(f"_l{i}{suffix}")) for suffix in suffixes] for i in range(module.num_layers)]


def _ops_of(name: str, module: nn.Module) -> Sequence[Op]:
    """The ops that a layer is."""

    def read(tensor: Tensor | None) -> Array | None:
        if tensor is None:
            return None
        if tensor.dtype != torch.float32:
            raise ExportError(f"{name} has parameters of {tensor.dtype}, expected torch.float32: use module.float()")
        return np.array(tensor.detach().cpu().numpy(), order="C")

    hook: Any = module
    try:
        if hasattr(module, "model_layers"):
            own: list[Op] = hook.model_layers()
            return own
        if isinstance(module, nn.RNNBase) or hasattr(module, "recurrences"):
            return [_recurrent(entry, read) for entry in entries_of(module)]
        for row in (row for rows in ROWS.values() for row in rows):
            if not isinstance(module, row.modules):
                continue
            for attribute, allowed in row.required.items():
                if getattr(module, attribute) not in allowed:
                    wanted = " or ".join(map(repr, allowed))
                    raise ExportError(f"{name} is {module}, expected {attribute} to be {wanted}")
            return [row.op(module, read)]
    except RecurraError as error:
        where = "" if str(error).startswith(f"{name} ") else f"{name}: "
        raise ExportError(f"export: {where}{error}") from error
    known = dict.fromkeys(kind.__name__ for rows in ROWS.values() for row in rows for kind in row.modules)
    raise ExportError(
        f"export: {name} is a {type(module).__name__}, expected a recurrent layer or one of {', '.join(known)}, in "
        "nn.Sequential or recurra.torch.Stack"
    )


# torch.nn's layers by the fingerprint of their equations.
_STOCK: dict[str, Callable[..., nn.RNNBase]] = {
    rnn.fingerprint: nn.RNN,
    rnn_relu.fingerprint: lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    lstm.fingerprint: nn.LSTM,
    lstm_projected.fingerprint: nn.LSTM,
    gru.fingerprint: nn.GRU,
}


def _recurrent(entry: Entry, read: Read) -> ops.Recurrent:
    cell = entry[0][0]
    directions = [{n: read(a) for n, a in arrays.items()} for _, arrays in entry]
    begins = [f"initial:{state}" for state in cell.states if f"initial:{state}" in directions[0]]
    initial = [[arrays[n] for n in begins] for arrays in directions] if begins else ()
    return ops.Recurrent(cell, [Weights.of(cell, arrays) for arrays in directions], initial)


def _of_recurrent(op: ops.Recurrent) -> nn.Module:
    """torch.nn's layer where it has these equations, else Recurra's."""
    cell, first = op.cell, op.weights[0]
    stock = None if op.initial else _STOCK.get(cell.fingerprint)
    options: dict[str, Any] = {"bidirectional": len(op.weights) == 2}
    if first.R is not None:
        options["proj_size"] = len(first.R)
    sizes = op.input_size, first.hidden_size
    if stock is not None:
        module: nn.Module = stock(*sizes, **options)
    else:
        module = Recurrent(cell, *sizes, initial_state="learned" if op.initial else "zeros", **options)
    named: dict[str, Any] = {}
    for d, weights in enumerate(op.weights):
        arrays = {"weight_ih": weights.W, "weight_hh": weights.U, "bias_ih": weights.b, "bias_hh": weights.c_}
        arrays |= {} if weights.R is None else {"weight_hr": weights.R}
        arrays |= {p.replace(".", "_"): weights.parameters[p] for p in cell.parameters}
        arrays |= {f"initial_{s}": a for s, a in zip(cell.states, op.initial[d] if op.initial else (), strict=False)}
        named |= {f"{name}_l0{'_reverse' if d else ''}": array for name, array in arrays.items()}
    return _filled(module, **{name: named[name] for name, _ in module.named_parameters()})


def _filled(module: nn.Module, **arrays: Any) -> nn.Module:
    """With these arrays in place of its parameters and buffers; None: what it has stays."""
    own = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None}
    module.load_state_dict(module.state_dict() | own)
    return module


def _layer_norm(module: nn.LayerNorm, read: Read) -> Op:
    if len(module.normalized_shape) != 1:
        raise ExportError(f"a LayerNorm over {tuple(module.normalized_shape)}, expected the features alone")
    size = module.normalized_shape[0]
    scale = np.ones(size, np.float32) if module.weight is None else read(module.weight)
    return ops.LayerNorm(scale, np.zeros(size, np.float32) if module.bias is None else read(module.bias), module.eps)


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, read: Read) -> ops.Affine:
    if module.running_mean is None:
        raise ExportError(f"a {type(module).__name__} without running statistics, expected track_running_stats=True")
    mean, variance = (read(a).astype(np.float64) for a in (module.running_mean, module.running_var))
    scale = (1 if module.weight is None else read(module.weight)) / np.sqrt(variance + module.eps)
    shift = (0 if module.bias is None else read(module.bias)) - mean * scale
    return ops.Affine(scale.astype(np.float32), shift.astype(np.float32))


def _folded(op: Any, after: ops.Affine) -> Op:
    """A linear op or a convolution with what scales and shifts its output."""
    W = op.W * after.scale.astype(np.float64).reshape(-1, *[1] * (op.W.ndim - 1))
    b = (0 if op.b is None else op.b * after.scale.astype(np.float64)) + after.shift
    settings: dict[str, Any] = op.settings()
    return type(op)(W.astype(np.float32), b.astype(np.float32), **settings)  # type: ignore[no-any-return]


def _convolution(module: CausalConv1d, read: Read) -> Op:
    W = np.ascontiguousarray(read(module.weight).transpose(0, 2, 1))
    return ops.Convolution(W, read(module.bias), module.dilation[0], module.stride[0])


def _of_convolution(op: ops.Convolution) -> nn.Module:
    O, K, I = op.W.shape
    module = CausalConv1d(I, O, K, op.stride, op.dilation, bias=op.b is not None)
    return _filled(module, weight=op.W.transpose(0, 2, 1), bias=op.b)


def _convolution_2d(module: FlatConv2d, read: Read) -> Op:
    W = np.ascontiguousarray(read(module.weight).transpose(0, 2, 3, 1))
    (rows, columns), padding = module.size, int(module.padding[0])
    op = ops.Convolution2d(W, read(module.bias), rows, columns, module.stride[0], padding)
    return op if module.norm is None else _folded(op, _batch_norm(module.norm, read))


def _of_convolution_2d(op: ops.Convolution2d) -> nn.Module:
    N, K, L, C = op.W.shape
    module = FlatConv2d((op.rows, op.columns), (C, N), (K, L), op.hop, op.padding, bias=op.b is not None)
    return _filled(module, weight=op.W.transpose(0, 3, 1, 2), bias=op.b)


def _of_pool(op: ops.Pool) -> nn.Module:
    return _filled(Pool(op.how, len(op.v) if op.v is not None else 0, bidirectional=op.directions == 2), v=op.v)


def _attend(module: Attend, read: Read) -> Op:
    sizes = (module.values, module.capacity, module.heads)
    W, b, v, u = map(read, (module.weight, module.bias, module.v, module.u))
    return ops.Attend(W, b, v, *sizes, u, module.shows, module.wait)


def _of_attend(op: ops.Attend) -> nn.Module:
    K, I = op.W.shape
    score = "product" if op.v is None else "additive"
    how = {"covers": op.u is not None, "shows": op.shows, "wait": op.wait}
    module = Attend(I, K, op.values, heads=op.heads, score=score, capacity=op.capacity, **how)  # type: ignore[arg-type]
    return _filled(module, weight=op.W, bias=op.b, v=op.v, u=op.u)


def _readout(module: Readout, read: Read) -> Op:
    gate = module.gate
    w, d = (None, None) if gate is None else (read(gate.weight), read(gate.bias))
    W, b, S, c = (read(t) for layer in (module.inner, module.outer) for t in (layer.weight, layer.bias))
    return ops.Readout(W, b, S, c, w, d, module.copies, module.feeds)


def _of_readout(op: ops.Readout) -> nn.Module:
    module = Readout(op.sizes["F"], op.sizes["E"], op.sizes["V"], copies=op.copies, feeds=op.feeds)
    for part, arrays in {"inner": (op.W, op.b), "outer": (op.S, op.c), "gate": (op.w, op.d)}.items():
        if arrays[0] is not None:
            _filled(getattr(module, part), weight=arrays[0], bias=arrays[1])
    return module


def _branches(module: Branches, read: Read) -> ops.Branches:
    return ops.Branches([layers_of(branch) for branch in module.branches], module.how)


def _of_branches(op: ops.Branches) -> nn.Module:
    return Branches([[_module_of(i, part) for i, part in enumerate(chain)] for chain in op.branches], op.how)


def _of_join(op: ops.Join) -> nn.Module:
    return Join(op.name, op.features)


def _of_forecast(op: ops.Forecast) -> nn.Module:
    S, U = op.W.shape
    return _filled(ForecastHead(op.sizes["I"], op.horizon, op.B.shape[1] - S, S, op.levels, units=U), **op.arrays())


def _fields(module: Fields, read: Read) -> Op:
    arrays = {name: read(getattr(module.step, f"{name.replace('.', '_')}_l0")) for name in module.equations.parameters}
    return ops.Fields(module.equations, arrays, module.size, module.rest)


def _of_fields(op: ops.Fields) -> nn.Module:
    named = {f"step.{name.replace('.', '_')}_l0": array for name, array in op.parameters.items()}
    return _filled(Fields(op.equations, op.size, op.rest), **named)


def _of_embedding(op: ops.Embedding) -> nn.Module:
    if not op.tables:
        return _filled(nn.Embedding(*op.W.shape), weight=op.W)
    return _filled(Embedding(op.tables, op.W.shape[1], shared=not any(op.begins)), weight=op.W)


def _of_linear(op: ops.Linear) -> nn.Module:
    return _filled(nn.Linear(op.W.shape[1], len(op.W), bias=op.b is not None), weight=op.W, bias=op.b)


def _activation(word: str, kind: type[nn.Module], **required: tuple[object, ...]) -> Row:
    return Row((kind,), lambda module, read: ops.Activation(word), lambda op: kind(), required)


# The activations by their words, each with the settings under which torch's is ours.
_WORDS = {
    row.op(None, lambda a: a).name: row  # type: ignore[attr-defined]
    for row in (
        _activation("relu", nn.ReLU),
        _activation("tanh", nn.Tanh),
        _activation("sigmoid", nn.Sigmoid),
        _activation("gelu", nn.GELU, approximate=("none",)),
        _activation("silu", nn.SiLU),
        _activation("softplus", nn.Softplus, beta=(1,), threshold=(20,)),
        _activation("elu", nn.ELU, alpha=(1,)),
        _activation("softsign", nn.Softsign),
        _activation("hard_sigmoid", nn.Hardsigmoid),
        _activation("identity", nn.Identity),
    )
}
_LEAKY = Row(
    (nn.LeakyReLU,),
    lambda module, read: ops.Activation("leaky_relu", module.negative_slope),
    lambda op: nn.LeakyReLU(op.slope) if op.name == "leaky_relu" else _WORDS[op.name].module(op),
)

ROWS: dict[type[Op], tuple[Row, ...]] = {
    ops.Linear: (
        Row((nn.Linear,), lambda module, read: ops.Linear(read(module.weight), read(module.bias)), _of_linear),
    ),
    ops.Embedding: (
        Row(
            (nn.Embedding,),
            lambda module, read: ops.Embedding(read(module.weight)),
            _of_embedding,
            {"max_norm": (None,)},
        ),
        Row((Embedding,), lambda module, read: ops.Embedding(read(module.weight), module.tables), _of_embedding),
    ),
    ops.Fields: (Row((Fields,), _fields, _of_fields),),
    ops.LayerNorm: (
        Row(
            (nn.LayerNorm,),
            _layer_norm,
            lambda op: _filled(nn.LayerNorm(len(op.scale), eps=op.epsilon), weight=op.scale, bias=op.shift),
        ),
    ),
    ops.Affine: (
        Row(
            (nn.BatchNorm1d,),
            _batch_norm,
            lambda op: _filled(BatchNorm1d(len(op.scale), eps=0.0), weight=op.scale, bias=op.shift),
        ),
    ),
    ops.Convolution: (
        Row((CausalConv1d,), _convolution, _of_convolution, {"groups": (1,), "padding_mode": ("zeros",)}),
    ),
    ops.Convolution2d: (
        Row(
            (FlatConv2d,),
            _convolution_2d,
            _of_convolution_2d,
            {"groups": (1,), "padding_mode": ("zeros",), "dilation": ((1, 1),)},
        ),
    ),
    ops.Pool: (
        Row((Pool,), lambda module, read: ops.Pool(module.how, read(module.v), 1 + module.bidirectional), _of_pool),
    ),
    ops.Attend: (Row((Attend,), _attend, _of_attend),),
    ops.Readout: (Row((Readout,), _readout, _of_readout),),
    ops.Branches: (Row((Branches,), _branches, _of_branches),),
    ops.Join: (Row((Join,), lambda module, read: ops.Join(module.name, module.features), _of_join),),
    ops.NGrams: (Row((NGrams,), lambda module, read: module.op, NGrams),),
    ops.Forecast: (Row((ForecastHead,), lambda module, read: module.model_layers()[0], _of_forecast),),
    ops.Dropout: (Row((nn.Dropout,), lambda module, read: ops.Dropout(module.p), lambda op: nn.Dropout(op.p)),),
    ops.Softmax: (Row((nn.Softmax,), lambda module, read: ops.Softmax(), lambda op: nn.Softmax(-1), {"dim": (-1, 2)}),),
    ops.Activation: (_LEAKY, *_WORDS.values()),
}
