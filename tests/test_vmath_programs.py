"""The programs of `recurra.cells.vmath`, computed by a NumPy builder and held to their error bounds.

Run with `-s` to see the measured maxima.
"""

from __future__ import annotations

import builtins
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest

from recurra.cells import vmath

Array = np.ndarray[Any, Any]

DTYPES = ("float32", "float64")
# The largest error allowed, in ulp of the true result.
BOUNDS = {
    "float32": {"exp": 2.5, "expm1": 2.0, "tanh": 3.6, "sigmoid": 2.7, "softplus": 3.2, "erf": 3.8},
    "float64": {"exp": 2.5, "expm1": 2.7, "tanh": 4.0, "sigmoid": 3.0, "softplus": 3.3, "erf": 3.2},
}
# For float32, the longest dependent chain allowed, in cycles of CostKernel, and the most operations.
COSTS = {
    "exp": (36, 22), "expm1": (37, 25), "tanh": (33, 18), "sigmoid": (47, 24), "softplus": (56, 35),
    "erf": (37, 19),
}  # fmt: skip


class NumpyKernel:
    """The builder that computes. `fused=False` is a machine without FMA.

    The fused float32 product is exact in float64, its sum rounded twice, to 53 bits and then to 24. A float64
    product and sum are rounded to the 64 bits of an x86 longdouble on the way. Bits may differ from hardware,
    rarely; errors hardly.
    """

    def __init__(self, dtype: str, fused: bool = True) -> None:
        self.dtype = dtype
        self.fused = fused
        self.type = np.dtype(dtype).type
        self.int = np.dtype("int32" if dtype == "float32" else "int64")
        self.wide = np.float64 if dtype == "float32" else np.longdouble

    def const(self, value: builtins.float) -> Array:
        return np.asarray(self.type(value))

    def add(self, a: Array, b: Array) -> Array:
        return np.add(a, b)

    def sub(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    def mul(self, a: Array, b: Array) -> Array:
        return np.multiply(a, b)

    def div(self, a: Array, b: Array) -> Array:
        return np.divide(a, b)

    def fma(self, a: Array, b: Array, c: Array) -> Array:
        if not self.fused:
            return a * b + c
        return np.asarray(np.asarray(a, self.wide) * b + c, self.type)

    def neg(self, a: Array) -> Array:
        return np.negative(a)

    def abs(self, a: Array) -> Array:
        return np.abs(a)

    def copysign(self, magnitude: Array, sign: Array) -> Array:
        return np.copysign(magnitude, sign)

    def sqrt(self, a: Array) -> Array:
        return np.sqrt(a)

    def gt(self, a: Array, b: Array) -> Array:
        return np.greater(a, b)

    def select(self, mask: Array, a: Array, b: Array) -> Array:
        return np.where(mask, a, b)

    def bits(self, a: Array) -> Array:
        return np.asarray(a).view(self.int)

    def float(self, i: Array) -> Array:
        return np.asarray(i).view(self.type)

    def isub2(self, i: Array, j: Array) -> Array:
        return np.subtract(i, j)

    def shl(self, i: Array, n: int) -> Array:
        return np.left_shift(i, n)

    def sra(self, i: Array, n: int) -> Array:
        return np.right_shift(i, n)


class CostKernel:
    """The builder that counts: a value is the cycle at which it is ready, `operations` the instructions."""

    LATENCY: ClassVar[dict[str, int]] = {
        "add": 4, "sub": 4, "mul": 4, "fma": 4, "div": 11, "sqrt": 12, "gt": 4, "select": 2, "neg": 1,
        "abs": 1, "copysign": 1, "isub2": 1, "shl": 1, "sra": 1, "bits": 0, "float": 0,
    }  # fmt: skip

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.operations = 0

    def const(self, value: float) -> int:
        return 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        latency = self.LATENCY[name]

        def count(*arguments: int) -> int:
            self.operations += latency > 0
            values = arguments[:1] if name in ("shl", "sra") else arguments
            return max(values) + latency

        return count


def run(name: str, x: Array, fused: bool = True) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(vmath.FUNCTIONS[name](NumpyKernel(str(x.dtype), fused), x))


def truth(name: str, x: Array) -> Array:
    """The function in the next wider type: float64 for float32, longdouble for float64; erf from mpmath."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        w = x.astype(wide)
        if name == "erf":
            if wide is np.float64:
                return np.fromiter(map(math.erf, w.tolist()), float, len(w))
            with mpmath.workprec(120):
                exact = [mpmath.erf(v) for v in x.tolist()]
                return np.array([np.longdouble(float(v)) + np.longdouble(float(v - float(v))) for v in exact])
        if name == "sigmoid":
            e = np.exp(-np.abs(w))
            return np.asarray(np.where(np.greater(w, 0), 1, e) / (1 + e))
        if name == "softplus":
            return np.asarray(np.maximum(w, 0) + np.log1p(np.exp(-np.abs(w))))
        return np.asarray({"exp": np.exp, "expm1": np.expm1, "tanh": np.tanh}[name](w))


def ulps(y: Array, exact: Array) -> Array:
    """|y - exact| in units of the last place of `exact` in y's type; inf where only one of them is finite."""
    info = np.finfo(y.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        _, exponent = np.frexp(np.maximum(np.abs(exact), info.smallest_normal))
        error = np.abs(y - exact) / np.ldexp(exact.dtype.type(1), exponent - info.nmant - 1)
        special = ~np.isfinite(rounded) | ~np.isfinite(y)
        same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
        # At the edge of overflow either neighbour, inf or the largest float, may be within the bound.
        edge = np.isinf(y) & (exact.astype(float) >= info.max * (1 - 4 * info.eps)) & (exact > 0)
    return np.where(special, np.where(same | edge, 0.0, np.inf), error).astype(float)


def sample(dtype: str, name: str) -> Array:
    """Bit patterns over every float of the type, and dense grids where functions bend."""
    if dtype == "float32":
        everywhere = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
        dense = np.concatenate([np.linspace(-110, 100, 400_001), np.linspace(-4, 4, 400_001)])
    else:
        # mpmath is slow, and erf is the only one it has to judge
        n = 4_000 if name == "erf" else 150_000
        rng = np.random.default_rng(7)
        everywhere = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
        near = np.exp2(rng.uniform(-40, 10, n)) * rng.choice([-1, 1], n)
        dense = np.concatenate([near, np.linspace(-6, 6, n), np.linspace(-750, 720, n)])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan]
    return np.concatenate([everywhere, dense.astype(dtype), np.array(special, dtype)])


def worst(name: str, x: Array, fused: bool = True) -> tuple[float, float]:
    error = ulps(run(name, x, fused), truth(name, x))
    at = int(np.argmax(error))
    return float(error[at]), float(x[at])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", vmath.FUNCTIONS)
def test_error_in_ulps(name: str, dtype: str) -> None:
    x = sample(dtype, name)
    error, at = worst(name, x)
    apart, _ = worst(name, x[::4], fused=False)
    print(f"\n{name} {dtype}: {error:.2f} ulp at {at!r}, {apart:.2f} without fma")
    assert error <= BOUNDS[dtype][name]
    assert apart <= BOUNDS[dtype][name] + 0.5


@pytest.mark.parametrize("name", vmath.FUNCTIONS)
def test_cost(name: str) -> None:
    kernels = {dtype: CostKernel(dtype) for dtype in DTYPES}
    cycles = {dtype: vmath.FUNCTIONS[name](kernel, 0) for dtype, kernel in kernels.items()}
    for dtype in DTYPES:
        print(f"\n{name} {dtype}: {kernels[dtype].operations} operations, {cycles[dtype]} cycles")
    longest, most = COSTS[name]
    assert cycles["float32"] <= longest
    assert kernels["float32"].operations <= most


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype: str, fused: bool) -> None:
    inf = np.inf
    huge = float(np.finfo(dtype).max)
    x = np.array([-inf, -huge, -0.0, 0.0, huge, inf, np.nan], dtype)
    expected = {
        "exp": [0, 0, 1, 1, inf, inf],
        "expm1": [-1, -1, -0.0, 0.0, inf, inf],
        "tanh": [-1, -1, -0.0, 0.0, 1, 1],
        "erf": [-1, -1, -0.0, 0.0, 1, 1],
        "sigmoid": [0, 0, 0.5, 0.5, 1, 1],
    }
    for name, values in expected.items():
        y = run(name, x, fused)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, np.array([*values, np.nan], dtype), err_msg=name)
        np.testing.assert_array_equal(np.signbit(y[:-1]), np.signbit(values), err_msg=name)
    y = run("softplus", x, fused)
    np.testing.assert_array_equal(y[[0, 1, 4, 5, 6]], np.array([0, 0, huge, inf, np.nan], dtype))
    nans = np.array([np.nan, -np.nan], dtype)
    assert all(np.isnan(run(name, nans, fused)).all() for name in vmath.FUNCTIONS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals(dtype: str) -> None:
    """Results below the smallest normal are right to their last bit, and so are the smallest arguments'."""
    info = np.finfo(dtype)
    deep = float(np.log(np.longdouble(info.smallest_normal)))
    x = np.linspace(deep - 14, deep, 20_001).astype(dtype)
    for name in ("exp", "sigmoid", "softplus"):
        y = run(name, x)
        assert (y < info.smallest_normal).sum() > 19_000
        assert ulps(y, truth(name, x)).max() <= 1.5
    tiny = np.arange(1, 1000, dtype=dtype) * info.smallest_subnormal
    np.testing.assert_array_equal(run("expm1", tiny), tiny)
    np.testing.assert_array_equal(run("expm1", -tiny), -tiny)
    for name, slope in (("tanh", 1.0), ("erf", 2 / math.sqrt(math.pi))):
        wide = tiny.astype(np.float64 if dtype == "float32" else np.longdouble)
        assert ulps(run(name, tiny), slope * wide).max() <= 1.5


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_and_never_beyond_one(dtype: str, fused: bool) -> None:
    """1 - y^2 and 1 - y are factors of gradients: they must not turn negative."""
    for name, one in (("tanh", 9.02), ("erf", 3.93), ("sigmoid", 17.4)):
        one *= 1.0 if dtype == "float32" else 2.12 if name != "erf" else 1.5
        x = np.linspace(one / 2, one * 1.1, 500_001).astype(dtype)
        y = run(name, x, fused)
        assert y.max() == 1
        if name != "sigmoid":
            np.testing.assert_array_equal(run(name, -x, fused), -y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", vmath.FUNCTIONS)
def test_a_planted_fault_is_caught(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coefficient wrong by one part in 10^5 (10^13) must break the bound of every function that uses it."""
    table = vmath._TABLES[dtype]
    off = 1e-5 if dtype == "float32" else 1e-13
    field = {"tanh": "tanh", "erf": "erf", "softplus": "log1p"}.get(name, "exp")
    fit = getattr(table, field)
    p = fit if field == "exp" else fit[0]
    perturbed = (p[0] * (1 + off), *p[1:])
    wrong: Any = perturbed if field == "exp" else (perturbed, fit[1])
    monkeypatch.setitem(vmath._TABLES, dtype, dataclasses.replace(table, **{field: wrong}))
    assert worst(name, sample(dtype, name))[0] > BOUNDS[dtype][name]
