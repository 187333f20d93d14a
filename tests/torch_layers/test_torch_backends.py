"""What runs where, and that the equations as torch operations compute what the engine does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from composed import B, I, T, fill
from torch import Tensor, nn

import recurra
from helpers import ALL_CELLS, generator
from recurra import engine
from recurra.cells import Cell
from recurra.errors import DtypeError
from recurra.torch import GRU, LSTM, Recurrent, backend_for, kernels
from recurra.torch.call import Call
from recurra.torch.equations import run_equations

LOW = {torch.bfloat16: 0.06, torch.float16: 0.015}


def numbers(*shape: int, key: object = "x") -> Tensor:
    return torch.from_numpy(generator(key, shape).normal(size=shape))


def make(of: Cell | str, dtype: torch.dtype = torch.float32, **options: Any) -> Recurrent:
    projects = isinstance(of, Cell) and of.projection is not None
    module = Recurrent(of, I, 7, 2, bidirectional=True, dtype=dtype, proj_size=4 if projects else 0, **options)
    with torch.no_grad():
        for n, p in module.named_parameters():
            p.copy_(0.25 * numbers(*p.shape, key=n))
    return module


HOW = {"lengths": torch.tensor([11, 0, 4, 1, 10]), "reset": torch.from_numpy(generator("reset").random((T, B)) < 0.25)}


def test_names() -> None:
    x = torch.zeros(T, B, I)
    native = f"native {engine.isa()}"
    for module in (Recurrent("gru", I, 7), LSTM(I, 7)):
        assert backend_for(module, x) == native
        assert backend_for(module.double(), x.double()) == native
        assert backend_for(module.bfloat16(), x.bfloat16()) == "equations (bfloat16)"
        assert backend_for(module.half(), x.half()) == "equations (float16)"
        with torch.autocast("cpu", torch.bfloat16):
            assert backend_for(module, x.bfloat16()) == native
        assert backend_for(module.to("meta"), x.to("meta")) == "equations (meta)"
    packed = nn.utils.rnn.pack_sequence([torch.zeros(4, I)])
    assert backend_for(GRU(I, 7), packed) == native
    with pytest.raises(DtypeError, match=r"got a GRU, expected a layer of recurra\.torch"):
        backend_for(nn.GRU(I, 7), x)  # type: ignore[arg-type]


def test_the_engine_runs_where_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    forward = Call.forward
    monkeypatch.setattr(Call, "forward", lambda *a, **k: (runs.append(1), forward(*a, **k))[1])
    equations: list[int] = []
    run = kernels.run_equations
    monkeypatch.setattr(kernels, "run_equations", lambda *a, **k: (equations.append(1), run(*a, **k))[1])
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        module, x = Recurrent("gru", I, 7, dtype=dtype), torch.zeros(T, B, I, dtype=dtype)
        runs.clear(), equations.clear()
        with torch.no_grad():
            module(x)
        native = backend_for(module, x).startswith("native")
        assert (len(runs), len(equations)) == ((1, 0) if native else (0, 1))


@pytest.mark.parametrize("of", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_low_precision(of: Cell, dtype: torch.dtype) -> None:
    """Within the dtype's rounding of the same numbers in float32: values and gradients."""
    low, wide = make(of, dtype), make(of)
    with torch.no_grad():
        for a, b in zip(wide.parameters(), low.parameters(), strict=True):
            a.copy_(b)
    x = numbers(T, B, I).to(dtype)
    found = []
    for module, given in ((low, x), (wide, x.float())):
        output, state = module(given, **HOW)
        output.float().square().sum().backward()
        states = state if isinstance(state, tuple) else (state,)
        found.append([t.detach() for t in (output, *states, *(p.grad for p in module.parameters()))])
    for got, want in zip(*found, strict=True):
        assert got.dtype == dtype
        assert want.any()
        assert (got.float() - want).abs().max() < LOW[dtype] * want.abs().max()


def test_low_precision_compiled() -> None:
    """Where the dispatcher has passed the operator's derivative, its equations are differentiated all the same."""
    torch._dynamo.reset()
    module, x = LSTM(I, 7, dtype=torch.bfloat16), numbers(T, B, I).to(torch.bfloat16)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    found = []
    for run in (module, compiled):
        module.zero_grad()
        run(x)[0].float().square().sum().backward()
        found.append([p.grad for p in module.parameters()])
    for got, want in zip(*found, strict=True):
        assert want.any()
        assert torch.equal(got, want)


@pytest.mark.parametrize("of", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equations_are_the_engine(of: Cell, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The equations in the engine's own dtypes: output, states, all steps and all gradients."""
    module = make(of, dtype, return_all=True)
    x = numbers(T, B, I).to(dtype)

    def run() -> list[Tensor]:
        module.zero_grad()
        given = x.clone().requires_grad_()
        output, state, steps = module(given, **HOW)
        states = state if isinstance(state, tuple) else (state,)
        sum((t.sin() * (k + 1)).sum() for k, t in enumerate((output, *states))).backward()
        every = [t for s in steps for named in s for t in named.values()]
        return [output, *states, *every, given.grad, *(p.grad for p in module.parameters())]

    native = run()
    monkeypatch.setattr(kernels, "NATIVE_DTYPES", ())
    tolerance = 3e-5 if dtype == torch.float32 else 1e-11
    for got, want in zip(run(), native, strict=True):
        torch.testing.assert_close(got, want, atol=tolerance * max(1.0, float(want.detach().abs().max())), rtol=0)


@pytest.mark.parametrize("of", ALL_CELLS, ids=lambda c: c.name)
def test_meta(of: Cell) -> None:
    """On the meta device layers, and the equations themselves, give the shapes that the CPU gives."""
    module = make(of, return_all=True)
    x = numbers(T, B, I).float()
    meta = make(of, return_all=True).to("meta")
    how = {n: t.to("meta") for n, t in HOW.items()}
    real, shapes = module(x, **HOW), meta(x.to("meta"), **how)
    leaves = torch.utils._pytree.tree_leaves
    assert [(t.shape, t.dtype) for t in leaves(real)] == [(t.shape, t.dtype) for t in leaves(shapes)]
    assert all(t.device.type == "meta" for t in leaves(shapes))
    shapes[0].sum().backward()
    assert all(p.grad.device.type == "meta" for p in meta.parameters())

    weights, parameters = meta._weights("_l0", x, 0)
    for reverse, stacked in ((False, True), (True, False)):
        rest = (
            x.to("meta"),
            *weights,
            parameters,
            [],
            how["lengths"],
            how["reset"],
            meta.cell.text,
            reverse,
            0,
            stacked,
        )
        fake = kernels.scan_fake(*rest, False, True)
        assert [t.shape for t in run_equations(Call.of(rest), True)] == [t.shape for t in fake[:-1]]


def test_layers_of_torch_in_low_precision() -> None:
    for ours, theirs in ((LSTM, nn.LSTM), (GRU, nn.GRU)):
        a, b = ours(I, 7, dtype=torch.bfloat16), theirs(I, 7, dtype=torch.bfloat16)
        fill(a, "low")
        b.load_state_dict(a.state_dict())
        x = numbers(T, B, I).bfloat16()
        torch.testing.assert_close(a(x)[0], b(x)[0], atol=0.05, rtol=0)


def test_lengths_out_of_range_are_refused_in_low_precision_too() -> None:
    module = Recurrent("gru", I, 7, dtype=torch.bfloat16)
    with pytest.raises(recurra.errors.ShapeError, match="expected 0 to 11"):
        module(torch.zeros(T, B, I, dtype=torch.bfloat16), lengths=[12, 1, 1, 1, 1])
