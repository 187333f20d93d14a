"""`RNN`, `LSTM`, `GRU`: torch.nn's layers on Recurra's kernels. Change the import, keep everything else.

They are subclasses: constructors, parameters and their initial values, state_dict, checks and messages, pickling and
parametrizations are torch's own. Off the CPU, and in dtypes without a native kernel, `backend_for` tells what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.cells import Cell, gru, lstm, lstm_projected, rnn, rnn_relu
from recurra.torch import operator  # noqa: F401  (defines torch.ops.recurra)

NATIVE_DTYPES = (torch.float32, torch.float64)


def scan(
    cell: Cell,
    x: Tensor,
    weights: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    checkpoint_every: int = 0,
    all: bool = False,
) -> list[Tensor]:
    """One cell in one direction: x [T, B, I]; weights W, U, b, c, R; output, final states, and all states and gates."""
    kind = x.device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None

    def cast(t: Tensor) -> Tensor:
        return t.float() if autocast is not None and t.is_floating_point() and t.dtype != torch.float64 else t

    how = (lengths, reset, cell.text, reverse, checkpoint_every, False, all)
    if autocast is None:
        results = torch.ops.recurra.scan.default(x, *weights, list(parameters), list(state), *how)
    else:
        wide = [None if w is None else cast(w) for w in weights]
        with torch.autocast(kind, enabled=False):
            results = torch.ops.recurra.scan.default(
                cast(x), *wide, [cast(p) for p in parameters], [cast(s) for s in state], *how
            )
        results = [r.to(autocast) if r.is_floating_point() else r for r in results]
    return list(results[:-1])


class _Layer(nn.RNNBase):
    """What the three layers share: torch's forward, with `scan` in place of its kernels."""

    def _cell(self) -> Cell:
        raise NotImplementedError

    def _run(self, input: Any, hx: Any, stock: Callable[..., Any]) -> Any:
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        weight = self._weight("weight_ih_l0")
        autocast = torch.is_autocast_enabled(x.device.type)
        if (
            (x.dtype != weight.dtype and not autocast)
            or x.device.type == "cuda"
            or (not packed and x.dim() not in (2, 3))
        ):
            return stock(input, hx)  # cuDNN's kernels, or torch's own error
        if packed:
            return self._run_packed(input, hx, stock)
        if (x.shape[1] if self.batch_first and x.dim() == 3 else x.shape[0]) == 0:
            return stock(input, hx)  # torch's own error
        batched = x.dim() == 3
        if hx is not None:
            self._check_dimensions(hx, batched)
        if not batched:
            x, hx = x.unsqueeze(1), _map(hx, lambda h: h.unsqueeze(1))
        elif self.batch_first:
            x = x.transpose(0, 1)
        self.check_forward_args(x if not self.batch_first else x.transpose(0, 1), self._states_or_zeros(x, hx), None)
        output, state = self._stack(x, hx, None)
        if not batched:
            return output.squeeze(1), _map(state, lambda h: h.squeeze(1))
        return output.transpose(0, 1) if self.batch_first else output, state

    def _run_packed(self, input: PackedSequence, hx: Any, stock: Callable[..., Any]) -> Any:
        permuted = hx if hx is None else _map(hx, lambda h: _select(h, input.sorted_indices))
        first = input.data.new_empty(int(input.batch_sizes[0]), 0)
        self.check_forward_args(input.data, self._states_or_zeros(first.unsqueeze(0), permuted), input.batch_sizes)
        plain = PackedSequence(input.data, input.batch_sizes)
        x, lengths = pad_packed_sequence(plain)
        output, state = self._stack(x, permuted, lengths.to(x.device))
        data = pack_padded_sequence(output, lengths).data
        result = PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        return result, _map(state, lambda h: _select(h, input.unsorted_indices))

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

    def _states_or_zeros(self, x: Tensor, hx: Any) -> Any:
        """The given states, or zeros, of all layers and directions."""
        if hx is not None:
            return hx
        count = self.num_layers * (2 if self.bidirectional else 1)
        h = x.new_zeros(count, x.shape[1], self.proj_size or self.hidden_size)
        return (h, x.new_zeros(count, x.shape[1], self.hidden_size)) if self.mode == "LSTM" else h

    def _stack(self, x: Tensor, hx: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """All layers and directions over time-major x."""
        cell, directions = self._cell(), 2 if self.bidirectional else 1
        given = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
        final: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                state = [h[layer * directions + direction] for h in given]
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                output, *last = scan(cell, x, self._weights(suffix, x), (), state, lengths, None, bool(direction))
                outputs.append(output)
                final.append(last)
            x = torch.cat(outputs, -1) if directions == 2 else outputs[0]
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout)
        stacked = tuple(torch.stack(states) for states in zip(*final, strict=True))
        return x, stacked if self.mode == "LSTM" else stacked[0]

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = getattr(self, name)
        return weight

    def _weights(self, suffix: str, x: Tensor) -> list[Tensor | None]:
        """W, U, b, c and R of one layer and direction."""
        W, U = self._weight("weight_ih" + suffix), self._weight("weight_hh" + suffix)
        if self.bias:
            b, c = self._weight("bias_ih" + suffix), self._weight("bias_hh" + suffix)
        else:
            b, c = W.new_zeros(W.shape[0]), W.new_zeros(W.shape[0])
        return [W, U, b, c, self._weight("weight_hr" + suffix) if self.proj_size else None]


def _map(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if state is None:
        return None
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


def _select(state: Tensor, order: Tensor | None) -> Tensor:
    return state if order is None else state.index_select(1, order)


class RNN(_Layer, nn.RNN):
    """torch.nn.RNN on Recurra's kernels: h' = tanh(W x + b + U h + c), or relu."""

    def _cell(self) -> Cell:
        return rnn if self.nonlinearity == "tanh" else rnn_relu

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As torch.nn.RNN."""
        return self._run(input, hx, super().forward)


class LSTM(_Layer, nn.LSTM):
    """torch.nn.LSTM on Recurra's kernels, with `proj_size`."""

    def _cell(self) -> Cell:
        return lstm_projected if self.proj_size else lstm

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As torch.nn.LSTM."""
        return self._run(input, hx, super().forward)


class GRU(_Layer, nn.GRU):
    """torch.nn.GRU on Recurra's kernels: the reset gate applied after the recurrent product."""

    def _cell(self) -> Cell:
        return gru

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As torch.nn.GRU."""
        return self._run(input, hx, super().forward)
