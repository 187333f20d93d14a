"""The encoders: causal, the same whole and at the end, and as large as they may be."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import generator
from recurra.compare.candidates import CANDIDATES, choose
from recurra.compare.matching import TOLERANCE, build, matched
from recurra.errors import CompareError
from recurra.models.encoders import RecurrentEncoder, last_steps, positions, reach_layers
from recurra.tasks.base import Task

NEURAL = [c for c in CANDIDATES.values() if c.neural]
CAUSAL = [c for c in NEURAL if not c.bidirectional]
I, T, WINDOW = 3, 23, 7


def encoder_of(candidate, layers=2):
    torch.manual_seed(1)
    encoder = build(candidate, {"layers": layers, "window": WINDOW}, I, 6, 1).eval()
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if "bias" in name:  # torch begins some of them with zeros, which would hide where they go
                p.add_(0.1 * torch.randn_like(p))
    return encoder


def sample(rows=4, steps=T):
    return torch.from_numpy(generator("networks", rows).normal(size=(steps, rows, I)).astype(np.float32))


@pytest.mark.parametrize("candidate", CAUSAL, ids=lambda c: c.name)
def test_an_output_does_not_see_what_comes(candidate):
    encoder, x = encoder_of(candidate), sample()
    changed = x.clone()
    changed[12:] += 1.0
    with torch.no_grad():
        y, z = encoder(x)[0], encoder(changed)[0]
    assert y.shape == (T, 4, encoder.width)
    torch.testing.assert_close(y[:12], z[:12], rtol=0, atol=1e-6)
    assert (y[12] - z[12]).abs().max() > 1e-3


@pytest.mark.parametrize("candidate", NEURAL, ids=lambda c: c.name)
def test_the_last_features_are_those_of_the_row_alone(candidate):
    encoder, x, lengths = encoder_of(candidate), sample(), torch.tensor([T, 1, 6, WINDOW])
    poisoned = x.clone()
    for b, n in enumerate(lengths):
        poisoned[n:, b] = 1e3
    with torch.no_grad():
        last = encoder.last(poisoned, lengths)
        for b, n in enumerate(lengths):
            alone = encoder.last(x[:n, b : b + 1], lengths[b : b + 1])
            torch.testing.assert_close(last[b : b + 1], alone, rtol=1e-5, atol=1e-5)
            if not candidate.bidirectional:
                torch.testing.assert_close(encoder(x[:n, b : b + 1])[0][-1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("candidate", NEURAL, ids=lambda c: c.name)
def test_the_summary_is_of_the_row_alone(candidate):
    encoder, x, lengths = encoder_of(candidate), sample(), torch.tensor([T, 1, 6, WINDOW])
    poisoned = x.clone()
    for b, n in enumerate(lengths):
        poisoned[n:, b] = 1e3
    with torch.no_grad():
        got = encoder.summary(poisoned, lengths)
        for b, n in enumerate(lengths):
            row = x[:n, b : b + 1]
            if candidate.kind in ("cnn", "transformer"):
                right = encoder(row[max(0, n - encoder.context) :])[0].mean(0)
            else:
                right = encoder.last(row, lengths[b : b + 1])
            torch.testing.assert_close(got[b : b + 1], right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["feedforward", "cnn", "transformer"])
def test_a_window_model_sees_its_window_to_the_end_and_no_further(name):
    encoder, x = encoder_of(CANDIDATES[name]), sample(1, 40)
    context = encoder.context
    assert context >= WINDOW
    with torch.no_grad():
        y = encoder(x)[0][-1]
        for lag, depends in ((context - 1, True), (context, False)):
            changed = x.clone()
            changed[39 - lag] += 3.0
            assert bool((encoder(changed)[0][-1] - y).abs().max() > 1e-6) is depends, lag


def test_a_transformer_past_its_window_is_the_window_alone():
    encoder, x = encoder_of(CANDIDATES["transformer"]), sample(2, 17)
    with torch.no_grad():
        whole = encoder(x)[0]
        for t in (0, 3, 6, 7, 16):
            window = x[max(0, t - WINDOW + 1) : t + 1]
            torch.testing.assert_close(whole[t], encoder.encode(window)[-1], rtol=1e-5, atol=1e-5)


def test_a_recurrent_encoder_goes_on_from_its_state():
    encoder, x = encoder_of(CANDIDATES["lstm"]), sample()
    with torch.no_grad():
        whole = encoder(x)[0]
        first, state = encoder(x[:9])
        second, _ = encoder(x[9:], state)
    assert torch.equal(whole, torch.cat([first, second]))


def test_two_directions_give_the_last_of_each():
    torch.manual_seed(0)
    theirs = nn.GRU(I, 5, bidirectional=True)
    ours = RecurrentEncoder("gru", I, [5], bidirectional=True)
    ours.layers.load_state_dict(theirs.state_dict())
    x, lengths = sample(3), torch.tensor([T, 4, 11])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    with torch.no_grad():
        _, final = theirs(packed)
        torch.testing.assert_close(ours.last(x, lengths), torch.cat([final[0], final[1]], -1), rtol=1e-5, atol=1e-5)


def test_last_steps_are_zeros_and_then_the_row():
    x = torch.arange(1.0, 9.0).reshape(4, 2, 1)
    got = last_steps(x, torch.tensor([4, 1]), 3)[..., 0]
    assert got.T.tolist() == [[3.0, 5.0, 7.0], [0.0, 0.0, 2.0]]


@pytest.mark.parametrize(("window", "layers"), [(2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (200, 7)])
def test_convolutions_reach_the_window(window, layers):
    assert reach_layers(window) == layers
    assert 1 + 2 * (2**layers - 1) >= window > 1 + 2 * (2 ** (layers - 1) - 1) or layers == 1


def test_positions_are_those_of_the_paper():
    table = positions(50, 8)
    assert table.shape == (50, 8)
    assert table[31, 3] == pytest.approx(np.cos(31 / 10_000 ** (2 / 8)), abs=1e-5)
    assert table[31, 6] == pytest.approx(np.sin(31 / 10_000 ** (6 / 8)), abs=1e-5)


CELLS_TOO = choose(Task.named("classify"), [*[c.name for c in NEURAL], "lstm_peephole", "ugrnn"])[0][1:]


@pytest.mark.parametrize("candidate", CELLS_TOO, ids=lambda c: c.name)
@pytest.mark.parametrize("layers", [1, 2])
def test_parameters_are_matched(candidate, layers):
    params = {"layers": layers, "window": 13, "dropout": 0.1}
    encoder, head, count = matched(candidate, params, 12, lambda width: nn.Linear(width, 9), 6000)
    assert count == sum(p.numel() for part in (encoder, head) for p in part.parameters())
    assert abs(count / 6000 - 1) <= TOLERANCE


def test_what_cannot_be_matched_says_so():
    with pytest.raises(CompareError, match=r"cnn, window 13 has .* expected 300 within 5%: allow more parameters"):
        matched(CANDIDATES["cnn"], {"window": 13}, 12, lambda width: nn.Linear(width, 9), 300)
