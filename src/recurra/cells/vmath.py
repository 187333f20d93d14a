"""Elementary functions for SIMD vectors, each written once as a straight-line program over a builder.

A builder (`Kernel`) may print C++ or LLVM IR, or compute with NumPy: the same program in the same order gives
the same bits everywhere. There are no branches, only selects, and every call is at most one machine
operation.

Arguments out of range are mended by a select at the *end* of a program, never by a clamp at its start: the
comparison then runs beside the polynomial, not in front of it, and a NaN, greater than nothing, passes.

The errors stated are the largest measured, in ulp of the result, subnormal results included: for float32 on
every 2nd (tanh), 4th (exp) or 16th float with 0.004 < |x| < 110 and every 4099th elsewhere, for float64 on
some 10^6 points (erf: 50,000). Without FMA they grow by about half an ulp.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Value: TypeAlias = Any  # a float vector, a mask, or an integer vector, as the builder represents it
Mask: TypeAlias = Any
Int: TypeAlias = Any


class Kernel(Protocol):
    """What a program may use. Integers have the float's width and wrap; nothing traps or reads flags."""

    dtype: str  # "float32" or "float64"

    # fmt: off
    def const(self, value: builtins.float) -> Value: """The constant, rounded to dtype, in every lane."""
    def add(self, a: Value, b: Value) -> Value: """a + b."""
    def sub(self, a: Value, b: Value) -> Value: """a - b."""
    def mul(self, a: Value, b: Value) -> Value: """a * b."""
    def div(self, a: Value, b: Value) -> Value: """a / b, correctly rounded."""
    def fma(self, a: Value, b: Value, c: Value) -> Value: """a * b + c rounded once (twice without FMA)."""
    def neg(self, a: Value) -> Value: """-a."""
    def abs(self, a: Value) -> Value: """|a|."""
    def copysign(self, magnitude: Value, sign: Value) -> Value: """|magnitude| with the sign bit of sign."""
    def sqrt(self, a: Value) -> Value: """Square root, correctly rounded."""
    def gt(self, a: Value, b: Value) -> Mask: """a > b, false where either is NaN."""
    def select(self, mask: Mask, a: Value, b: Value) -> Value: """a where mask, else b."""
    def bits(self, a: Value) -> Int: """The float's bits as an integer."""
    def float(self, i: Int) -> Value: """The integer's bits as a float."""
    def isub2(self, i: Int, j: Int) -> Int: """i - j, wrapping."""
    def shl(self, i: Int, n: int) -> Int: """i shifted left by n, high bits dropped."""
    def sra(self, i: Int, n: int) -> Int: """i shifted right by n, keeping the sign."""
    # fmt: on


_Rational: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class _Table:
    """Constants of one dtype. Polynomials list their coefficients from the constant term up."""

    mantissa: int  # explicit bits of the significand
    magic: float  # adding 1.5 * 2^mantissa rounds to an integer; 2 * bias on top biases two half exponents
    top_power: float  # 2^bias, the largest power of two
    ln2_hi: float  # short enough that n * ln2_hi is exact for every exponent n, with or without FMA
    ln2_lo: float
    exp_low: float  # below it exp is 0
    exp_high: float  # above it exp is inf
    expm1_low: float  # below it expm1 is -1
    tanh_one: float  # above it tanh is 1, to 2.07 ulp; likewise erf
    erf_one: float
    exp: tuple[float, ...]  # e^r = 1 + r + r^2 exp(r) on |r| <= ln2 / 2, fitted for the error of e^r - 1
    log1p: _Rational  # log1p(e) = e + e^2 P(e) / Q(e) on [0, 1]; an empty Q is 1
    tanh: _Rational  # tanh(x / 2) = x P(x^2) / Q(x^2), |x| <= tanh_one
    erf: _Rational  # tanh(artanh(erf x) / 2), likewise


# Fitted for this file with 50 to 90-digit mpmath: weighted least squares of P - F Q on Chebyshev nodes, each
# of some 20 rounds dividing by the last Q and multiplying the weights by the error left at the node (Lawson),
# which tends to the minimax fit of the result's relative error; then rounded to dtype. The fits of tanh and
# erf are weighted by what the result feels of them, (1 - t^2) / (1 + t^2); their coefficients are positive,
# so nothing cancels. tanh's P and Q are both scaled by 7/8: at x just above a power of two, where tanh x lies
# just below it and its ulp is small, N, D, their product and their squares' sum then lie below powers of two
# as well, and round as finely (3.5 ulp instead of 4.7, for one multiply beside the path). Fit errors are
# relative, before rounding to dtype.
# fmt: off
_TABLES = {
    "float32": _Table(
        mantissa=23,
        magic=1.5 * 2.0**23 + 254,
        top_power=2.0**127,
        ln2_hi=0.693145751953125,
        ln2_lo=1.4286068e-06,
        exp_low=-104.0,
        exp_high=88.73,
        expm1_low=-18.0,
        tanh_one=8.3,
        erf_one=3.74,
        # fit errors: exp 1.3e-8, log1p 3.3e-8, tanh 3e-9 near 0, 1e-8 elsewhere, erf 3.5e-8
        exp=(0.49999997, 0.16666543, 0.041667204, 0.008366577, 0.0013882405),
        log1p=(
            (-0.49999648, 0.3332132, -0.24857147, 0.19153583, -0.13753633, 0.079202406, -0.030064419,
             0.0053644683),
            (),
        ),
        tanh=((0.875, 0.026111256, 0.00010124618), (1.75, 0.19805583, 0.0021238413, 2.2041204e-06)),
        erf=(
            (1.0, 0.26363137, 0.028614467, 0.0022527317),
            (1.7724538, 0.49390492, 0.08589685, 0.0107252, 0.00017542768),
        ),
    ),
    "float64": _Table(
        mantissa=52,
        magic=1.5 * 2.0**52 + 2046,
        top_power=2.0**1023,
        ln2_hi=0.6931471805598903,
        ln2_lo=5.497923018708371e-14,
        exp_low=-746.0,
        exp_high=709.79,
        expm1_low=-38.0,
        tanh_one=18.35,
        erf_one=5.8,
        # fit errors: exp 1.8e-17, log1p 7.7e-18, tanh 9.3e-18, erf 1.0e-17
        exp=(
            0.5000000000000006, 0.1666666666666659, 0.04166666666657665, 0.008333333333388742,
            0.001388888893158046, 0.00019841269720753319, 2.4801505267164034e-05, 2.7557405969248118e-06,
            2.7626037202252053e-07, 2.505427770953252e-08,
        ),
        log1p=(
            (-0.5, -1.1456686653813206, -0.9276428049900983, -0.31746289007016093, -0.042718448638397105,
             -0.001581086174204022),
            (1.0, 2.958003997429183, 3.327288274939473, 1.774115964584716, 0.4544050033553875,
             0.049669111239564606, 0.0016045869067522743),
        ),
        tanh=(
            (0.875, 0.031895468086279646, 0.0002786504267947963, 8.520181819822855e-07,
             9.673420080341924e-10, 3.4201701526836256e-13, 1.6777626819397756e-17),
            (1.75, 0.20962426950589252, 0.003442656645747491, 1.741762207149516e-05, 3.2638121830587074e-08,
             2.1560537026625927e-11, 3.4566915479951908e-15),
        ),
        erf=(
            (1.0, 0.3114960345676014, 0.08730890228969138, 0.012756585746784298, 0.0016896154279194859,
             0.0001342274875888889, 1.0408668762644103e-05, 4.5647143839373277e-07, 2.1725706490153093e-08,
             4.8853831651721e-10, 1.543916139022149e-11, 7.954560786626534e-14),
            (1.772453850905516, 0.5787407127652229, 0.19121563480013468, 0.032233779552129645,
             0.005049849644041527, 0.00047109687921075217, 4.122030812460446e-05, 2.075150663211742e-06,
             1.1327757545571514e-07, 3.0816552413442564e-09, 9.80575433684466e-11, 1.4961310458835559e-12,
             1.793909442720084e-15),
        ),
    ),
}
# fmt: on


def _polynomial(k: Kernel, coefficients: Sequence[float], powers: list[Value]) -> Value:
    """Estrin's scheme. `powers` starts as [y]; y^2, y^4, ... are appended as needed, for the next call."""
    terms = [k.const(c) for c in coefficients]
    level = 0
    while len(terms) > 1:
        if level == len(powers):
            powers.append(k.mul(powers[-1], powers[-1]))
        y = powers[level]
        if len(terms) == 3:  # Horner here is as short as Estrin, and saves a square
            return k.fma(y, k.fma(y, terms[2], terms[1]), terms[0])
        pairs = [k.fma(y, high, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        level += 1
    return terms[0]


def _half_angle(k: Kernel, x: Value, fit: _Rational, one: float) -> Value:
    """2 t / (1 + t^2), the odd function whose half t is the rational N / D; +-1 where |x| > one.

    Its slope in t vanishes towards +-1, and so does what is felt of the errors of N and D; a plain odd
    rational, as long, errs by 5 ulp and exceeds 1. This one cannot: at `one` the truth is 2.07 u below 1 (u =
    2^-24 or 2^-53), the product and the sum err by 2.5 u (3 without FMA), and the quotient of less than 1 + u
    rounds to 1.
    """
    p, q = fit
    powers = [k.mul(x, x)]
    first = x if p[0] == 1.0 else k.mul(x, k.const(p[0]))
    n = k.fma(k.mul(x, powers[0]), _polynomial(k, p[1:], powers), first)
    d = _polynomial(k, q, powers)
    y = k.div(k.mul(n, k.add(d, d)), k.fma(d, d, k.mul(n, n)))
    return k.select(k.gt(k.abs(x), k.const(one)), k.copysign(k.const(1.0), x), y)


def _log1p(k: Kernel, e: Value) -> Value:
    """log(1 + e) for 0 <= e <= 1; the lone e keeps tiny arguments exact, and the quotient's errors small."""
    p, q = _TABLES[k.dtype].log1p
    square = k.mul(e, e)
    powers = [e, square]
    ratio = _polynomial(k, p, powers)
    if q:
        ratio = k.div(ratio, _polynomial(k, q, powers))
    return k.fma(square, ratio, e)


@dataclass(frozen=True)
class _Reduced:
    """x = n ln2_hi + r, and 2^n = scale * scale2: in two steps, for subnormals and the largest floats.

    e^x = e^r 2^n (1 - n ln2_lo), its last factor put on a scale, off the critical path (`_corrected`).
    """

    r: Value
    n: Value
    scale: Value
    scale2: Value


def _reduce(k: Kernel, x: Value) -> _Reduced:
    t = _TABLES[k.dtype]
    magic = k.const(t.magic)
    shifted = k.fma(x, k.const(1.4426950408889634), magic)
    n = k.sub(shifted, magic)
    r = k.fma(n, k.const(-t.ln2_hi), x)
    # The low bits of `shifted` are n + 2 bias; half of that is a biased exponent, and so is the other half.
    both = k.bits(shifted)
    half = k.sra(both, 1)
    scale = k.float(k.shl(half, t.mantissa))
    scale2 = k.float(k.shl(k.isub2(both, half), t.mantissa))
    return _Reduced(r, n, scale, scale2)


def _corrected(k: Kernel, n: Value, power: Value, ln2_lo: float) -> Value:
    """power * e^(n ln2_lo): the square of n ln2_lo, left out, is below a quarter of an ulp."""
    return k.fma(k.mul(n, k.const(ln2_lo)), power, power)


def _times_exp(k: Kernel, r: Value, scale: Value, constant: Value) -> Value:
    """scale * (e^r - 1) + constant, as constant + r scale + r^2 scale polynomial(r)."""
    powers = [r, k.mul(r, r)]
    head = k.fma(r, scale, constant)
    return k.fma(k.mul(powers[1], scale), _polynomial(k, _TABLES[k.dtype].exp, powers), head)


def _exp(k: Kernel, x: Value) -> Value:
    """e^x where it is a float, normal or not, or just beyond."""
    t = _TABLES[k.dtype]
    z = _reduce(k, x)
    scale = _corrected(k, z.n, z.scale, -t.ln2_lo)
    return k.mul(_times_exp(k, z.r, scale, scale), z.scale2)


def _reciprocal(k: Kernel, power: Value) -> Value:
    """1 / power for a power of two, by subtracting exponents."""
    top = k.bits(k.const(_TABLES[k.dtype].top_power))
    return k.float(k.isub2(top, k.bits(power)))


def exp(k: Kernel, x: Value) -> Value:
    """e^x = 2^n (1 + r + r^2 p(r)), Cody-Waite reduction. Error 2.1 ulp in float32, 1.9 in float64."""
    t = _TABLES[k.dtype]
    y = _exp(k, x)
    y = k.select(k.gt(x, k.const(t.exp_high)), k.const(float("inf")), y)
    return k.select(k.gt(k.const(t.exp_low), x), k.const(0.0), y)


def expm1(k: Kernel, x: Value) -> Value:
    """e^x - 1, as exp, with 2^n - 1 exact where it matters. Error 1.7 ulp in float32, 2.3 in float64."""
    t = _TABLES[k.dtype]
    z = _reduce(k, x)
    scale = _corrected(k, z.n, z.scale, -t.ln2_lo)
    constant = k.sub(scale, _reciprocal(k, z.scale2))
    y = k.mul(_times_exp(k, z.r, scale, constant), z.scale2)
    y = k.select(k.gt(x, k.const(t.exp_high)), k.const(float("inf")), y)
    y = k.select(k.gt(k.const(t.expm1_low), x), k.const(-1.0), y)
    return k.copysign(y, x)  # for -0


def tanh(k: Kernel, x: Value) -> Value:
    """tanh x, never beyond +-1, by `_half_angle`. Error 3.5 ulp in float32, 3.7 in float64."""
    t = _TABLES[k.dtype]
    return _half_angle(k, x, t.tanh, t.tanh_one)


def erf(k: Kernel, x: Value) -> Value:
    """erf x, never beyond +-1, by `_half_angle`. Error 3.6 ulp in float32, 3.0 in float64."""
    t = _TABLES[k.dtype]
    return _half_angle(k, x, t.erf, t.erf_one)


def sigmoid(k: Kernel, x: Value) -> Value:
    """1 / (1 + e^-x), never beyond [0, 1]. Error 2.5 ulp in float32, 2.7 in float64.

    With e^x = a b and a, b both near e^(x/2), it is a / (a + 1/b): neither overflows nor underflows, so one
    division serves both tails, subnormal results included, and no sign is looked at.
    """
    t = _TABLES[k.dtype]
    z = _reduce(k, x)
    a = _times_exp(k, z.r, z.scale, z.scale)
    y = k.div(a, k.add(a, _corrected(k, z.n, _reciprocal(k, z.scale2), t.ln2_lo)))
    y = k.select(k.gt(x, k.const(-t.exp_low)), k.const(1.0), y)
    return k.select(k.gt(k.const(t.exp_low), x), k.const(0.0), y)


def softplus(k: Kernel, x: Value) -> Value:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|). Error 3.0 ulp in float32, 3.1 in float64."""
    t = _TABLES[k.dtype]
    magnitude = k.abs(x)
    e = _exp(k, k.neg(magnitude))
    tail = k.select(k.gt(magnitude, k.const(-t.exp_low)), k.const(0.0), _log1p(k, e))
    return k.add(k.select(k.gt(x, k.const(0.0)), x, k.const(0.0)), tail)


FUNCTIONS: dict[str, Callable[[Kernel, Value], Value]] = {
    "exp": exp,
    "expm1": expm1,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "erf": erf,
}
