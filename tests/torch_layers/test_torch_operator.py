"""The operator in torch's machinery: compile, export, autocast, functional calls, second derivatives, memory, bits."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from composed import B, I, T, fill
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import user_cells
from helpers import generator
from recurra import cells
from recurra.torch import GRU, LSTM, RNN, Recurrent, kernels
from recurra.torch.operator import scan

H = 7
# Dynamo's bookkeeping warns of itself on this Python.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def numbers(*shape: int, key: object = "x", dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(generator(key, shape).normal(size=shape)).to(dtype)


def ragged() -> dict[str, Tensor]:
    return {"lengths": torch.tensor([11, 0, 4, 1, 10])}


def reset() -> dict[str, Tensor]:
    return {"reset": torch.from_numpy(generator("reset").random((T, B)) < 0.25)}


MODULES: dict[str, Any] = {
    "lstm": lambda: (LSTM(I, H), {}),
    "lstm stacked": lambda: (LSTM(I, H, 2, bidirectional=True, batch_first=True), {}),
    "lstm projected": lambda: (LSTM(I, H, proj_size=4), {}),
    "gru": lambda: (GRU(I, H), {}),
    "rnn without bias": lambda: (RNN(I, H, bias=False, nonlinearity="relu"), {}),
    "peephole": lambda: (Recurrent("lstm_peephole", I, H, 2, bidirectional=True, initial_state="learned"), ragged()),
    "reset before": lambda: (Recurrent("gru_reset_before", I, [H, 5], checkpoint_every=3), reset()),
    "everything": lambda: (Recurrent("lstm", I, H, bidirectional=True), ragged() | reset()),
    "a user's": lambda: (Recurrent(user_cells.adaptive, I, H, bias=False), {}),
    "no recurrent gates": lambda: (Recurrent("minlstm", I, H), {}),
}


def leaves(result: Any) -> list[Tensor]:
    return [t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, Tensor)]


def trained(call: Any, module: nn.Module, x: Tensor, **how: Any) -> list[Tensor]:
    """Outputs and all gradients of something that depends on every output."""
    module.zero_grad()
    x = x.detach().requires_grad_()
    results = leaves(call(x, **how))
    sum((r.sin() * (k + 1)).sum() for k, r in enumerate(results)).backward()
    return [*(r.detach() for r in results), x.grad, *(p.grad for p in module.parameters())]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often the engine runs forward."""
    runs: list[int] = []
    with monkeypatch.context() as patch:
        forward = kernels.Call.forward
        patch.setattr(kernels.Call, "forward", lambda *a, **k: (runs.append(1), forward(*a, **k))[1])
        yield runs


@pytest.mark.parametrize("name", MODULES)
def test_compile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    module, how = MODULES[name]()
    fill(module, name)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = numbers(T, B, I)
    for got, want in zip(trained(compiled, module, x, **how), trained(module, module, x, **how), strict=True):
        assert torch.equal(got, want)
    with counted(monkeypatch) as runs:
        trained(compiled, module, x, **how)
    directions = 2 if module.bidirectional else 1
    assert len(runs) == module.num_layers * directions  # what backward needs was kept
    if not how:
        other = numbers(T + 3, B + 1, I)
        for got, want in zip(trained(compiled, module, other), trained(module, module, other), strict=True):
            assert torch.equal(got, want)
    with torch.no_grad():
        assert torch.equal(leaves(compiled(x, **how))[0], leaves(module(x, **how))[0])


@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor compiles with g++")
def test_compile_by_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    module = nn.Sequential(nn.Linear(I, I), GRU(I, H))
    fill(module, "inductor")
    compiled = torch.compile(module, fullgraph=True)
    x = numbers(T, B, I)
    for got, want in zip(trained(compiled, module, x), trained(module, module, x), strict=True):
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-5)
    with counted(monkeypatch) as runs:
        trained(compiled, module, x)
    assert len(runs) == 1


def test_compile_with_all_steps_and_state() -> None:
    torch._dynamo.reset()
    module = Recurrent("gru", I, H, return_all=True, stateful=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = numbers(T, B, I)
    with torch.no_grad():
        first, second = compiled(x), compiled(x)
        module.reset_state()
        right = module(x), module(x)
    for got, want in zip(leaves([first, second]), leaves(list(right)), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("strict", [False, True])
def test_export(name: str, strict: bool) -> None:
    module, how = MODULES[name]()
    fill(module, name)
    x = numbers(T, B, I)
    program = torch.export.export(module, (x,), how, strict=strict)
    targets = [str(n.target) for n in program.graph.nodes]
    assert "recurra.scan.default" in targets
    for got, want in zip(leaves(program.module()(x, **how)), leaves(module(x, **how)), strict=True):
        assert torch.equal(got, want)


def test_export_with_dynamic_sizes() -> None:
    module = LSTM(I, H)
    free = {0: torch.export.Dim("T", min=2), 1: torch.export.Dim("B", min=2)}
    program = torch.export.export(module, (numbers(T, B, I),), dynamic_shapes=(free,))
    x = numbers(4, 9, I)
    for got, want in zip(leaves(program.module()(x)), leaves(module(x)), strict=True):
        assert torch.equal(got, want)


def arguments(of: str, dtype: torch.dtype = torch.float64, **how: Any) -> tuple[Any, ...]:
    """Arguments of the operator for a cell, every floating one with a gradient."""
    cell = cells.get(of)
    P = 3 if cell.projection is not None else 4
    n, m = len(cell.input_gates) * 4, len(cell.recurrent_gates) * 4
    shapes = [(5, 3, 2), (n, 2), (m, P), (n,), (m,), (P, 4) if cell.projection is not None else None]
    first = [None if s is None else 0.5 * numbers(*s, key=(of, i), dtype=dtype) for i, s in enumerate(shapes)]
    parameters = [numbers(4, key=p, dtype=dtype) for p in cell.parameters]
    state = [numbers(3, P if k == 0 else 4, key=s, dtype=dtype) for k, s in enumerate(cell.states)]
    for t in (*first, *parameters, *state):
        if t is not None:
            t.requires_grad_()
    ends = torch.tensor([5, 0, 3]) if how.get("lengths") else None
    cuts = torch.from_numpy(generator(of).random((5, 3)) < 0.3) if how.get("reset") else None
    reverse, every, stacked = how.get("reverse", False), how.get("every", 0), how.get("stacked", False)
    return *first, parameters, state, ends, cuts, cell.text, reverse, every, stacked


HOW: list[dict[str, Any]] = [
    {},
    {"lengths": True, "stacked": True},
    {"lengths": True, "reverse": True, "reset": True, "every": 2},
]


@pytest.mark.parametrize(
    "of", ["lstm", "lstm_peephole", "lstm_projected", "gru", "gru_reset_before", "mingru", "indrnn"]
)
@pytest.mark.parametrize("how", HOW, ids=str)
def test_second_derivatives(of: str, how: dict[str, Any]) -> None:
    *first, parameters, state, ends, cuts, text, reverse, every, stacked = arguments(of, **how)
    given = [t for t in first if t is not None]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, *weights = [*tensors[: len(given)], *([None] if first[5] is None else [])]
        rest = tensors[len(given) :]
        split = len(parameters)
        return tuple(scan(text, x, weights, rest[:split], rest[split:], ends, cuts, reverse, every, stacked=stacked))

    everything = (*given, *parameters, *state)
    assert torch.autograd.gradcheck(run, everything, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, everything, fast_mode=True)


@pytest.mark.parametrize("of", ["lstm_peephole", "lstm_projected", "gru_reset_before", "mingru"])
def test_opcheck(of: str) -> None:
    for how in HOW:
        for every_step in (False, True):
            inputs = (*arguments(of, torch.float32, **how), False, every_step)
            plain = [
                t.detach() if isinstance(t, Tensor) else [s.detach() for s in t] if isinstance(t, list) else t
                for t in inputs
            ]
            torch.library.opcheck(torch.ops.recurra.scan.default, tuple(plain))
            torch.library.opcheck(
                torch.ops.recurra.scan.default,
                inputs,
                test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
            )


def test_second_derivatives_of_a_gradient_penalty() -> None:
    """The same through a module as through torch.nn."""
    ours, theirs = GRU(I, H).double(), nn.GRU(I, H).double()
    theirs.load_state_dict(ours.state_dict())
    found = []
    for module in (ours, theirs):
        x = numbers(T, B, I, dtype=torch.float64).requires_grad_()
        (d,) = torch.autograd.grad(module(x)[0].sin().sum(), x, create_graph=True)
        d.norm().backward()
        found.append([x.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["lstm stacked", "everything"])
def test_autocast(name: str) -> None:
    module, how = MODULES[name]()
    fill(module, name)
    x = numbers(T, B, I)
    for given in (x, x.bfloat16()):
        with torch.autocast("cpu", torch.bfloat16):
            output = leaves(module(given, **how))
        wide = leaves(module(given.float(), **how))
        for got, want in zip(output, wide, strict=True):
            assert got.dtype == torch.bfloat16
            if name != "lstm stacked":  # between layers the outputs are rounded
                assert torch.equal(got, want.bfloat16())
        output[0].float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in module.parameters())


def test_functional_call() -> None:
    for module, how in (make() for make in MODULES.values()):
        x = numbers(T, B, I)
        other = {n: numbers(*p.shape, key=n) for n, p in module.named_parameters()}
        got = torch.func.functional_call(module, other, (x,), how)
        module.load_state_dict(other)
        for a, b in zip(leaves(got), leaves(module(x, **how)), strict=True):
            assert torch.equal(a, b)


def test_backward_in_eval_mode_and_twice() -> None:
    module = LSTM(I, H).eval()
    x = numbers(T, B, I)
    output = module(x)[0].sum()
    first = torch.autograd.grad(output, list(module.parameters()), retain_graph=True)
    second = torch.autograd.grad(output, list(module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(output, list(module.parameters()))


@pytest.mark.parametrize("name", MODULES)
def test_same_bits_every_time(name: str) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        module, how = MODULES[name]()
        results.append(trained(module, module, torch.randn(T, B, I), **how))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("of", ["lstm", "gru", "lstm_peephole"])
def test_outputs_may_be_overwritten_before_backward(of: str) -> None:
    module, x = Recurrent(of, I, H), numbers(T, B, I)

    def overwritten(x: Tensor) -> list[Tensor]:
        results = leaves(module(x))
        copies = [t.clone() for t in results]
        for t in results:
            t.detach().fill_(torch.nan)
        return copies

    for a, b in zip(trained(overwritten, module, x), trained(module, module, x), strict=True):
        assert torch.equal(a, b)


def test_weights_changed_before_backward_are_noticed() -> None:
    module = GRU(I, H)
    output = module(numbers(T, B, I))[0]
    with torch.no_grad():
        module.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_checkpointing_and_saved_tensor_hooks() -> None:
    module = GRU(I, H)
    x = numbers(T, B, I)
    plain = trained(module, module, x)
    again = trained(lambda x: checkpoint(module, x, use_reentrant=False), module, x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        moved = trained(module, module, x)  # the tape's owner is gone: forward runs again
    for a, b, c in zip(plain, again, moved, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def runs_kept() -> int:
    return sum(type(o) is kernels.Saved for o in gc.get_objects())


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_is_kept_without_need(compiled: bool) -> None:
    torch._dynamo.reset()
    layer, x = LSTM(I, H), numbers(T, B, I)
    module = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
    module(x)
    gc.collect()
    before = runs_kept()
    with torch.no_grad():
        kept = module(x)
    assert runs_kept() == before
    kept = module(x)
    assert runs_kept() == before + 1
    kept[0].sum().backward()
    assert runs_kept() == before  # freed by backward, though the output lives
    kept = module(x)
    del kept
    assert runs_kept() == before


def test_only_what_is_wanted_is_returned() -> None:
    module = LSTM(I, H)
    module.weight_hh_l0.requires_grad_(False)
    x = numbers(T, B, I)
    full = trained(module, LSTM(I, H), x)
    assert full
    module.zero_grad()
    module(x)[0].sum().backward()
    assert module.weight_hh_l0.grad is None
    assert module.weight_ih_l0.grad.any()
    assert x.grad is None


def test_func_grad() -> None:
    module = GRU(I, H)
    x = numbers(T, B, I)
    weights = dict(module.named_parameters())

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(module, weights, (x,))[0].sin().sum()

    got = torch.func.grad(loss)({n: p.detach() for n, p in weights.items()})
    wanted = torch.autograd.grad(loss(weights), list(weights.values()))
    for a, b in zip(got.values(), wanted, strict=True):
        assert torch.equal(a, b)
