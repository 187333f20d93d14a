"""Any cell on a GPU beside cuDNN, JAX and a loop in torch: `python -m benchmarks.gpu [--only WORD]`.

Forward and backward in milliseconds, the median of some rounds, and how often as long as cuDNN's GRU at that size. Each
is checked against the equations run as torch operations before it is timed. Without a GPU it says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn

from benchmarks import parallel
from benchmarks.report import console
from benchmarks.torch_layers import Loop
from recurra.cells import cell, product, sigmoid, tanh
from recurra.torch import GRU, LSTM, Recurrent

# Rows, steps, units: as many inputs as units.
SIZES = ((32, 100, 128), (64, 256, 512), (16, 1024, 768))
ROUNDS, WARM = 10, 3
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 5e-2}


@cell(source="benchmarks: a GRU as a user writes it")
def own_gru(x, h):  # type: ignore[no-untyped-def]
    r = sigmoid(x.r + h.r)
    z = sigmoid(x.z + h.z)
    n = tanh(x.n + product(r * h).n)
    return (1 - z) * n + z * h


def own_step(x: Tensor, u: Tensor, states: list[Tensor], _: dict[str, Tensor]) -> list[Tensor]:
    """The GRU with the reset after the product, as a step of a loop."""
    (h,) = states
    (r, z, n), (s, y, m) = x.chunk(3, 1), u.chunk(3, 1)
    r, z = torch.sigmoid(r + s), torch.sigmoid(z + y)
    return [(1 - z) * torch.tanh(n + r * m) + z * h]


def ours(of: Any, H: int) -> nn.Module:
    return Recurrent(of, H, H, device="cuda")


def compiled_loop(H: int) -> nn.Module:
    return torch.compile(Loop(Recurrent("gru", H, H, device="cuda"), own_step))  # type: ignore[return-value]


MODULES: dict[str, Callable[[int], nn.Module]] = {
    "torch.nn.GRU (cuDNN)": lambda H: nn.GRU(H, H, device="cuda"),
    "recurra.torch.GRU": lambda H: GRU(H, H, device="cuda"),
    "torch.nn.LSTM (cuDNN)": lambda H: nn.LSTM(H, H, device="cuda"),
    "recurra.torch.LSTM": lambda H: LSTM(H, H, device="cuda"),
    "Recurrent, a user's GRU": partial(ours, own_gru),
    "Recurrent, gru": partial(ours, "gru"),
    "Recurrent, lstm": partial(ours, "lstm"),
    "Recurrent, lstm_peephole": partial(ours, "lstm_peephole"),
    "a loop in torch, gru": lambda H: Loop(Recurrent("gru", H, H, device="cuda"), own_step),
    "torch.compile of it": compiled_loop,
}
HALF = ("torch.nn.GRU (cuDNN)", "Recurrent, a user's GRU", "Recurrent, gru", "Recurrent, lstm")


def milliseconds(run: Callable[[], Any]) -> float:
    """The median time of a call, the device's work included."""
    times = []
    for _ in range(WARM + ROUNDS):
        torch.cuda.synchronize()
        before = perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((perf_counter() - before) * 1e3)
    return float(np.median(times[WARM:]))


def training(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward of one batch."""
    d = torch.randn_like(module(x)[0])

    def run() -> None:
        module.zero_grad()
        torch.autograd.backward(module(x)[0], d)

    return run


def check(module: nn.Module, x: Tensor) -> None:
    """Raise unless a layer's output is that of its equations."""
    if isinstance(module, Recurrent):
        same = Recurrent(module.cell, x.shape[-1], x.shape[-1], backend="equations", device="cuda", dtype=x.dtype)
        same.load_state_dict(module.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(module(x)[0], same(x)[0], rtol=0, atol=TOLERANCE[x.dtype])


def jax_scan(B: int, T: int, H: int) -> float | None:
    """Milliseconds of `jax.lax.scan` over a GRU with the reset before the product; None without JAX on the GPU."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    if jax.default_backend() != "gpu":
        return None
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    W, U = (jax.random.normal(k, (3, H, H)) / H**0.5 for k in keys[:2])
    x = jax.random.normal(keys[2], (T, B, H))

    def loss(weights: Any, x: Any) -> Any:
        W, U = weights
        inputs = jnp.einsum("tbi,ghi->tgbh", x, W)

        def step(h: Any, g: Any) -> Any:
            r, z = (jax.nn.sigmoid(g[k] + h @ U[k].T) for k in (0, 1))
            h = (1 - z) * jnp.tanh(g[2] + (r * h) @ U[2].T) + z * h
            return h, h

        return jnp.square(jax.lax.scan(step, jnp.zeros((B, H)), inputs)[1]).mean()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return milliseconds(lambda: jax.block_until_ready(gradient((W, U), x)))


def table(dtype: torch.dtype, names: tuple[str, ...], only: str) -> Table:
    """A row for each layer, a column for each size."""
    found = Table(str(dtype).removeprefix("torch."), *(f"B {B}, T {T}, H {H}" for B, T, H in SIZES))
    first: dict[int, float] = {}
    for name in names:
        if only not in name:
            continue
        row = []
        for k, (B, T, H) in enumerate(SIZES):
            module, x = MODULES[name](H).to(dtype), torch.randn(T, B, H, device="cuda", dtype=dtype)
            if SIZES[0][1] < T and ("loop" in name or "compile" in name):
                row.append("-")
                continue
            check(module, x)
            took = milliseconds(training(module, x))
            row.append(f"{took:.2f} ({took / first.setdefault(k, took):.2f})")
        found.add_row(name, *row)
    if dtype == torch.float32 and only in "jax.lax.scan":
        took_by_jax = [jax_scan(*size) for size in SIZES]
        found.add_row("jax.lax.scan, GRU", *("-" if t is None else f"{t:.2f}" for t in took_by_jax))
    return found


def main(only: str = "") -> None:
    """Print the tables of float32 and bfloat16, and that of sequences in parallel over time."""
    out = console()
    if not torch.cuda.is_available():
        out.print("not measured on a GPU: torch finds no CUDA here")
        return
    out.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; milliseconds (times the first row's)")
    out.print(table(torch.float32, tuple(MODULES), only))
    out.print(table(torch.bfloat16, HALF, only))
    parallel.main("cuda", rounds=3)


if __name__ == "__main__":
    typer.run(main)
