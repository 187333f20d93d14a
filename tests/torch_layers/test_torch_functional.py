"""torch.func and batched gradients: derivatives of every kind against torch.nn's, and vmap against one call each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from composed import fill, numbers
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from recurra.torch import GRU, LSTM, Recurrent

X = numbers(3, 2, 2, dtype=torch.float64)
Run = Callable[[nn.Module], Any]


def output(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x)[0]


def loss(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x)[0].sin().sum() + module(x)[1][0].sum()


def of_parameters(module: nn.Module) -> Callable[[dict[str, Tensor]], Tensor]:
    return lambda parameters: functional_call(module, parameters, (X,))[0]


def batched(module: nn.Module) -> Tensor:
    x = X.clone().requires_grad_()
    y = module(x)[0]
    seeds = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    return torch.autograd.grad(y, x, seeds, is_grads_batched=True)[0]


def dual(module: nn.Module) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(module(forward_ad.make_dual(X, torch.ones_like(X)))[0]).tangent


RUNS: dict[str, Run] = {
    "jacrev": lambda m: jacrev(output(m))(X),
    "jacfwd": lambda m: jacfwd(output(m))(X),
    "jacrev of parameters": lambda m: jacrev(of_parameters(m))(dict(m.named_parameters())),
    "jacfwd of parameters": lambda m: jacfwd(of_parameters(m))(dict(m.named_parameters())),
    "hessian": lambda m: hessian(loss(m))(X),
    "jacrev twice": lambda m: jacrev(jacrev(loss(m)))(X),
    "grad twice": lambda m: grad(lambda x: grad(loss(m))(x).sin().sum())(X),
    "jvp": lambda m: jvp(output(m), (X,), (torch.ones_like(X),))[1],
    "forward mode": dual,
    "batched": batched,
    "vectorized jacobian": lambda m: torch.autograd.functional.jacobian(output(m), X, vectorize=True),
    "vectorized hessian": lambda m: torch.autograd.functional.hessian(loss(m), X, vectorize=True),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:.*batching rule")
def test_derivatives(name: str, kind: type[nn.Module]) -> None:
    stock = getattr(nn, kind.__name__)(2, 3, dtype=torch.float64)
    fill(stock, name)
    wanted = torch.utils._pytree.tree_leaves(RUNS[name](stock))
    assert any(w.abs().max() > 1e-3 for w in wanted)
    for module in (kind(2, 3, dtype=torch.float64), Recurrent(kind.__name__.lower(), 2, 3, dtype=torch.float64)):
        module.load_state_dict(stock.state_dict())
        for got, want in zip(torch.utils._pytree.tree_leaves(RUNS[name](module)), wanted, strict=True):
            torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm_peephole", "mingru"])
def test_vmap_over_inputs_and_over_parameters(cell: str) -> None:
    module = Recurrent(cell, 2, 3, bidirectional=True)
    fill(module, cell)
    many = torch.stack([X, X + 1, X * 2]).float()
    one_by_one = [module(x)[0] for x in many]
    torch.testing.assert_close(vmap(output(module))(many), torch.stack(one_by_one), atol=0, rtol=0)
    parameters = {name: torch.stack([p, p * 2]).detach() for name, p in module.named_parameters()}
    lengths = torch.tensor([3, 1])

    def run(of: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, of, (x,), {"lengths": lengths})[0].sin().sum()

    def of(k: int) -> dict[str, Tensor]:
        return {name: p[k] for name, p in parameters.items()}

    got = vmap(grad(run), in_dims=(0, None))(parameters, many[0])
    for k in range(2):
        for name, want in grad(run)(of(k), many[0]).items():
            torch.testing.assert_close(got[name][k], want, atol=0, rtol=0)
