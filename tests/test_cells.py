"""The language: what a cell knows of itself, its text, its options and its LaTeX."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings

from expressions import random_cells
from helpers import ALL_CELLS, ZOO, generator, random_state, random_weights
from recurra import cells, reference
from recurra.cells import Cell, cell, from_text, gelu, get, identity, names, product, relu, sigmoid, softsign, tanh
from recurra.errors import CellError
from recurra.weights import Weights

ZOO_TABLE = {
    "rnn": ("h", "n", ""),
    "rnn_relu": ("h", "n", ""),
    "lstm": ("h c", "i f g o", ""),
    "lstm_peephole": ("h c", "i f g o", "p.i p.f p.o"),
    "lstm_coupled": ("h c", "i g o", ""),
    "lstm_projected": ("h c", "i f g o", ""),
    "gru": ("h", "r z n", ""),
    "gru_reset_before": ("h", "r z n", ""),
    "mgu": ("h", "f n", ""),
    "indrnn": ("h", "n", "u"),
    "mingru": ("h", "z n", ""),
    "minlstm": ("h", "f i n", ""),
    "ugrnn": ("h", "g n", ""),
    "gru_d": ("h", "k r z n", ""),
    "rg_lru": ("h", "r i n", "decay"),
    "gru_diagonal": ("h", "z r n", "u.z u.r u.n"),
    "lstm_diagonal": ("h c", "f g o", "u.f u.g u.o p.f p.o"),
}


def test_the_zoo_is_complete() -> None:
    assert names() == tuple(ZOO_TABLE)
    assert tuple(c.name for c in ZOO) == names()


@pytest.mark.parametrize("name", ZOO_TABLE)
def test_states_gates_and_parameters(name: str) -> None:
    found = get(name)
    states, gates, parameters = (words.split() for words in ZOO_TABLE[name])
    assert (list(found.states), list(found.gates), list(found.parameters)) == (states, gates, parameters)
    assert get(found) is found
    assert any(year in found.source for year in map(str, range(1990, 2026)))


def test_input_and_recurrent_gates() -> None:
    assert (get("mingru").input_gates, get("mingru").recurrent_gates) == (("z", "n"), ())
    assert (get("indrnn").input_gates, get("indrnn").recurrent_gates) == (("n",), ())
    assert get("lstm_projected").recurrent_gates == ("i", "f", "g", "o")
    projects = [c.name for c in ZOO if c.projection is not None]
    assert projects == ["lstm_projected"]


def test_no_such_cell() -> None:
    with pytest.raises(CellError, match=r"'lsmt'; the zoo has rnn, .*lstm, .*@recurra\.cell"):
        get("lsmt")


def test_gates_that_are_not_used_are_no_gates() -> None:
    @cell
    def wasteful(x, h, *, p, q):
        sigmoid(x.w + h.v + p.a * q)
        return tanh(x.n + h.n) + p.b

    assert (wasteful.gates, wasteful.parameters) == (("n",), ("p.b",))


@pytest.mark.parametrize("one", ALL_CELLS, ids=lambda c: c.name)
def test_the_text_is_the_cell(one: Cell) -> None:
    for again in (from_text(one.text), pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert again == one
        assert all(a is b for a, b in zip(again.next, one.next, strict=True))
        assert (again.states, again.gates, again.parameters, again.source) == (
            one.states,
            one.gates,
            one.parameters,
            one.source,
        )
        assert (again.projection is None) == (one.projection is None)
        assert hash(again) == hash(one)


def test_order_of_gates_and_parameters_outlives_text() -> None:
    @cell
    def backwards(x, h, *, p):
        a, b = x.o + h.o, x.i + h.i + p.z
        return sigmoid(b) * tanh(a + p.a) + tanh(x.last) * relu(h.middle)

    @cell
    def nested(x, h):
        late = h.late
        first = tanh(x.first + h.first)
        return tanh(x.second + product(first * h).third) * first + late

    assert backwards.gates == ("o", "i", "last", "middle")
    assert backwards.parameters == ("p.z", "p.a")
    assert nested.gates == ("late", "first", "second", "third")
    for one in (backwards, nested):
        again = from_text(one.text)
        assert (again.gates, again.parameters, again.next) == (one.gates, one.parameters, one.next)


def test_names_of_gates_that_are_words_or_states() -> None:
    @cell
    def awkward(x, h, v1, *, first_0):
        a = tanh(x.h + h.h) + softsign(x.abs)
        b = sigmoid(x.tanh + h.sigmoid) * first_0.where
        return a * b + sigmoid(x.v1) * h, tanh(v1.c_new) * (a * b)

    again = from_text(awkward.text)
    assert (again.gates, again.next) == (awkward.gates, awkward.next)


def test_symbols_may_have_names_of_their_own() -> None:
    @cell
    def renamed(u, first, *, first_0):
        return tanh(u.n + first.n) * first_0

    assert from_text(renamed.text).next == renamed.next


@pytest.mark.parametrize("name", ["x", "tanh", "abs"])
def test_a_state_cannot_take_a_name_with_a_meaning(name: str) -> None:
    namespace = {}
    exec(f"def taken(u, {name}):\n    return {name} * 0.5", namespace)
    with pytest.raises(CellError, match=f"'{name}' cannot name a state.*rename it"):
        cell(namespace["taken"])


@pytest.mark.parametrize("name", ["W", "U", "b", "c_", "R"])
def test_a_parameter_cannot_take_the_name_of_a_weight(name: str) -> None:
    namespace = {}
    exec(f"def taken(x, h, *, {name}):\n    return h * {name}", namespace)
    with pytest.raises(CellError, match=f"'{name}' cannot name a state or parameter"):
        cell(namespace["taken"])


@pytest.mark.parametrize("name", ["e", "d", "rnn", "long_name"])
def test_equal_equations_have_equal_fingerprints(name: str) -> None:
    assert cell(name=name)(_elman).fingerprint == get("rnn").fingerprint
    assert get("rnn").fingerprint != get("rnn_relu").fingerprint


def test_a_source_may_be_any_text() -> None:
    source = 'Doe 2020, "Cells"\n    eq. 1\\2\n'
    one = cell(source=source)(_elman)
    assert from_text(one.text).source == source


def _elman(x, h):
    return tanh(x.n + h.n)


@pytest.mark.parametrize("name", ["b", "c_", "W", "U", "R"])
def test_a_parameter_may_not_be_lost_among_the_weights(name: str) -> None:
    """A parameter called as an array of `Weights` is refused, or is an array beside it."""
    text = f"def f(x, h, *, {name}):\n    return tanh(x.n + h.n + {name})\n"
    try:
        one = from_text(text)
    except CellError:
        return
    shapes = Weights.shapes(one, 2, 3)
    assert (shapes["W"], shapes["U"], shapes["b"], shapes["c_"], len(shapes)) == ((3, 2), (3, 3), (3,), (3,), 5)


def test_the_two_parts_of_a_gate_may_go_different_ways() -> None:
    @cell
    def split(x, h, c):
        return tanh(x.n + 0.1 * c), tanh(h.n)

    assert split.gates == ("n",)
    assert from_text(split.text).next == split.next


def test_constants_outlive_text() -> None:
    @cell
    def constant(x, h):
        return x.n * 0.1 + h * -2.5e-7 - 1e300 * tanh(h.n) / 3 + (-x.n) ** 3 - -h

    assert from_text(constant.text).next == constant.next


def test_operations_on_constants_outlive_text() -> None:
    @cell
    def constant(x, h):
        return tanh(x.n + h.n) * gelu(0.3) - identity(-0.5) - -identity(2.0)

    assert from_text(constant.text).next == constant.next


@settings(max_examples=150)
@given(random_cells())
def test_random_cells_outlive_text(one: Cell) -> None:
    again = from_text(one.text)
    assert (again.gates, again.parameters, again.next) == (one.gates, one.parameters, one.next)
    rng = generator("random cells")
    weights = random_weights(one, 2, 3, rng=rng)
    x, state = rng.normal(size=(4, 2, 2)), random_state(one, weights, 2, rng)
    ours, theirs = (reference.forward(c, weights, x, state) for c in (one, again))
    for a, b in zip(ours.states, theirs.states, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(s).all() for s in ours.states)


def test_options_change_activations() -> None:
    lstm = get("lstm")
    by_word, by_name = lstm(activation=relu), lstm(activation="relu")
    assert by_word == by_name
    assert by_word.name == "lstm_relu"
    assert by_word.text.count(" relu(") == 2
    assert "tanh" not in by_word.text
    assert lstm() == lstm(activation=tanh) == lstm
    assert get("rnn")(activation="relu") == get("rnn_relu")
    both = lstm(activation=gelu, recurrent_activation="hard_sigmoid")
    assert both.gates == lstm.gates
    assert both.text.count("= hard_sigmoid(") == 3
    own = lstm(activation=lambda a: 1.7159 * tanh(a * 2 / 3))
    assert "1.7159 * tanh(g * 2 / 3)" in own.text
    assert by_word(recurrent_activation="hard_sigmoid").text.count(" relu(") == 2
    assert from_text(own.text).next == own.next


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activtion": relu}, "lstm takes no option activtion; its options are: activation, recurrent_activation"),
        ({"activation": "rleu"}, "lstm: activation is 'rleu', expected a function of a symbol or one of tanh, sigmoid"),
        ({"activation": 3}, "lstm: activation is 3, expected a function"),
    ],
)
def test_unknown_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(CellError, match=message):
        get("lstm")(**options)


def test_a_cell_read_from_text_has_no_options() -> None:
    with pytest.raises(CellError, match="rnn takes no option activation; its options are: none"):
        from_text(get("rnn").text)(activation=relu)


@pytest.mark.parametrize("name", [None, "my cell", "class"])
def test_a_name_that_text_cannot_have_is_refused_at_once(name: str | None) -> None:
    with pytest.raises(CellError, match="name"):
        cell(name=name)(lambda x, h: tanh(x.n + h.n))


def test_an_option_may_be_any_callable() -> None:
    assert " elu(" in get("rnn")(activation=partial(cells.elu, alpha=2)).text


def test_latex() -> None:
    gru = get("gru").latex()
    assert gru.startswith("\\begin{aligned}\n")
    assert gru.endswith("\n\\end{aligned}")
    assert r"r_t &= \sigma((W_{r} x_t + b_{r}) + (U_{r} h_{t-1} + d_{r})) \\" in gru
    assert r"n_t &= \tanh((W_{n} x_t + b_{n}) + r_t \odot (U_{n} h_{t-1} + d_{n})) \\" in gru
    assert r"h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}" in gru
    assert r"(U_{n} (r_t \odot h_{t-1}) + d_{n})" in get("gru_reset_before").latex()
    assert r"h_t &= R (o_t \odot \tanh(c_t))" in get("lstm_projected").latex()
    assert r"(U_{o} h_{t-1} + d_{o}) + p_{o} \odot c_t)" in get("lstm_peephole").latex()
    assert r"+ u \odot h_{t-1}" in get("indrnn").latex()
    for one in ALL_CELLS:
        text = one.latex()
        assert text.count("{") == text.count("}")
        for state in one.states:
            assert f"{state}_t &=" in text


def test_every_word_has_latex() -> None:
    @cell
    def wordy(x, h):
        y = cells.maximum(cells.elu(x.a), cells.minimum(cells.hard_sigmoid(h.a), cells.clip(h, -1, 1)))
        y = cells.where(y > h, cells.softplus(y), cells.sqrt(cells.exp(y))) + cells.erf(h) - abs(h)
        return y * relu(y)

    text = wordy.latex()
    for piece in (
        "max",
        "min",
        "elu",
        r"hard\_sigmoid",
        "clip",
        "where",
        "softplus",
        r"\sqrt{",
        r"\exp",
        "erf",
        r"\left|",
    ):
        assert piece in text


def test_nodes_are_shared_and_compare_by_identity() -> None:
    first, second = _elman_node(), _elman_node()
    assert first is second
    assert first == second
    assert first != get("rnn").next[0]._args[0]
    assert repr(first) == "tanh(x.n + h.n)"


def _elman_node() -> cells.Node:
    return cell(_elman).next[0]
