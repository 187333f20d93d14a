"""`Recurrent`: any cell as a torch layer, stacked, bidirectional, ragged, stateful."""

# ruff: noqa: A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.cells.cell import Cell
from recurra.cells.unitwise import is_unitwise
from recurra.errors import DtypeError, ShapeError
from recurra.torch.operator import is_autocast, scan
from recurra.torch.parallel import Solved, not_unitwise, parts_for, scan_parallel
from recurra.torch.segments import scan_segments
from recurra.torch.stacked import StackedCell
from recurra.torch.traced import as_node, is_for_onnx, refuse_onnx, refuse_script

State: TypeAlias = "Tensor | tuple[Tensor, ...] | tuple[tuple[Tensor, ...], ...]"


class Steps(NamedTuple):
    """What one layer and direction did: each state after, and each gate in, every step, by name, [T, B, H]."""

    states: dict[str, Tensor]
    gates: dict[str, Tensor]


class Recurrent(StackedCell):
    """Any cell over time, with the interface of torch's recurrent layers.

    Letters: T steps, B batch, I input size, H hidden size, P = H or `proj_size`, D directions, L layers. Parameters are
    `weight_ih_l0` [gates * H, I], `weight_hh_l0` [gates * H, P], `bias_ih_l0`, `bias_hh_l0`, for a cell with a
    projection `weight_hr_l0` [P, H], and each per-unit parameter `p.i` as `p_i_l0` [H]; gates are stacked in the order
    in which the equations first name them. The second direction's names end in `_reverse`. What a cell does not use is
    not there: no `weight_hh` without recurrent gates. Initial values are uniform in +-1/sqrt(H), as torch's and, for
    the cells that torch has, the same under the same seed.

    Args:
        cell: a cell, or the name of one in the zoo.
        input_size: I.
        hidden_size: H; or a sequence with the size of each layer.
        num_layers: L; the length of `hidden_size` where that is a sequence.
        bias: whether there are biases.
        batch_first: input and output are [B, T, ...]; states are [L * D, B, ...] all the same.
        dropout: the share of outputs that are dropped between layers in training.
        bidirectional: each layer also reads backwards, and its outputs are 2 P wide.
        proj_size: P, for a cell that projects its output (`lstm_projected`).
        initial_state: "zeros", or "learned": parameters `initial_h_l0` [P] and so on, zero at first.
        stateful: begin each call with the last states of the call before. They keep their graph until
            `detach_state()`, and a call with another batch size, dtype or device begins anew.
        checkpoint_every: keep only every so many steps for backward, and compute the others again: less memory.
        return_all: return every state and gate of every step as a third result.
        parallel: whether sequences are run in parallel over time, which a cell allows whose recurrence is unit by unit
            (`mingru`, `minlstm`, `rg_lru`, `indrnn`, `gru_diagonal`, `lstm_diagonal`, or one of your own). "auto": in
            training, where it pays: long sequences of small batches, in float32 or float64. What it returns differs
            from the sequence in rounding, so with "auto" a layer in `eval()` runs step by step, with the bits of a live
            session. True: always, but while torch.compile or torch.export traces it; where the parts do not fit
            together in the end, a warning says that the sequence was run step by step. `solved` has a `Solved` for each
            layer and direction that the last call ran in parallel.
        backend: "kernels": the engine on a CPU, the cell's kernels on a GPU, which need Triton; where there are none,
            in float64 on a GPU or in 16 bits on a CPU, torch operations (`backend_for` says which). "equations": torch
            operations everywhere.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        CellError: no cell has that name, or `parallel` is True and a step multiplies the states by matrices.
        ShapeError: sizes that cannot be, or options that exclude one another.

    >>> import torch
    >>> layer = Recurrent("lstm_peephole", 3, 8, num_layers=2)
    >>> output, (h, c) = layer(torch.zeros(10, 4, 3), lengths=torch.tensor([10, 0, 7, 1]))
    >>> output.shape, h.shape
    (torch.Size([10, 4, 8]), torch.Size([2, 4, 8]))
    """

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        initial_state: Literal["zeros", "learned"] = "zeros",
        stateful: bool = False,
        checkpoint_every: int | None = None,
        return_all: bool = False,
        parallel: Literal["auto"] | bool = "auto",
        backend: Literal["kernels", "equations"] = "kernels",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, bidirectional, proj_size, initial_state, device, dtype
        )
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.stateful = stateful
        self.checkpoint_every = checkpoint_every
        self.return_all = return_all
        self.parallel = parallel
        self.backend = backend
        self.solved: list[Solved] = []
        self._text = self.cell.text
        self._carried: list[list[Tensor]] | None = None
        self._check_options()

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> Any:
        """Run over a batch of sequences.

        Args:
            input: [T, B, I], [B, T, I] if batch_first, one sequence [T, I], or a PackedSequence.
            state: initial states, as they are returned; else those carried, the learned ones, or zeros.
            lengths: [B], steps of each row, in any order, zero allowed. What stands past a row's end is never read
                and the output there is zero; final states are those of the row's own last step.
            reset: [T, B] ([B, T] if batch_first), bool. Where it is set a new sequence begins: nothing passes between
                the step before and this one, in either direction, and what follows the cut starts from the learned
                state or zeros. With a learned state each part of a row is run as a row of its own, which takes memory
                for as many rows of the longest part, and torch.compile cannot trace it in one graph.

        Returns:
            The output [T, B, D * P]; the final state, a tensor [L * D, B, P] or a tuple of tensors, one for each state
            ([L * D, B, H] but the first). Where layers differ in size, there is in place of each tensor a tuple with
            one [D, B, H] for each layer. With `return_all` also `Steps` for each layer and direction: they carry no
            gradient. Without a batch axis in the input, there is none in what is returned.

        Raises:
            ShapeError, DtypeError: an argument does not fit.
        """
        if isinstance(input, Proxy):
            return as_node(self, input, state, lengths=lengths, reset=reset)
        if is_for_onnx():
            refuse_onnx(f"the cell {self.cell.name}")
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, state, lengths, reset)
        self._check_input(input)
        batched, across = input.dim() == 3, self.batch_first and input.dim() == 3
        x = input.transpose(0, 1) if across else input if batched else input.unsqueeze(1)
        if reset is not None:
            self._check_reset(reset, input)
            reset = reset.T if across else reset if batched else reset.unsqueeze(1)
        if lengths is not None:
            lengths = self._check_lengths(lengths, x)
        output, final, steps = self._stack(x, self._initial(x, state, batched), lengths, reset)

        def outward(t: Tensor) -> Tensor:
            return t.transpose(0, 1) if across else t if batched else t.squeeze(1)

        result = (outward(output), self._joined(final, batched))
        if not self.return_all:
            return result
        return (*result, [Steps(*({n: outward(t) for n, t in named.items()} for named in s)) for s in steps])

    def __prepare_scriptable__(self) -> NoReturn:
        """TorchScript has no operator for any cell."""
        refuse_script(f"the cell {self.cell.name}")

    def reset_state(self) -> None:
        """Forget the carried state: the next call begins anew."""
        self._carried = None

    def detach_state(self) -> None:
        """Cut the carried state from its graph: the next backward stops there (truncated back-propagation)."""
        if self._carried is not None:
            self._carried = [[s.detach() for s in states] for states in self._carried]

    def extra_repr(self) -> str:
        """The arguments that are not their defaults."""
        sizes = f"{self.cell.name}, {self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "initial_state": "zeros", "checkpoint_every": None, "dropout": 0.0}
        defaults |= {
            "batch_first": False,
            "bidirectional": False,
            "proj_size": 0,
            "stateful": False,
            "return_all": False,
            "parallel": "auto",
            "backend": "kernels",
        }
        changed = [f"{n}={getattr(self, n)!r}" for n, default in defaults.items() if getattr(self, n) != default]
        return ", ".join([sizes, *changed])

    def __getstate__(self) -> dict[str, Any]:
        """Copies begin anew: they do not carry the state, which may belong to a graph."""
        return self.__dict__ | {"_carried": None}

    def _check_options(self) -> None:
        call = f"Recurrent({self.cell.name})"
        if not 0 <= self.dropout <= 1:
            raise ShapeError(f"{call}: dropout={self.dropout}, expected a share between 0 and 1")
        if self.dropout and self.num_layers == 1:
            warnings.warn(f"{call}: dropout acts between layers, and there is one layer: it does nothing", stacklevel=3)
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise ShapeError(f"{call}: checkpoint_every={self.checkpoint_every}, expected at least 1, or None")
        if self.stateful and self.bidirectional:
            raise ShapeError(
                f"{call}: a bidirectional layer reads from the end, so no state can be carried: choose one"
            )

        if self.parallel not in ("auto", True, False):
            raise ShapeError(f"{call}: parallel={self.parallel!r}, expected 'auto', True or False")
        if self.backend not in ("kernels", "equations"):
            raise ShapeError(f"{call}: backend={self.backend!r}, expected 'kernels' or 'equations'")
        if self.parallel is True and self.return_all:
            raise ShapeError(
                f"{call}: return_all asks for every step, and in parallel only the output has them: choose one"
            )
        if self.parallel is True and not is_unitwise(self.cell):
            raise not_unitwise(self.cell)

    def _initial(self, x: Tensor, state: State | None, batched: bool) -> list[list[Tensor]] | None:
        """Each state of each layer and direction, [B, H]; None: what the layer begins with."""
        if state is not None:
            return self._taken_apart(state, x, batched)
        carried = self._carried
        if carried is None or not self.stateful:
            return None
        was = carried[0][0]
        if (was.shape[0], was.device) != (x.shape[1], x.device) or (
            was.dtype != x.dtype and not is_autocast(x.device.type)
        ):
            return None
        return carried

    def _stack(
        self, x: Tensor, initial: list[list[Tensor]] | None, lengths: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, list[list[Tensor]], list[Steps]]:
        """All layers and directions over time-major x: the output, final states [state][place], and all steps."""
        if self.solved:
            self.solved = []
        final: list[list[Tensor]] = [[] for _ in self.cell.states]
        steps: list[Steps] = []
        outputs: list[Tensor] = []
        count, backward = (
            len(final),
            None if reset is None or not self.bidirectional else _cuts_backward(reset, lengths),
        )
        for place, (layer, direction, suffix) in enumerate(self._places()):
            if direction == 0 and layer > 0:
                x = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
                x = nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x
                outputs = []
            weights, parameters = self._weights(suffix, x, layer)
            fresh = self._learned(suffix)
            begin = [s[place] for s in initial] if initial is not None else [s.expand(x.shape[1], -1) for s in fresh]
            how = (bool(direction), self.checkpoint_every or 0, self.return_all)
            if reset is not None and fresh:
                run = partial(self._scan, weights, parameters)
                got = scan_segments(run, x, begin, fresh, lengths, reset, *how)
            else:
                mask = backward if direction else reset
                got = self._scan(weights, parameters, x, begin, lengths, mask, *how)
            outputs.append(got[0])
            for k, s in enumerate(got[1 : 1 + count]):
                final[k].append(s)
            if self.return_all:
                states = dict(zip(self.cell.states, got[1 + count : -1], strict=True))
                steps.append(Steps(states, dict(zip(self.cell.gates, got[-1].unbind(), strict=True))))
        if self.stateful:
            self._carried = final
        return torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0], final, steps

    def _scan(
        self,
        weights: Sequence[Tensor | None],
        parameters: Sequence[Tensor],
        x: Tensor,
        begin: Sequence[Tensor],
        *how: Any,
    ) -> list[Tensor]:
        """One layer and direction, step by step or in parallel."""
        run: Any = partial(scan, equations=True) if self.backend == "equations" else scan
        traced = torch.compiler.is_compiling()
        parts = 1 if traced or self.return_all else parts_for(self.parallel, self.cell, x, self.training)
        if parts < 2:
            return list(run(self._text, x, weights, parameters, begin, *how))
        own: Any = (*how[:-1], parts, run)
        results, solved = scan_parallel(self._text, x, weights, parameters, begin, *own)
        self.solved.append(solved)
        return results

    def _forward_packed(self, input: PackedSequence, state: State | None, lengths: Any, reset: Any) -> Any:
        if lengths is not None or reset is not None or self.return_all:
            raise ShapeError(
                f"{self._call()}: a PackedSequence goes without lengths, reset and return_all: pass a tensor"
            )
        x, steps = pad_packed_sequence(PackedSequence(input.data, input.batch_sizes))
        self._check_input(x)
        order, back = input.sorted_indices, input.unsorted_indices
        initial = self._initial(x, state, True)
        if initial is not None and order is not None:
            initial = [[s.index_select(0, order) for s in states] for states in initial]
        output, final, _ = self._stack(x, initial, steps.to(x.device), None)
        if back is not None:
            final = [[s.index_select(0, back) for s in states] for states in final]
            self._carried = final if self.stateful else None
        data = pack_padded_sequence(output, steps).data
        return PackedSequence(data, input.batch_sizes, order, back), self._joined(final, True)

    def _joined(self, final: list[list[Tensor]], batched: bool) -> Any:
        """Final states as they are returned."""
        if not batched:
            final = [[s.squeeze(0) for s in states] for states in final]
        if self._even:
            joined: list[Any] = [s[0].unsqueeze(0) if len(s) == 1 else torch.stack(s) for s in final]
        else:
            D = 2 if self.bidirectional else 1
            joined = [tuple(torch.stack(states[i : i + D]) for i in range(0, len(states), D)) for states in final]
        return joined[0] if len(joined) == 1 else tuple(joined)

    def _taken_apart(self, state: State, x: Tensor, batched: bool) -> list[list[Tensor]]:
        """States as they are given, [state][place], checked."""
        count, D = len(self.cell.states), 2 if self.bidirectional else 1
        given: Any = (state,) if count == 1 else state
        names = ", ".join(self.cell.states)
        if not isinstance(given, (tuple, list)) or len(given) != count:
            raise ShapeError(f"{self._call()}: `state` is a {type(state).__name__}, expected a tuple of {names}")
        apart = []
        for k, (name, value) in enumerate(zip(self.cell.states, given, strict=True)):
            widths = [self.proj_size if k == 0 and self.proj_size else H for H in self.hidden_sizes]
            rows = (x.shape[1],) if batched else ()
            if self._even:
                parts, shapes = [value], [(self.num_layers * D, *rows, widths[0])]
            else:
                parts, shapes = (
                    list(value) if isinstance(value, (tuple, list)) else [value],
                    [(D, *rows, w) for w in widths],
                )
            if len(parts) != len(shapes) or any(not isinstance(p, Tensor) for p in parts):
                raise ShapeError(
                    f"{self._call()}: state {name} is not a tensor{'' if self._even else ' for each layer'}"
                )
            for part, shape in zip(parts, shapes, strict=True):
                if part.shape != shape:
                    got = tuple(part.shape)
                    raise ShapeError(
                        f"{self._call()}: state {name} has shape {got}, expected {shape}: layers * directions, B, H"
                    )
            flat = [s if batched else s.unsqueeze(0) for part in parts for s in part.unbind()]
            apart.append(flat)
        return apart

    def _check_input(self, x: Tensor) -> None:
        wanted = f"[{'B, T' if self.batch_first else 'T, B'}, {self.input_size}] or [T, {self.input_size}]"
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self._call()}: `input` has shape {tuple(x.shape)}, expected {wanted}: "
                f"the layer has input_size={self.input_size}"
            )
        some = next(iter(self._parameters.values()), None)
        dtype = next((p.dtype for p in self.parameters()), x.dtype) if some is None else some.dtype
        if x.dtype != dtype and not is_autocast(x.device.type):
            raise DtypeError(
                f"{self._call()}: `input` has dtype {x.dtype}, expected {dtype} like the weights: use .to({dtype})"
            )

    def _check_lengths(self, lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
        lengths = torch.as_tensor(lengths, device=x.device)
        whole = not (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool)
        if lengths.shape != (x.shape[1],) or not whole:
            raise ShapeError(
                f"{self._call()}: `lengths` has shape {tuple(lengths.shape)} and dtype {lengths.dtype}, expected "
                f"{x.shape[1]} whole numbers, one for each row"
            )
        return lengths.to(torch.int64)

    def _check_reset(self, reset: Tensor, input: Tensor) -> None:
        if reset.shape != input.shape[:-1] or reset.dtype != torch.bool:
            raise ShapeError(
                f"{self._call()}: `reset` has shape {tuple(reset.shape)} and dtype {reset.dtype}, expected "
                f"{tuple(input.shape[:-1])} of torch.bool: one for each step of each row"
            )


def _cuts_backward(reset: Tensor, lengths: Tensor | None) -> Tensor:
    """The mask for reading backwards: the cut before step t comes before step t - 1 is read. Padding has no cuts."""
    cuts = torch.cat([reset[1:], torch.zeros_like(reset[:1])])
    if lengths is None:
        return cuts
    steps = torch.arange(1, reset.shape[0] + 1, device=reset.device)[:, None]
    return cuts & (steps < lengths)
