"""`Recurrent` against the definition and against torch.nn: values and all gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from composed import RAGGED, B, I, T, compose, fill, mask, numbers
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import user_cells
from helpers import ALL_CELLS
from recurra import cells, engine
from recurra.cells import Cell, cell
from recurra.errors import CellError, DtypeError, RecurraError, ShapeError
from recurra.torch import Recurrent

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


def projection(of: Cell) -> dict[str, int]:
    return {"proj_size": 4} if of.projection is not None else {}


def as_tuple(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def check(
    module: Recurrent,
    state: bool = False,
    lengths: np.ndarray | None = None,
    reset: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> None:
    """A module with states of one size against the composition of the definition."""
    fill(module, str(module))
    x = numbers(T, B, I, dtype=dtype).requires_grad_()
    places = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or module.hidden_size, *[module.hidden_size] * (len(module.cell.states) - 1)]
    initial = [numbers(places, B, w, key=k, dtype=dtype).requires_grad_() for k, w in enumerate(widths)]
    given: Any = tuple(initial) if len(initial) > 1 else initial[0]
    if lengths is not None:
        with torch.no_grad():
            x[torch.arange(T)[:, None] >= torch.from_numpy(lengths)] = torch.nan
    across = (lambda t: t.transpose(0, 1)) if module.batch_first else (lambda t: t)
    output, final = module(
        across(x),
        given if state else None,
        lengths=None if lengths is None else torch.from_numpy(lengths),
        reset=None if reset is None else across(reset),
    )[:2]
    output = across(output)
    mask = None if reset is None else reset.numpy()
    begin = [list(s.detach().double().numpy()) for s in initial] if state else None
    wanted = compose(module, np.nan_to_num(x.detach().double().numpy()), begin, lengths, mask)
    d_output = numbers(*output.shape, key="d")
    d_state = [numbers(*s.shape, key=("d", k)) for k, s in enumerate(as_tuple(final))]
    torch.autograd.backward([output, *as_tuple(final)], [d.to(dtype) for d in (d_output, *d_state)])
    gradients = wanted.backward(module, d_output.numpy(), [list(d.numpy()) for d in d_state])
    got = {"output": output, "x.grad": x.grad} | {n: p.grad for n, p in module.named_parameters()}
    right = {"output": wanted.output, "x.grad": gradients["x"]} | {
        n: gradients[n] for n, _ in module.named_parameters()
    }
    for name, s, w in zip(module.cell.states, as_tuple(final), wanted.state, strict=True):
        got[name], right[name] = s, np.stack(w)
    if state:
        got |= {f"{n}.grad": s.grad for n, s in zip(module.cell.states, initial, strict=True)}
        right |= {f"{n}.grad": gradients[n] for n in module.cell.states}
    assert right["output"].any()
    for name in right:
        scale = max(1.0, float(np.abs(right[name]).max(initial=0)))
        np.testing.assert_allclose(
            got[name].detach().double().numpy(), right[name], rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=name
        )


@pytest.mark.parametrize("of", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_cell(of: Cell, dtype: torch.dtype) -> None:
    check(Recurrent(of, I, 7, dtype=dtype, **projection(of)), state=True, dtype=dtype)


@pytest.mark.parametrize("of", ALL_CELLS, ids=lambda c: c.name)
def test_every_cell_with_everything(of: Cell) -> None:
    module = Recurrent(
        of, I, 7, 2, batch_first=True, bidirectional=True, checkpoint_every=3, dtype=torch.float64, **projection(of)
    )
    check(module, True, RAGGED, mask())


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3},
        {"bidirectional": True},
        {"bias": False},
        {"batch_first": True},
        {"checkpoint_every": 1},
        {"checkpoint_every": 50, "num_layers": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize("reset", [None, mask()], ids=["", "reset"])
def test_options(options: dict[str, Any], lengths: np.ndarray | None, reset: Tensor | None) -> None:
    for of in ("lstm_peephole", "mgu"):
        check(Recurrent(of, I, 7, dtype=torch.float64, **options), bool(options.get("bias", True)), lengths, reset)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_same_as_torch(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    theirs = getattr(nn, name)(I, 7, **options)
    torch.manual_seed(3)
    ours = Recurrent(name.lower(), I, 7, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    x = numbers(T, B, I, dtype=torch.float32)
    results = []
    for module in (ours, theirs):
        output, state = module(x)
        (output.sin().sum() + sum(s.cos().sum() for s in as_tuple(state))).backward()
        results.append([output, *as_tuple(state), *(p.grad for p in module.parameters())])
        alone, last = module(x[:, 0])
        results[-1] += [alone, *as_tuple(last)]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projected_lstm_is_torchs() -> None:
    torch.manual_seed(3)
    theirs = nn.LSTM(I, 7, proj_size=4)
    torch.manual_seed(3)
    ours = Recurrent("lstm_projected", I, 7, proj_size=4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = numbers(T, B, I, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))


def test_names_of_parameters() -> None:
    peephole = Recurrent("lstm_peephole", I, 7, bidirectional=True)
    assert list(peephole.state_dict())[:9] == [
        *("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "p_i_l0", "p_f_l0", "p_o_l0"),
        *("weight_ih_l0_reverse", "weight_hh_l0_reverse"),
    ]
    assert list(Recurrent("mingru", I, 7).state_dict()) == ["weight_ih_l0", "bias_ih_l0"]
    assert list(Recurrent("indrnn", I, 7, bias=False).state_dict()) == ["weight_ih_l0", "u_l0"]
    learned = Recurrent("lstm", I, [7, 5], initial_state="learned")
    assert {n: tuple(p.shape) for n, p in learned.named_parameters() if "initial" in n} == {
        **{"initial_h_l0": (7,), "initial_c_l0": (7,)},
        **{"initial_h_l1": (5,), "initial_c_l1": (5,)},
    }
    assert learned.weight_ih_l1.shape == (20, 7)
    assert "0.37" < f"{Recurrent('gru', I, 7).weight_hh_l0.abs().max():.3f}" <= "0.378"  # 1 / sqrt(7)


def test_a_cell_of_the_users_without_input() -> None:
    @cell
    def clock(x, h):
        return cells.tanh(h.n)

    module = Recurrent(clock, I, 7, dtype=torch.float64)
    assert list(module.state_dict()) == ["weight_hh_l0", "bias_hh_l0"]
    fill(module, "clock")
    output, state = module(numbers(T, B, I), numbers(1, B, 7, key="h"))
    assert torch.equal(output[-1], state[0])
    h = numbers(1, B, 7, key="h")[0]
    for _ in range(T):
        h = (h @ module.weight_hh_l0.T + module.bias_hh_l0).tanh()
    torch.testing.assert_close(h, output[-1])


def test_layers_of_different_sizes() -> None:
    module = Recurrent("lstm", I, [7, 4, 5], bidirectional=True, dtype=torch.float64)
    fill(module, "sizes")
    x = numbers(T, B, I)
    output, (h, c) = module(x, lengths=torch.from_numpy(RAGGED))
    assert [tuple(s.shape) for s in (*h, *c)] == 2 * [(2, B, 7), (2, B, 4), (2, B, 5)]
    wanted = compose(module, x.numpy(), lengths=RAGGED)
    np.testing.assert_allclose(output.detach(), wanted.output, atol=1e-12)
    for k, state in enumerate((h, c)):
        for layer, s in enumerate(state):
            np.testing.assert_allclose(s.detach(), np.stack(wanted.state[k][2 * layer : 2 * layer + 2]), atol=1e-12)
    forward = Recurrent("gru", I, [7, 4], dtype=torch.float64)
    fill(forward, "sizes")
    whole = forward(x)
    first, state = forward(x[:4])
    second, state = forward(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole[0])
    assert all(torch.equal(a, b) for a, b in zip(state, whole[1], strict=True))
    alone = forward(x[:, 0], tuple(s[:, 0] for s in forward(x[:4])[1]))
    assert [tuple(s.shape) for s in alone[1]] == [(1, 7), (1, 4)]


def test_bits_are_the_engines() -> None:
    module = Recurrent("lstm_peephole", I, 7)
    x = numbers(T, B, I, dtype=torch.float32)
    weights = [p.detach().numpy() for p in module.parameters()]
    of = engine.Weights(*weights[:4], None, dict(zip(module.cell.parameters, weights[4:], strict=True)))
    assert torch.equal(module(x)[0], torch.from_numpy(engine.forward(module.cell, of, x.numpy()).output))


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, list])
def test_lengths_of_any_kind(kind: Any) -> None:
    module = Recurrent("gru", I, 7)
    x = numbers(T, B, I, dtype=torch.float32)
    lengths = RAGGED.tolist() if kind is list else torch.tensor(RAGGED, dtype=kind)
    output, state = module(x, lengths=lengths)
    for b, end in enumerate(RAGGED):
        alone, last = module(x[:end, b])
        assert torch.equal(output[:end, b], alone)
        assert not output[end:, b].any()
        assert torch.equal(state[:, b], last)


def test_packed_sequences() -> None:
    module, theirs = Recurrent("gru", I, 7, 2, bidirectional=True), nn.GRU(I, 7, 2, bidirectional=True)
    module.load_state_dict(theirs.state_dict())
    packed = pack_sequence([numbers(n, I, key=n, dtype=torch.float32) for n in (4, 9, 1)], enforce_sorted=False)
    state = numbers(4, 3, 7, dtype=torch.float32)
    for h in (None, state):
        output, last = module(packed, h)
        wanted, last2 = theirs(packed, h)
        torch.testing.assert_close(pad_packed_sequence(output), pad_packed_sequence(wanted))
        torch.testing.assert_close(last, last2)


def test_dropout_acts_between_layers_in_training() -> None:
    torch.manual_seed(1)
    module = Recurrent("gru", I, 7, 2, dropout=0.5)
    x = numbers(T, B, I, dtype=torch.float32)
    torch.manual_seed(5)
    a = module(x)[0]
    torch.manual_seed(5)
    assert torch.equal(a, module(x)[0])
    assert not torch.equal(a, module(x)[0])
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])
    with pytest.warns(UserWarning, match="one layer"):
        Recurrent("gru", I, 7, dropout=0.5)


def test_no_steps_and_no_rows() -> None:
    module = Recurrent("lstm", I, 7, initial_state="learned")
    fill(module, "none")
    output, (h, _) = module(torch.zeros(0, B, I))
    assert output.shape == (0, B, 7)
    assert torch.equal(h, module.initial_h_l0.expand(1, B, 7))
    assert module(torch.zeros(T, 0, I))[0].shape == (T, 0, 7)


def test_copies_and_pickles() -> None:
    module = Recurrent(user_cells.entangled, I, 7, 2, initial_state="learned", return_all=True)
    fill(module, "copies")
    x = numbers(T, B, I, dtype=torch.float32)
    wanted = module(x)[0]
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x)[0], wanted)
        assert repr(twin) == repr(module)
    other = Recurrent(user_cells.entangled, I, 7, 2, initial_state="learned")
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x)[0], wanted)
    assert repr(module) == "Recurrent(entangled, 3, 7, num_layers=2, initial_state='learned', return_all=True)"


def test_parametrized_weights() -> None:
    module = Recurrent("gru", I, 7)
    nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    twin = Recurrent("gru", I, 7)
    with torch.no_grad():
        for n, p in twin.named_parameters():
            p.copy_(getattr(module, n))
    x = numbers(T, B, I, dtype=torch.float32)
    assert torch.equal(module(x)[0], twin(x)[0])
    module(x)[0].sum().backward()
    assert module.parametrizations.weight_hh_l0.original0.grad.any()


WRONG: list[tuple[type[RecurraError], str, Any]] = [
    (CellError, "no cell is called 'gur'", lambda: Recurrent("gur", 3, 7)),
    (ShapeError, "expected at least 1", lambda: Recurrent("gru", 3, 0)),
    (ShapeError, "num_layers=0", lambda: Recurrent("gru", 3, 7, 0)),
    (ShapeError, "one size for each layer", lambda: Recurrent("gru", 3, [7, 5], 3)),
    (ShapeError, "use lstm_projected", lambda: Recurrent("lstm", 3, 7, proj_size=2)),
    (ShapeError, "give the size of the projection", lambda: Recurrent("lstm_projected", 3, 7)),
    (ShapeError, "a share between 0 and 1", lambda: Recurrent("gru", 3, 7, 2, dropout=1.5)),
    (ShapeError, "checkpoint_every=0", lambda: Recurrent("gru", 3, 7, checkpoint_every=0)),
    (ShapeError, "no state can be carried", lambda: Recurrent("gru", 3, 7, bidirectional=True, stateful=True)),
    (ShapeError, "'zeros' or 'learned'", lambda: Recurrent("gru", 3, 7, initial_state="ones")),
    (ShapeError, r"`input` has shape \(5, 2, 4\), expected \[T, B, 3\]", lambda: gru(torch.zeros(5, 2, 4))),
    (ShapeError, "`input` has shape", lambda: gru(torch.zeros(3))),
    (DtypeError, r"use .to\(torch.float32\)", lambda: gru(torch.zeros(5, 2, 3, dtype=torch.float64))),
    (ShapeError, r"state h has shape \(1, 3, 7\), expected \(1, 2, 7\)", lambda: gru(x523, torch.zeros(1, 3, 7))),
    (ShapeError, "expected a tuple of h, c", lambda: Recurrent("lstm", 3, 7)(x523, torch.zeros(1, 2, 7))),
    (ShapeError, "2 whole numbers", lambda: gru(x523, lengths=[1, 2, 3])),
    (ShapeError, "2 whole numbers", lambda: gru(x523, lengths=torch.tensor([1.0, 2.0]))),
    (ShapeError, "`lengths` go from 1 to 6, expected 0 to 5", lambda: gru(x523, lengths=[1, 6])),
    (ShapeError, r"expected \(5, 2\) of torch.bool", lambda: gru(x523, reset=torch.zeros(5, 2))),
    (ShapeError, "goes without lengths", lambda: gru(pack_sequence([x523[:, 0]]), lengths=[5])),
]
gru, x523 = Recurrent("gru", 3, 7), torch.zeros(5, 2, 3)


@pytest.mark.parametrize(("error", "words", "call"), WRONG, ids=[w for _, w, _ in WRONG])
def test_errors(error: type[RecurraError], words: str, call: Any) -> None:
    with pytest.raises(error, match=words):
        call()
