"""How faults are planted: each returns a context manager that puts one wrong thing where the real code looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance import adjoints
from recurra import engine, reference
from recurra.cells import Cell, functions, printing, routines
from recurra.weights import Weights


@contextmanager
def patched(*changes: tuple[object, str, Any]) -> Iterator[None]:
    """With attributes replaced, and nothing remembered of before or after."""
    kernels = engine._kernel
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in changes:
            patch.setattr(owner, name, value)
        kernels.cache_clear()
        yield
    kernels.cache_clear()


def weights(change: Callable[[Weights], Weights]) -> Callable[[], AbstractContextManager[Any]]:
    """The kernels see changed weights, forward and back; gradients still go where they belong."""
    original = engine.forward

    def forward(cell: Any, w: Weights, *args: Any, **options: Any) -> engine.Forward:
        return original(cell, change(w), *args, **options)

    return lambda: patched((engine, "forward", forward))


def batch(change: Callable[..., tuple[Any, ...]]) -> Callable[[], AbstractContextManager[Any]]:
    """The kernels see another batch: x, reverse, lengths, reset, initial states."""
    original = engine._native.Batch

    def make(*args: Any) -> Any:
        return original(*change(*args))

    class Native:
        Batch = staticmethod(make)

        def __getattr__(self, name: str) -> Any:
            return getattr(_native, name)

    _native = engine._native
    return lambda: patched((engine, "_native", Native()))


def result(
    change: Callable[[engine.Forward, dict[str, Any]], engine.Forward],
) -> Callable[[], AbstractContextManager[Any]]:
    """What a forward run returns is changed."""
    original = engine.forward

    def forward(*args: Any, **options: Any) -> engine.Forward:
        return change(original(*args, **options), options)

    return lambda: patched((engine, "forward", forward))


def gradients(change: Callable[[engine.Gradients], engine.Gradients]) -> Callable[[], AbstractContextManager[Any]]:
    """What a backward run returns is changed."""
    original = engine.backward
    return lambda: patched((engine, "backward", lambda *args, **options: change(original(*args, **options))))


def tape(**changes: Any) -> Callable[[], AbstractContextManager[Any]]:
    """The backward run sees another tape."""
    original = engine.backward

    def backward(kept: engine.Tape, *args: Any, **options: Any) -> engine.Gradients:
        return original(replace(kept, **{n: f(kept) for n, f in changes.items()}), *args, **options)

    return lambda: patched((engine, "backward", backward))


def slope(word: str, slopes: Callable[..., Any], *, of: object) -> Callable[[], AbstractContextManager[Any]]:
    """An activation with another slope, for the definition (`reference`) or for the adjoint."""
    return lambda: patched(_with(word, replace(functions.FUNCTIONS[word], slopes=slopes), of))


def value(word: str, compute: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[Any]]:
    """An activation with another value in the definition."""
    return lambda: patched(_with(word, replace(functions.FUNCTIONS[word], value=compute), reference))


def _with(word: str, function: Any, module: object) -> tuple[object, str, Any]:
    return module, "FUNCTIONS", functions.FUNCTIONS | {word: function}


def by_gate(array: np.ndarray, gates: int) -> np.ndarray:
    """Stacked weights with an axis for the gates."""
    return array.reshape(gates, -1, *array.shape[1:])


def swap(array: np.ndarray, gates: int, a: int, b: int) -> np.ndarray:
    """Stacked weights with two gates exchanged."""
    order = list(range(gates))
    order[a], order[b] = b, a
    return np.ascontiguousarray(by_gate(array, gates)[order].reshape(array.shape))


def swapped_slots(original: Callable[..., Any]) -> Callable[..., Any]:
    def layout(cell: Any) -> Any:
        good = original(cell)
        first, second, *rest = good.slots
        slots = (first._replace(recurrent=second.recurrent), second._replace(recurrent=first.recurrent), *rest)
        return replace(good, slots=slots)

    return layout


def shifted_ends(x: np.ndarray, reverse: bool, lengths: Any, reset: Any, initial: Any) -> tuple[Any, ...]:
    """Reading backwards begins one step before the end."""
    if reverse:
        x = np.nan_to_num(np.roll(x, 1, axis=0))
    return x, reverse, lengths, reset, initial


def frozen_reset_gate(w: Weights) -> Weights:
    """r = 1: the reset gate of the GRU, its first gate, is ignored."""
    H = w.hidden_size
    out = w.map(np.copy)
    out.W[:H], out.U[:H], out.b[:H], out.c_[:H] = 0, 0, 50, 0
    return out


def final_of_the_padding(run: engine.Forward, options: dict[str, Any]) -> engine.Forward:
    return replace(run, state=[s[-1].copy() for s in run.states])


def more_for_batches(run: engine.Forward, options: dict[str, Any]) -> engine.Forward:
    """Batches differ from single rows in the last bit of one element."""
    if run.output.shape[1] > 1:
        run.output[3, 1, 2] = np.nextafter(run.output[3, 1, 2], np.float32(2))
    return run


def garbage_after_the_end(run: engine.Forward, options: dict[str, Any]) -> engine.Forward:
    if options.get("lengths") is not None:
        run.output[-1, np.argmin(options["lengths"])] = 1e-30
    return run


def first_state_again() -> AbstractContextManager[Any]:
    """A chunk begins with zeros instead of where the last one ended."""
    original = engine.forward
    return patched((engine, "forward", lambda c, w, x, state=None, **options: original(c, w, x, None, **options)))


def forgetful_step() -> AbstractContextManager[Any]:
    """A live step begins from zeros each time after the first."""
    original = engine.Stepper.step

    def step(self: engine.Stepper, x: np.ndarray) -> np.ndarray:
        output = original(self, x)
        self.state = None
        return output

    return patched((engine.Stepper, "step", step))


def stepped_weights_alias() -> AbstractContextManager[Any]:
    """The recurrent bias is added twice, live only."""
    original = engine.Stepper.__init__

    def init(self: engine.Stepper, cell: Any, w: Weights, batch: int | None = None) -> None:
        original(self, cell, replace(w, b=w.b + w.c_) if w.b.shape == w.c_.shape else w, batch)

    return patched((engine.Stepper, "__init__", init))


def kept_wrong() -> AbstractContextManager[Any]:
    """The first kept value is another than the way back believes."""
    original = routines._cut

    def cut(results: Any, slots: Any, given: Any, seeds: Any) -> Any:
        kept = original(results, slots, given, seeds)
        return (kept[1], kept[0], *kept[2:]) if planted[0] else kept

    planted = [False]

    def wrong_routines(cell: Any) -> Any:
        right = [*original_routines(cell)]
        planted[0] = True
        turned = [*original_routines(cell)]
        planted[0] = False
        return [*right[:3], *turned[3:]]

    original_routines = routines.routines
    return patched((routines, "_cut", cut), (adjoints, "routines", wrong_routines))


def loose_brackets() -> AbstractContextManager[Any]:
    """Text loses the brackets of a - (b + c)."""
    return patched(
        (printing, "_PRECEDENCE", printing._PRECEDENCE | {"add": 2}),
        (Cell, "text", property(lambda cell: cell._body([]))),
    )
