"""Ill-formed cells: each error names the line and the cure, and reading text runs no code."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest

from recurra.cells import cell, from_text, get, product, sigmoid, tanh
from recurra.errors import CellError

# ruff: noqa: F821  (the equations are wrong on purpose)


def unknown_name(x, h):
    return tanhh(x.n + h.n)  # here: name 'tanhh' is not defined; the symbols here are x, h, the words


def never_returned(x, h, c):
    return tanh(x.n + h.n)  # here: returns 1 of its states h, c: c is never returned; end with: return h, c


def too_many(x, h):
    return tanh(x.n + h.n), h  # here: there are more values than states; end with: return h


def returns_nothing(x, h):
    tanh(x.n + h.n)


def product_of_a_product(x, h):
    n = tanh(x.n + product(sigmoid(h.z) * h).n)
    return product(n).m + h  # here: is a product of a product.*make the inner product a gate of a state, as in h.n


def branch(x, h):
    if x.n > 0:  # here: a symbol has no truth value.*use where\(a > b, p, q\)
        return h
    return tanh(x.n + h.n)


def conjunction(x, h):
    return (x.n > 0) and h  # here: `and`.*use where\(a > b, p, q\)


def largest(x, h):
    return max(x.n, h.n)  # here: `max`.*maximum\(a, b\)


def equality(x, h):
    return tanh(x.n) * (h == 0)  # here: `==`.*use where


def at_least(x, h):
    return h >= 0  # here: `>=`.*use where


def bare_input(x, h):
    return tanh(x + h.n)  # here: `x` alone has input_size features.*name a gate, as in x.n


def bare_input_in_a_word(x, h):
    return tanh(x)  # here: `x` alone has input_size features.*name a gate, as in x.n


def bare_input_on_the_right(x, h):
    return h.n - x  # here: `x` alone has input_size features.*name a gate, as in x.n


def bare_product(x, h):
    return tanh(x.n + product(2 * h))  # here: product\(v\) alone is not a value: name the gate, as in product\(v\).n


def bare_product_in_a_word(x, h):
    return tanh(product(2 * h))  # here: product\(v\) alone is not a value: name the gate, as in product\(v\).n


def numpy_function(x, h):
    return np.tanh(x.n + h.n)  # here: equations are built from \+ - \* / and the words tanh, sigmoid


def numpy_choice(x, h):
    return np.where(x.n > h.n, x.n, h.n)  # here: use where\(a > b, p, q\)


def numpy_limits(x, h):
    return np.clip(h, 0, 1)  # here: the words .*clip


def math_function(x, h):
    return math.tanh(x.n)  # here: equations are built from .* and the words tanh


def two_operands(x, h):
    z = sigmoid(x.z + h.z)
    return h.n + product(z * h).n  # here: the gate 'n' multiplies both h and .* give the second product a gate name


def two_states_one_gate(x, h, c):
    return h.n + c.n, c  # here: the gate 'n' multiplies both h and c.* give the second product a gate name


def mixed_projection(x, h, c):
    c = tanh(x.c + h.c) + h * c
    return product(c).h, c  # here: `h \* c` mixes units with h, .*only products such as h.i may use it


def projection_beside_another_product(x, h, c):
    c = tanh(x.c + c.c)
    return product(c).h, c  # here: projects h and also multiplies c: beside a projection only h itself


def infinite(x, h):
    return x.n * float("inf")  # here: inf of type float stands where a symbol or a finite number belongs


def not_a_number(x, h):
    return x.n + np.nan  # here: nan of type float stands where a symbol or a finite number belongs


def array_constant(x, h):
    return tanh(x.n) * np.ones(3)  # here: equations are built from|stands where a symbol


def word_without_arguments(x, h):
    return tanh * h  # here: call functions with their arguments


def fractional_power(x, h):
    return tanh(x.n) ** 0.5  # here: the exponent 0.5, expected a whole number of at least 1: write sqrt\(a\)


def negative_power(x, h):
    return tanh(x.n) ** -1  # here: the exponent -1, expected a whole number of at least 1: write sqrt\(a\), 1 / a


def attribute_of_a_value(x, h):
    z = tanh(x.z)
    return z.n  # here: 'n'.*equations are built from


def a_number(x, h):
    return 0.5  # here: returns float, expected the new value of each of its states: return h


ILL_FORMED = [
    f for n, f in list(globals().items()) if inspect.isfunction(f) and f.__module__ == __name__ and n[0] != "_"
]


@pytest.mark.parametrize(
    "function", [f for f in ILL_FORMED if "# here" in inspect.getsource(f)], ids=lambda f: f.__name__
)
def test_the_error_names_the_line_and_the_cure(function: Callable[..., object]) -> None:
    lines, first = inspect.getsourcelines(function)
    at = next(i for i, line in enumerate(lines) if "# here: " in line)
    code, cure = (part.strip() for part in lines[at].split("# here: "))
    with pytest.raises(CellError, match=cure) as caught:
        cell(function)
    assert str(caught.value).startswith(f"{function.__name__} ({__file__}, line {first + at}: `{code}")


def test_no_return_and_no_state() -> None:
    with pytest.raises(
        CellError, match=rf"returns_nothing \({__file__}, line \d+.*returns NoneType, expected .* return h"
    ):
        cell(returns_nothing)
    for function in (lambda x: tanh(x.n), lambda: 0):
        with pytest.raises(CellError, match=r"a cell takes the input and at least one state: def "):
            cell(function)


def test_an_error_deep_in_a_function_of_the_user_names_the_line_of_the_cell() -> None:
    def helper(a):
        return a**0.5

    def calls(x, h):
        return helper(x.n)  # the line

    with pytest.raises(CellError, match=r"calls \(.*`return helper\(x\.n\)  # the line`\).*whole number"):
        cell(calls)


def test_tracing_ends_with_an_error_too() -> None:
    """After an ill-formed cell, symbols can be compared again."""
    with pytest.raises(CellError):
        cell(branch)
    node = get("rnn").next[0]
    assert node == node


OUTSIDE = {
    "import": "    import os\n    return tanh(x.n + h.n)",
    "call of a builtin": "    return __import__('os').system('touch {0}')",
    "open": "    a = open('{0}', 'w')\n    return tanh(x.n + h.n)",
    "call of unknown": "    return tan(x.n)",
    "call of an attribute": "    return tanh.__call__(x.n)",
    "lambda": "    f = lambda a: a\n    return tanh(x.n)",
    "comprehension": "    a = [open('{0}', 'w') for i in (1,)]\n    return tanh(x.n)",
    "class": "    a = h.__class__\n    return tanh(x.n + h.n)",
    "class of x": "    a = x.__class__\n    return tanh(x.n + h.n)",
    "slot": "    a = h._args\n    return tanh(x.n + h.n)",
    "globals": "    a = tanh.__globals__\n    return tanh(x.n + h.n)",
    "attribute of a word": "    a = tanh.n\n    return tanh(x.n + h.n)",
    "attribute of a number": "    return tanh(x.n) - (2).real",
    "attribute of a value": "    a = tanh(x.n)\n    return a.n",
    "string": "    a = 'text'\n    return tanh(x.n)",
    "keyword": "    return tanh(a=x.n)",
    "starred": "    return tanh(*(x.n,))",
    "subscript": "    return tanh(x['n'])",
    "division by zero": "    a = 1 / 0\n    return tanh(x.n)",
    "huge number": "    return tanh(x.n) * 1" + "0" * 400,
    "huge power": "    a = 10.0 ** 400\n    return tanh(x.n)",
    "too few arguments": "    return maximum(x.n)",
    "loop": "    for i in (1, 2):\n        h = tanh(h)\n    return h",
    "condition": "    return x.n if h > 0 else h",
    "walrus": "    return tanh((a := x.n))",
    "unpacking": "    a, b = x.n, x.m\n    return a",
    "several targets": "    a = b = tanh(x.n)\n    return a",
    "nothing": "    pass",
    "empty return": "    return",
    "infinity": "    return x.n * 1e999",
    "wrong gates": "    return h.n + product(x.z * h).n",
}


@pytest.mark.parametrize("body", OUTSIDE)
def test_text_outside_the_language_is_refused(body: str, tmp_path) -> None:
    trace = tmp_path / "ran"
    with pytest.raises(CellError):
        from_text("def evil(x, h):\n" + OUTSIDE[body].replace("{0}", str(trace)))
    assert not trace.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(x, h:",
        "import os",
        "x = 1",
        "lambda x, h: h",
        "def f():\n    return 1",
        "def f(x, h):\n    return h\nimport os",
        "class f:\n    x = 1",
        "async def f(x, h):\n    return h",
        "def f(x, h=open('{0}', 'w')):\n    return tanh(x.n + h.n)",
        "def f(x, h, *more):\n    return tanh(x.n + h.n)",
        "def f(x, h, **more):\n    return tanh(x.n + h.n)",
        "def f(x, h, *, p=open('{0}', 'w')):\n    return tanh(x.n + h.n)",
        "@open('{0}', 'w').write\ndef f(x, h):\n    return tanh(x.n + h.n)",
        "def f(x, h) -> open('{0}', 'w'):\n    return tanh(x.n + h.n)",
        "\0",
        "def f(x):\n    return tanh(x.n)",
    ],
)
def test_text_that_is_not_one_plain_function_is_refused(text: str, tmp_path) -> None:
    trace = tmp_path / "ran"
    with pytest.raises(CellError):
        from_text(text.replace("{0}", str(trace)))
    assert not trace.exists()


def test_an_error_in_text_names_its_line() -> None:
    with pytest.raises(
        CellError, match=r"f, line 3: `n = tanh\(x\.n \+ q\)`: the name 'q' is unknown; known here: .*tanh"
    ):
        from_text("def f(x, h):\n    z = sigmoid(x.z)\n    n = tanh(x.n + q)\n    return n")
    with pytest.raises(CellError, match=r"does not parse, line 2"):
        from_text("def f(x, h):\n    return tanh(")
