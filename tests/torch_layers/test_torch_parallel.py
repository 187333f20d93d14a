"""Sequences in parallel over time, against the definition: values, states and all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers import generator, random_weights
from recurra import cells, doctor, engine, reference
from recurra.cells import Cell, cell, sigmoid, tanh
from recurra.cells.unitwise import unitwise
from recurra.doctor.remedies import Facts, Setup, applied
from recurra.errors import CellError, ShapeError
from recurra.torch import Recurrent
from recurra.torch.parallel import Solved, parts_for, scan_parallel

T, B, I, H = 37, 3, 4, 5
LENGTHS = np.array([37, 0, 20])


@cell(source="tests: the output is not read by the next step, and is no affine function of what is")
def quiet(x, h, c, *, p):
    f = sigmoid(x.f)
    c = f * c + (1 - f) * x.n
    return sigmoid(x.o) * tanh(c) + p * x.n, c


@cell(source="tests: two states, each affine in both")
def mixed(x, h, d_h, *, a):
    return sigmoid(x.f) * h + 0.3 * sigmoid(a) * d_h + x.n, 0.5 * d_h + 0.2 * h * x.g


AFFINE = (cells.mingru, cells.minlstm, cells.rg_lru, mixed)
OTHERS = (cells.indrnn, cells.gru_diagonal, cells.lstm_diagonal, quiet)
RUNS: tuple[dict[str, Any], ...] = ({}, {"lengths": LENGTHS, "reset": True}, {"reverse": True, "lengths": LENGTHS})


def run_both(
    of: Cell, parts: int, every: int, how: dict[str, Any]
) -> tuple[list[np.ndarray], list[np.ndarray], Solved]:
    """Everything that the definition gives for one case, and in that order what comes of so many parts."""
    rng = generator(of.name, parts, sorted(how))
    weights, x = random_weights(of, I, H, rng=rng), rng.normal(size=(T, B, I))
    state, d_state = ([rng.normal(size=(B, H)) for _ in of.states] for _ in range(2))
    how = how | ({"reset": rng.random((T, B)) < 0.08} if "reset" in how else {})
    run = reference.forward(of, weights, x, state, **how)
    past = np.arange(T)[:, None] >= how.get("lengths", np.full(B, T))
    d_output = np.where(past[..., None], 0.0, rng.normal(size=(T, B, H)))
    back = reference.backward(of, weights, x, run, d_output, d_state, how.get("reset"))
    x[past] = np.nan
    want = [run.output, *run.state, back.x, back.weights.W, back.weights.b]
    want += [*(back.weights.parameters[p] for p in of.parameters), *back.state]

    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weights.W, weights.b)]
    parameters = [torch.tensor(weights.parameters[p], requires_grad=True) for p in of.parameters]
    begin = [torch.tensor(s, requires_grad=True) for s in state]
    none = torch.zeros(0, H, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    lengths, reset = (None if how.get(n) is None else torch.from_numpy(how[n]) for n in ("lengths", "reset"))
    given = [leaves[1], none[0], leaves[2], none[1], None]
    results, solved = scan_parallel(
        of.text, leaves[0], given, parameters, begin, lengths, reset, how.get("reverse", False), every, parts
    )
    torch.autograd.backward(results, [torch.from_numpy(d) for d in (d_output, *d_state)])
    got = [*results, *(t.grad for t in (*leaves, *parameters, *begin))]
    return want, [t.detach().numpy() for t in got], solved


@pytest.mark.parametrize("of", [*AFFINE, *OTHERS], ids=lambda c: c.name)
def test_parts_are_the_sequence(of: Cell) -> None:
    found = unitwise(of)
    assert found is not None
    assert found.affine == (of in AFFINE)
    for how in RUNS:
        for parts, every in ((2, 0), (5, 3)):
            want, got, solved = run_both(of, parts, every, how)
            for expected, array in zip(want, got, strict=True):
                np.testing.assert_allclose(array, expected, rtol=0, atol=5e-13)
            assert solved.converged
            assert solved.parts == parts
            assert solved.residual < 1e-14
            assert (solved.iterations == 1) == (of in AFFINE)


def test_which_cells_are_unit_by_unit() -> None:
    found = [c.name for c in cells.zoo_cells() if unitwise(c) is not None]
    assert found == ["indrnn", "mingru", "minlstm", "rg_lru", "gru_diagonal", "lstm_diagonal"]
    assert unitwise(quiet).carried == (1,)  # type: ignore[union-attr]
    assert unitwise(mixed).carried == (0, 1)  # type: ignore[union-attr]


def layer(of: str | Cell, **options: Any) -> Recurrent:
    torch.manual_seed(3)
    return Recurrent(of, I, H, dtype=torch.float64, **options)


def test_a_layer_in_parallel_is_the_layer() -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "initial_state": "learned", "batch_first": True}
    one, other = (layer("gru_diagonal", parallel=how, **options) for how in (False, True))
    x, lengths = torch.randn(B, 150, I, dtype=torch.float64), torch.tensor([150, 0, 70])
    reset = torch.rand(B, 150) < 0.02
    found: list[list[Tensor]] = []
    for module in (one, other):
        output, state = module(x, lengths=lengths, reset=reset)
        (output.square().sum() + state.sum()).backward()
        found.append([output, state, *(p.grad for p in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert one.solved == []
    assert len(other.solved) == 4
    assert all(s.converged and s.iterations > 1 for s in other.solved)


def test_what_does_not_converge_is_run_step_by_step() -> None:
    one, other = (layer("indrnn", parallel=how) for how in (False, True))
    x = torch.randn(160, B, I, dtype=torch.float64)
    for module in (one, other):
        with torch.no_grad():
            module.u_l0.fill_(1e300)  # type: ignore[operator]
            module.u_l0[0] = 0.5  # type: ignore[index]
    want = one(x)[0]
    with pytest.warns(RuntimeWarning, match=r"indrnn in parallel over 2 parts: a residual of .* was run step by step"):
        output = other(x)[0]
    assert torch.equal(output.nan_to_num(), want.nan_to_num())
    assert other.solved == [Solved(2, other.solved[0].iterations, float("inf"), False)]


def test_auto_is_for_training_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "get_num_threads", lambda: 8)
    x = torch.zeros(1000, 1, I)
    assert parts_for("auto", cells.mingru, x, training=True) == 8
    assert parts_for("auto", cells.mingru, x, training=False) == 1
    assert parts_for("auto", cells.mingru, x[:100], training=True) == 1
    assert parts_for("auto", cells.mingru, x.expand(-1, 8, -1), training=True) == 1
    assert parts_for("auto", cells.gru, x, training=True) == 1
    assert parts_for(False, cells.mingru, x, training=True) == 1
    assert parts_for(True, cells.mingru, x[:3], training=False) == 2
    module = layer("mingru").eval()
    x = torch.randn(1000, 1, I, dtype=torch.float64)
    assert torch.equal(module(x)[0], layer("mingru", parallel=False)(x)[0])
    module.train()(x)
    assert module.solved[0].parts == 8


def test_what_cannot_be_in_parallel_says_so() -> None:
    with pytest.raises(CellError, match=r"gru in parallel: a step multiplies its states by matrices.*gru_diagonal"):
        layer("gru", parallel=True)
    with pytest.raises(ShapeError, match=r"parallel='always', expected 'auto', True or False"):
        layer("mingru", parallel="always")
    with pytest.raises(ShapeError, match=r"return_all asks for every step.*choose one"):
        layer("mingru", parallel=True, return_all=True)


def test_the_doctor_sees_a_layer_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "get_num_threads", lambda: 4)
    x = torch.randn(300, 1, I, dtype=torch.float64)
    findings = doctor.examine(layer("mingru", parallel=False), x)
    waits = next(f for f in findings if f.kind == "step by step")
    assert waits.evidence == "300 steps of 1 rows one after the other, where 4 parts could run at once"
    assert waits.remedies == ("parallel",)
    setup = applied("parallel", Setup(lambda: layer("mingru", parallel=False), 0.1, None), Facts(5, x, 0, True, 1.0))
    assert "step by step" not in doctor.examine(setup.make(), x).kinds  # type: ignore[union-attr]
    assert "step by step" not in doctor.examine(layer("gru"), x).kinds


def test_under_autocast_the_parts_are_run_in_float32() -> None:
    x = torch.randn(160, B, I)
    one, other = (layer("gru_diagonal", parallel=how).float() for how in (False, True))
    with torch.autocast("cpu", torch.bfloat16):
        want, got = one(x)[0], other(x)[0]
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, want, rtol=0, atol=2**-8)
    assert other.solved[0].residual < 1e-6
