"""Planted faults: what could go wrong between the equations and the kernels, each with the check that must see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance import bits
from conformance.adjoints import check_adjoint
from conformance.backends import ENGINE64
from conformance.cases import RAGGED, Setting
from conformance.checks import check_conformance
from conformance.definition import check_against_torch, check_finite_differences
from mutants.plants import (
    batch,
    final_of_the_padding,
    first_state_again,
    forgetful_step,
    frozen_reset_gate,
    garbage_after_the_end,
    gradients,
    kept_wrong,
    loose_brackets,
    more_for_batches,
    patched,
    result,
    shifted_ends,
    slope,
    stepped_weights_alias,
    swap,
    swapped_slots,
    tape,
    value,
    weights,
)
from recurra import cells, engine, reference
from recurra.cells import Cell, adjoint, sigmoid
from recurra.cells import layout as layout_module
from recurra.weights import Weights

PLAIN = Setting()


@dataclass(frozen=True)
class Mutant:
    """A fault, how it is planted, and the check of the suite that it must turn red."""

    name: str
    plant: Callable[[], AbstractContextManager[Any]]
    check: Callable[..., None]
    arguments: tuple[Any, ...]


def conforms(cell: Cell, setting: Setting = PLAIN) -> None:
    check_conformance(cell, setting, ENGINE64)


def check_text() -> None:
    one = cells.cell(lambda x, h: h - (x.a + h.a) * h - (h + x.a), name="brackets")
    assert cells.from_text(one.text).next == one.next


LENGTHS = Setting(lengths=RAGGED)
BACKWARDS = Setting(lengths=RAGGED, reverse=True)
RESETS = Setting(resets=True)
lstm, gru, rnn, projected = (cells.get(n) for n in ("lstm", "gru", "rnn", "lstm_projected"))


def dropped(name: str) -> Callable[[Weights], Weights]:
    return lambda w: replace(w, **{name: np.zeros_like(getattr(w, name))})


MUTANTS = (
    Mutant(
        "swapped gates in the slots",
        lambda: patched((layout_module, "layout", swapped_slots(layout_module.layout))),
        conforms,
        (lstm,),
    ),
    Mutant(
        "gates in the order of Keras",
        weights(lambda w: replace(w, W=swap(w.W, 4, 2, 1), U=swap(w.U, 4, 2, 1))),
        conforms,
        (lstm,),
    ),
    Mutant("z before r", weights(lambda w: replace(w, W=swap(w.W, 3, 0, 1))), conforms, (gru,)),
    Mutant("input bias dropped", weights(dropped("b")), conforms, (rnn,)),
    Mutant("recurrent bias dropped", weights(dropped("c_")), conforms, (gru,)),
    Mutant("reset gate ignored", weights(frozen_reset_gate), conforms, (gru,)),
    Mutant(
        "recurrent weights transposed", weights(lambda w: replace(w, U=np.ascontiguousarray(w.U.T))), conforms, (rnn,)
    ),
    Mutant("projection ignored", weights(lambda w: replace(w, R=np.eye(*w.R.shape))), conforms, (projected,)),
    Mutant(
        "peepholes of i and f swapped",
        weights(
            lambda w: replace(
                w, parameters=dict(zip(w.parameters, [w.parameters[p] for p in ("p.f", "p.i", "p.o")], strict=True))
            )
        ),
        conforms,
        (cells.lstm_peephole,),
    ),
    Mutant(
        "another cell of the same shape",
        lambda: patched((engine, "_kernel", lambda cell, known=engine._kernel: known(cells.gru_reset_before))),
        conforms,
        (gru, Setting(T=1)),
    ),
    Mutant("one step off in reverse", batch(shifted_ends), conforms, (rnn, Setting(reverse=True))),
    Mutant(
        "lengths ignored",
        batch(lambda x, reverse, lengths, reset, initial: (np.nan_to_num(x), reverse, None, reset, initial)),
        conforms,
        (rnn, LENGTHS),
    ),
    Mutant(
        "lengths one too short",
        batch(lambda x, reverse, lengths, reset, initial: (x, reverse, np.maximum(lengths - 1, 0), reset, initial)),
        conforms,
        (rnn, LENGTHS),
    ),
    Mutant(
        "reverse flips the padding too",
        batch(
            lambda x, reverse, lengths, reset, initial: (np.nan_to_num(x[::-1].copy()), False, lengths, reset, initial)
        ),
        conforms,
        (rnn, BACKWARDS),
    ),
    Mutant(
        "reset ignored",
        batch(lambda x, reverse, lengths, reset, initial: (x, reverse, lengths, None, initial)),
        conforms,
        (gru, RESETS),
    ),
    Mutant("reset ignored on the way back", tape(reset=lambda kept: None), conforms, (gru, RESETS)),
    Mutant(
        "reset of the first step lost on the way back",
        tape(reset=lambda kept: kept.reset * (np.arange(len(kept.reset)) > 0)[:, None].astype(np.uint8)),
        conforms,
        (gru, RESETS),
    ),
    Mutant(
        "initial state ignored",
        batch(lambda x, reverse, lengths, reset, initial: (x, reverse, lengths, reset, [])),
        conforms,
        (lstm,),
    ),
    Mutant("initial state lost on the way back", tape(initial=lambda kept: []), conforms, (gru,)),
    Mutant("input of another step on the way back", tape(x=lambda kept: np.roll(kept.x, 1, axis=0)), conforms, (gru,)),
    Mutant(
        "other weights on the way back",
        tape(weights=lambda kept: replace(kept.weights, U=0.999 * kept.weights.U)),
        conforms,
        (lstm,),
    ),
    Mutant("final state taken from the padding", result(final_of_the_padding), conforms, (gru, LENGTHS)),
    Mutant(
        "gates named in another order",
        result(
            lambda run, options: replace(run, gates=dict(zip(run.gates, reversed(run.gates.values()), strict=True)))
        ),
        conforms,
        (gru,),
    ),
    Mutant(
        "states off by one step",
        result(lambda run, options: replace(run, states=[np.roll(s, 1, axis=0) for s in run.states])),
        conforms,
        (lstm,),
    ),
    Mutant(
        "values off by 1e-12 of themselves",
        result(lambda run, options: replace(run, output=run.output * (1 + 1e-12))),
        conforms,
        (lstm,),
    ),
    Mutant(
        "no gradient of the recurrent bias",
        gradients(lambda g: replace(g, weights=dropped("c_")(g.weights))),
        conforms,
        (gru,),
    ),
    Mutant(
        "recurrent bias gradient taken for the input's",
        gradients(lambda g: replace(g, weights=replace(g.weights, c_=g.weights.b))),
        conforms,
        (gru,),
    ),
    Mutant(
        "gradient of x from the padding",
        gradients(lambda g: replace(g, x=g.x + (g.x == 0) * 1e-9)),
        conforms,
        (rnn, LENGTHS),
    ),
    Mutant(
        "gradient of the initial states exchanged",
        gradients(lambda g: replace(g, state=g.state[::-1])),
        conforms,
        (lstm,),
    ),
    Mutant(
        "tanh off by 1e-3 in the definition",
        value("tanh", lambda a: np.tanh(a) * (1 + 1e-3 * np.cos(a))),
        check_against_torch,
        ("rnn",),
    ),
    Mutant(
        "sigmoid without its steepness in the definition",
        value("sigmoid", lambda a: np.clip(0.5 + a / 4, 0, 1)),
        check_against_torch,
        ("gru",),
    ),
    Mutant(
        "gates of the definition in another order",
        lambda: patched(
            (reference, "_rows_of", lambda gates, gate, H, f=reference._rows_of: f(sorted(gates), gate, H))
        ),
        check_against_torch,
        ("lstm",),
    ),
    Mutant(
        "wrong slope of sigmoid in the definition",
        slope("sigmoid", lambda a, y: (y,), of=reference),
        check_finite_differences,
        (gru, Setting(T=2, B=2, I=2, H=2)),
    ),
    Mutant(
        "wrong slope of sigmoid in the adjoint", slope("sigmoid", lambda a, y: (y,), of=adjoint), check_adjoint, (lstm,)
    ),
    Mutant(
        "slope of tanh from the argument",
        slope("tanh", lambda a, y: (1 - a * sigmoid(a),), of=adjoint),
        check_adjoint,
        (rnn,),
    ),
    Mutant("kept values exchanged", kept_wrong, check_adjoint, (lstm,)),
    Mutant(
        "a product's gradient left out",
        lambda: patched(
            (
                reference,
                "_slopes",
                lambda c, n, *rest, f=reference._slopes: (
                    [] if n._op == "product" and n._value == "n" else f(c, n, *rest)
                ),
            )
        ),
        check_finite_differences,
        (gru, Setting(T=2, B=2, I=2, H=2)),
    ),
    Mutant("stale state between chunks", first_state_again, bits.check_chunks, (gru, 64)),
    Mutant("a live step forgets", forgetful_step, bits.check_stepper, (gru, 1)),
    Mutant("a bias counted twice when live", stepped_weights_alias, bits.check_stepper, (lstm, None)),
    Mutant("a batch differs in one bit", result(more_for_batches), bits.check_batch, (lstm,)),
    Mutant(
        "threads differ in one bit",
        result(lambda run, options: more_for_batches(run, options) if engine.get_num_threads() > 1 else run),
        bits.check_threads,
        (lstm,),
    ),
    Mutant(
        "keeping differs in one bit",
        result(lambda run, options: more_for_batches(run, options) if options.get("keep") else run),
        bits.check_options,
        (lstm,),
    ),
    Mutant("garbage after the end", result(garbage_after_the_end), bits.check_padding, (rnn,)),
    Mutant(
        "lengths ignored, to the bit",
        batch(lambda x, reverse, lengths, reset, initial: (x, reverse, None, reset, initial)),
        bits.check_padding,
        (rnn,),
    ),
    Mutant(
        "reverse ignored",
        batch(lambda x, reverse, lengths, reset, initial: (x, False, lengths, reset, initial)),
        bits.check_reverse,
        (rnn,),
    ),
    Mutant(
        "reset one step late",
        batch(
            lambda x, reverse, lengths, reset, initial: (
                x,
                reverse,
                lengths,
                None if reset is None else np.roll(reset, 1, axis=0),
                initial,
            )
        ),
        bits.check_resets,
        (gru,),
    ),
    Mutant("brackets lost in text", loose_brackets, check_text, ()),
)
