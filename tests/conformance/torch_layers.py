"""The layers of `recurra.torch`, with the gradients that torch collects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from conformance.cases import Case
from conformance.layers import by_place
from helpers import threads
from recurra.torch import GRU, LSTM, RNN, Recurrent, kernels

Outcome = dict[str, np.ndarray]
NAMES = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh", "R": "weight_hr"}


def run_recurrent(case: Case) -> Outcome:
    """`Recurrent`, with every state and gate."""
    s = case.setting
    projection = case.weights[0].U.shape[1] if case.cell.projection is not None else 0
    module = Recurrent(
        case.cell,
        s.I,
        s.H,
        s.layers,
        bidirectional=s.directions == 2,
        batch_first=s.batch_first,
        proj_size=projection,
        initial_state="learned" if s.learned else "zeros",
        checkpoint_every=s.checkpoint_every,
        return_all=True,
        dtype=_dtype(case),
    )
    mask = None if case.reset is None else torch.from_numpy(case.reset)
    x, state = _leaves(case)
    given = x.transpose(0, 1) if s.batch_first else x
    mask = mask.T if mask is not None and s.batch_first else mask
    lengths = None if case.lengths is None else torch.from_numpy(case.lengths)
    with _filled(case, module), threads(s.threads):
        output, final, steps = module(given, _stacked(case, state), lengths=lengths, reset=mask)
        output = output.transpose(0, 1) if s.batch_first else output
        final = final if isinstance(final, tuple) else (final,)
        _back(case, output, final)
    every = [{k: _time_major(v, s.batch_first) for k, v in [*one.states.items()]} for one in steps]
    found = _collected(case, module, x, state, output, final)
    for (_, _, name), states, one in zip(s.places(), every, steps, strict=True):
        found |= {f"states {k}{name}": v for k, v in states.items()}
        found |= {f"gate {k}{name}": _time_major(v, s.batch_first) for k, v in one.gates.items()}
    return found


def run_equations(case: Case) -> Outcome:
    """The same, as torch's own operations, which run where no kernel does."""
    before, kernels.NATIVE_DTYPES = kernels.NATIVE_DTYPES, ()
    try:
        return run_recurrent(case)
    finally:
        kernels.NATIVE_DTYPES = before


def run_drop_in(case: Case) -> Outcome:
    """`RNN`, `LSTM` and `GRU`; ragged rows come packed."""
    return _run_drop_in(case, RNN, GRU, LSTM)


def run_stock(case: Case) -> Outcome:
    """torch.nn's own layers: what the definition, the order of gates, layers and directions are held against."""
    return _run_drop_in(case, torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM)


def _run_drop_in(case: Case, rnn: Any, gru: Any, lstm: Any) -> Outcome:
    s, cell = case.setting, case.cell.name
    kind: Any = {"rnn": rnn, "rnn_relu": rnn, "gru": gru}.get(cell, lstm)
    more: dict[str, Any] = {"nonlinearity": "relu"} if cell == "rnn_relu" else {}
    more |= {"proj_size": case.weights[0].U.shape[1]} if cell == "lstm_projected" else {}
    options = {"num_layers": s.layers, "bidirectional": s.directions == 2, "batch_first": s.batch_first}
    module = kind(s.I, s.H, dtype=_dtype(case), **options, **more)
    x, state = _leaves(case)
    given: Any = x.transpose(0, 1) if s.batch_first else x
    if case.lengths is not None:
        given = pack_padded_sequence(given, torch.from_numpy(case.lengths), s.batch_first, enforce_sorted=False)
    with _filled(case, module), threads(s.threads):
        output, final = module(given, _stacked(case, state))
        if case.lengths is not None:
            output = pad_packed_sequence(output, s.batch_first, total_length=s.T)[0]
        output = output.transpose(0, 1) if s.batch_first else output
        final = final if isinstance(final, tuple) else (final,)
        _back(case, output, final)
    return _collected(case, module, x, state, output, final)


def _dtype(case: Case) -> torch.dtype:
    return torch.float64 if case.x.dtype == np.float64 else torch.float32


def _leaves(case: Case) -> tuple[Tensor, list[list[Tensor]]]:
    """x, and what is given of each state [place][state], whose gradients are wanted."""
    states = [[torch.from_numpy(a).requires_grad_() for a in place] for place in case.state or []]
    return torch.from_numpy(case.x).requires_grad_(), states


def _stacked(case: Case, state: list[list[Tensor]]) -> Any:
    """[L * D, B, H] of each state, as torch's layers take them."""
    if not state:
        return None
    stacked = tuple(torch.stack([place[k] for place in state]) for k in range(len(case.cell.states)))
    return stacked[0] if len(stacked) == 1 else stacked


@contextmanager
def _filled(case: Case, module: Any) -> Any:
    """With the case's weights in every parameter."""
    with torch.no_grad():
        for name, _, array in _parameters(case, module):
            module._parameters[name].copy_(torch.from_numpy(array))
    yield


def _parameters(case: Case, module: Any) -> list[tuple[str, str, np.ndarray]]:
    """The module's name of each parameter, the result's, and the case's array, where the module has it."""
    found = []
    for place, (layer, direction, name) in enumerate(case.setting.places()):
        suffix = f"_l{layer}" + "_reverse" * direction
        for n, array in case.weights[place].items():
            found.append((NAMES.get(n, n.replace(".", "_")) + suffix, f"gradient of {n}{name}", array))
        for k, state in enumerate(case.cell.states):
            if case.learned is not None:
                found.append((f"initial_{state}{suffix}", f"gradient of learned {state}{name}", case.learned[place][k]))
    assert {n for n, _, array in found if array.size} == {n for n, _ in module.named_parameters()}
    return [(n, name, array) for n, name, array in found if array.size]


def _back(case: Case, output: Tensor, final: Sequence[Tensor]) -> None:
    """Back-propagate what the case has: the output's gradient is NaN past a row's end, where nobody may look."""
    pairs = [(output, torch.from_numpy(case.d_output))] if case.d_output is not None and output.requires_grad else []
    for k, last in enumerate(final):
        if case.d_state is not None:
            pairs.append((last, torch.from_numpy(np.stack([place[k] for place in case.d_state]))))
    if pairs:
        torch.autograd.backward(*zip(*pairs, strict=True))


def _collected(
    case: Case, module: Any, x: Tensor, state: list[list[Tensor]], output: Tensor, final: Sequence[Tensor]
) -> Outcome:
    """Output, final states and gradients by name; what has no gradient has zeros."""

    def gradient(t: Tensor) -> np.ndarray:
        return np.zeros(tuple(t.shape), case.x.dtype) if t.grad is None else t.grad.numpy()

    places = range(len(case.weights))
    found = {"output": output.detach().numpy(), "gradient of x": gradient(x)}
    found |= by_place(case, [[f.detach()[p].numpy() for f in final] for p in places], "final")
    found |= by_place(case, [[gradient(t) for t in place] for place in state], "gradient of initial") if state else {}
    found |= {name: gradient(module._parameters[n]) for n, name, _ in _parameters(case, module)}
    for place, (_, _, name) in enumerate(case.setting.places()):
        found |= {f"gradient of {n}{name}": np.zeros_like(a) for n, a in case.weights[place].items() if not a.size}
    return found


def _time_major(t: Tensor, batch_first: bool) -> np.ndarray:
    return np.asarray((t.transpose(0, 1) if batch_first else t).detach())
