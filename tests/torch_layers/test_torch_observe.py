"""The observer: what it says of a layer is what the layer did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import generator
from recurra.torch import GRU, LSTM, Recurrent, Stack
from recurra.torch.observe import Observer, longest, segments

T, B = 9, 4


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(generator("observed", shape).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_traces_compute_what_the_layers_do(batch_first: bool, bidirectional: bool) -> None:
    layer = LSTM(3, 5, num_layers=2, bidirectional=bidirectional, batch_first=batch_first)
    x = noise(B, T, 3) if batch_first else noise(T, B, 3)
    D = 1 + bidirectional
    start = (noise(2 * D, B, 5), noise(2 * D, B, 5))
    with Observer(layer) as seen:
        output, (h, c) = layer(x, start)
    (call,) = seen.calls
    traces = call.traces()
    assert [t.name for t in traces] == [f"LSTM layer {depth}{' backward' * d}" for depth in (0, 1) for d in range(D)]
    for k, trace in enumerate(traces):
        states, gates = trace.run()
        assert list(gates) == list(trace.cell.gates)
        end = 0 if trace.reverse else -1
        np.testing.assert_allclose(states["h"][end], h[k].detach(), atol=1e-6)
        np.testing.assert_allclose(states["c"][end], c[k].detach(), atol=1e-6)
        np.testing.assert_array_equal(trace.begin[0], start[0][k])
    top = np.concatenate([t.run()[0]["h"] for t in traces[-D:]], -1)
    np.testing.assert_allclose(top, (output.transpose(0, 1) if batch_first else output).detach(), atol=1e-6)


def test_gradients_are_those_of_autograd() -> None:
    """Of inner layers too: the weights' gradient by the engine, from a trace, is that of the module."""
    from recurra import engine

    layer = Recurrent("gru", 3, (4, 5), bidirectional=True)
    with Observer(layer) as seen:
        output, last = layer(noise(T, B, 3))
        loss = (output * noise(T, B, 10)).sum() + (last[1][0] * noise(B, 5)).sum()
    (call,) = seen.calls
    back = torch.autograd.grad(loss, call.tensors(), retain_graph=True, allow_unused=True)
    loss.backward()
    for k, trace in enumerate(call.traces(gradients=call.gradients(back))):
        tape = engine.forward(trace.cell, trace.weights, trace.x, trace.begin, keep=True).tape
        W = engine.backward(tape, trace.d_output, trace.d_state).weights.W
        own = layer.get_parameter(f"weight_ih_l{k // 2}{'_reverse' if k % 2 else ''}").grad
        np.testing.assert_allclose(W, own, atol=1e-5)


def test_rows_are_cut_at_resets_and_lengths() -> None:
    layer = Recurrent("gru", 2, 3)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0, 0] = reset[4, 1] = reset[8, 2] = True
    lengths = torch.tensor([T, T, 6, 0])
    x = noise(T, B, 2)
    with Observer(layer) as seen:
        output, _ = layer(x, lengths=lengths, reset=reset)
    (call,) = seen.calls
    assert segments(call) == [(0, 0, 9), (1, 0, 4), (1, 4, 9), (2, 0, 6)]
    assert longest(call, 2) == [(0, 0, 9)]
    (trace,) = call.traces([(1, 4, 9)])
    np.testing.assert_allclose(trace.run()[0]["h"][:, 0], output[4:, 1].detach(), atol=1e-6)


def test_calls_in_order_the_longest_of_each_and_what_is_not_recurrent() -> None:
    model = Stack(nn.Linear(2, 3), GRU(3, 4), nn.Tanh())
    with Observer(model, others=True) as seen:
        for steps in (2, 5, 3):
            model(noise(steps, B, 2))
        seen.listening = False
        model(noise(7, B, 2))
    assert [len(call.x) for call in seen.calls] == [2, 5, 3]
    assert [len(call.x) for call in seen.longest()] == [5]
    assert [one.name for one in seen.passed] == ["0", "2"] * 3
    assert seen.passed[1].output.shape == (2, B, 4)
    model(noise(4, B, 2))
    assert len(seen.calls) == 3, "it still listens"
