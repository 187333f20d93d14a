"""`RNN`, `LSTM`, `GRU`: torch.nn's layers on Recurra's kernels. Change the import, keep everything else.

They are torch.nn's classes in all but `forward`: constructors, parameters and their initial values, state_dict, checks
and messages, pickling, parametrizations and `isinstance(layer, torch.nn.LSTM)` are torch's own.
`recurra.torch.backend_for` tells what runs on other devices and in other dtypes.
"""

# ruff: noqa: A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.cells import zoo
from recurra.torch.compiled import let_in
from recurra.torch.operator import is_autocast, scan
from recurra.torch.traced import as_node, is_for_onnx

CELLS = {"RNN_TANH": zoo.rnn, "RNN_RELU": zoo.rnn_relu, "LSTM": zoo.lstm, "GRU": zoo.gru}  # by torch's modes


class Layer(nn.RNNBase):
    """What the three layers share: torch's forward, with `scan` in place of its kernels."""

    def _text(self) -> str:
        return (zoo.lstm_projected if self.proj_size else CELLS[self.mode]).text

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As the layer of torch.nn: input [T, B, I] (or [T, I], or [B, T, I] if batch_first), or a PackedSequence."""
        if isinstance(input, Proxy):
            return as_node(self, input, hx)
        if is_for_onnx():  # before a size is looked at, which would be a constant of the graph
            return super().forward(input, hx)
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        unknown = not packed and (x.dim() not in (2, 3) or x.shape[self.batch_first and x.dim() == 3] == 0)
        foreign = x.dtype != self._weight("weight_ih_l0").dtype and not is_autocast(x.device.type)
        if x.device.type == "cuda" or unknown or foreign:
            return super().forward(input, hx)  # cuDNN's kernels, or torch's own error
        return self._run_packed(input, hx) if packed else self._run(x, hx)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "qconfig":  # what torch's quantization gives every module before it looks for those that it knows
            warnings.warn(
                f"{self!r} stays as it is: torch's quantization knows layers by their exact class: turn Recurra's back "
                "into torch.nn's first, with recurra.torch.to_torch(model)",
                UserWarning,
                stacklevel=3,
            )

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script reads and leaves in its place: torch.nn's layer with the same parameters."""
        warnings.warn(
            f"{self!r} is torch.nn's from now on in a module that torch.jit.script reads: give it a copy, as "
            "copy.deepcopy(module), to keep Recurra's",
            stacklevel=2,
        )
        return as_stock(copy.copy(self))

    def _run(self, x: Tensor, hx: Any) -> Any:
        hx = _tuple(hx)
        batched = x.dim() == 3
        if hx is not None:
            self._check_dimensions(hx, batched)
        if not batched:
            x, hx = x.unsqueeze(1), _map(hx, lambda h: h.unsqueeze(1))
        elif self.batch_first:
            x = x.transpose(0, 1)
        self._check(x if not self.batch_first else x.transpose(0, 1), hx, None)
        output, state = self._stack(x, hx, None)
        if not batched:
            return output.squeeze(1), _map(state, lambda h: h.squeeze(1))
        return output.transpose(0, 1) if self.batch_first else output, state

    def _run_packed(self, input: PackedSequence, hx: Any) -> Any:
        permuted = _map(_tuple(hx), lambda h: _select(h, input.sorted_indices))
        self._check(input.data, permuted, input.batch_sizes)
        x, lengths = pad_packed_sequence(PackedSequence(input.data, input.batch_sizes))
        output, state = self._stack(x, permuted, lengths.to(x.device))
        data = pack_padded_sequence(output, lengths).data
        result = PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        return result, _map(state, lambda h: _select(h, input.unsorted_indices))

    def _check(self, input: Tensor, hx: Any, batch_sizes: Tensor | None) -> None:
        """Torch's own checks; states of zeros need none."""
        if hx is None:
            self.check_input(input, batch_sizes)
        else:
            self.check_forward_args(input, hx, batch_sizes)

    def _check_dimensions(self, hx: Any, batched: bool) -> None:
        """Torch's own words for states of the wrong number of dimensions."""
        wanted, states = (3 if batched else 2), hx if isinstance(hx, tuple) else (hx,)
        if all(h.dim() == wanted for h in states):
            return
        kind = "batched 3-D" if batched else "unbatched 2-D"
        if self.mode == "LSTM":
            dims = ", ".join(f"{h.dim()}-D" for h in states)
            raise RuntimeError(f"For {kind} input, hx and cx should also be {wanted}-D but got ({dims}) tensors")
        raise RuntimeError(f"For {kind} input, hx should also be {wanted}-D but got {states[0].dim()}-D tensor")

    def _stack(self, x: Tensor, hx: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """All layers and directions over time-major x."""
        text, directions = self._text(), 2 if self.bidirectional else 1
        given = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
        final: list[list[Tensor]] = []
        alone = self.num_layers * directions == 1
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                state = [h[layer * directions + direction] for h in given]
                suffix = f"_l{layer}_reverse" if direction else f"_l{layer}"
                weights, how = self._weights(suffix), (bool(direction), 0, False, alone)
                output, *last = scan(text, x, weights, (), state, lengths, None, *how)
                outputs.append(output)
                final.append(last)
            x = torch.cat(outputs, -1) if directions == 2 else outputs[0]
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout)
        states = tuple(final[0] if alone else map(torch.stack, zip(*final, strict=True)))
        return x, states if self.mode == "LSTM" else states[0]

    def _weight(self, name: str) -> Tensor:
        weight = self._parameters.get(name)  # not there where it is parametrized
        return getattr(self, name) if weight is None else weight

    def _weights(self, suffix: str) -> list[Tensor | None]:
        """W, U, b, c and R of one layer and direction."""
        W, U = self._weight("weight_ih" + suffix), self._weight("weight_hh" + suffix)
        if self.bias:
            b, c = self._weight("bias_ih" + suffix), self._weight("bias_hh" + suffix)
        else:
            b, c = W.new_zeros(W.shape[0]), W.new_zeros(W.shape[0])
        return [W, U, b, c, self._weight("weight_hr" + suffix) if self.proj_size else None]


def _tuple(state: Any) -> Any:
    """States as a tuple where they come as a list, which torch.nn takes too."""
    return tuple(state) if isinstance(state, list) else state


def _map(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if state is None:
        return None
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


def _select(state: Tensor, order: Tensor | None) -> Tensor:
    return state if order is None else state.index_select(1, order)


def _arguments(*own: str) -> inspect.Signature:
    """What a layer takes, with its own arguments: torch's constructors only say `*args, **kwargs`."""
    known = dict(inspect.signature(nn.RNNBase).parameters)
    known["nonlinearity"] = inspect.Parameter("nonlinearity", known["bias"].kind, default="tanh", annotation=str)
    order = ["input_size", "hidden_size", "num_layers", "nonlinearity", "bias", "batch_first", "dropout"]
    order += ["bidirectional", "proj_size", "device", "dtype"]
    of_some = {"nonlinearity", "proj_size"} - set(own)
    for name in ("device", "dtype"):  # after what only an LSTM takes
        known[name] = known[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)
    return inspect.Signature([known[name] for name in order if name not in of_some])


class RNN(Layer, nn.RNN):
    """torch.nn.RNN on Recurra's kernels: h' = tanh(W x + b + U h + d), or relu.

    Args:
        input_size: I, the features of a step.
        hidden_size: H, the units of a layer.
        num_layers: how many layers, each reading the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: input and output are [B, T, ...]; states are [layers * directions, B, ...] all the same.
        dropout: the share of outputs that are dropped between layers in training.
        bidirectional: each layer also reads backwards, and its outputs are twice as wide.
        device: of the parameters.
        dtype: of the parameters.
    """

    __signature__ = _arguments("nonlinearity")


class LSTM(Layer, nn.LSTM):
    """torch.nn.LSTM on Recurra's kernels, with `proj_size`.

    Args:
        input_size: I, the features of a step.
        hidden_size: H, the units of a layer.
        num_layers: how many layers, each reading the outputs of the one before.
        bias: whether there are biases.
        batch_first: input and output are [B, T, ...]; states are [layers * directions, B, ...] all the same.
        dropout: the share of outputs that are dropped between layers in training.
        bidirectional: each layer also reads backwards, and its outputs are twice as wide.
        proj_size: P, to which the output is projected; 0: it is H wide, and not projected.
        device: of the parameters.
        dtype: of the parameters.
    """

    __signature__ = _arguments("proj_size")


class GRU(Layer, nn.GRU):
    """torch.nn.GRU on Recurra's kernels: the reset gate applied after the recurrent product.

    Args:
        input_size: I, the features of a step.
        hidden_size: H, the units of a layer.
        num_layers: how many layers, each reading the outputs of the one before.
        bias: whether there are biases.
        batch_first: input and output are [B, T, ...]; states are [layers * directions, B, ...] all the same.
        dropout: the share of outputs that are dropped between layers in training.
        bidirectional: each layer also reads backwards, and its outputs are twice as wide.
        device: of the parameters.
        dtype: of the parameters.
    """

    __signature__ = _arguments()


OURS: dict[type[nn.Module], type[Layer]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}


def as_stock(layer: nn.Module) -> nn.Module:
    """The same object as torch.nn's layer, where it is one of ours and of no subclass of them."""
    stock = next((theirs for theirs, ours in OURS.items() if ours is type(layer)), None)
    if stock is not None:
        layer.__class__ = stock
    return layer


let_in(Layer)
