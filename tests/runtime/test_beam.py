"""Beam search against every sequence there is, and what it keeps to: greedy, in company, within its limits."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers import generator
from recurra import _native
from recurra.cells import gru, lstm
from recurra.errors import ShapeError
from recurra.models.sequence_to_sequence import SequenceToSequence, TextReader
from recurra.runtime import Embedding, Linear, Model, Softmax, load
from recurra.runtime.beam import Limits, Search, search, writing
from recurra.runtime.writer import Writer
from recurra.torch import Readout
from runtime.networks import F, linear, recurrent

BEGIN, END, V = 1, 2, 6
WRITTEN = 7  # symbols of the networks that read, too


def table(*shape: int, scale: float, key: object) -> np.ndarray:
    return (scale * generator("beam", *shape, key).normal(size=shape)).astype(F)


def program(key: object = 0, scale: float = 2.0):
    """A network that writes: what comes next depends on all symbols before."""
    head = Linear(table(V, 9, scale=scale, key=key), table(V, scale=0.3, key=key))
    return Model([Embedding(table(V, 5, scale=1.0, key=key), (V,)), recurrent(gru, 5, 9), head, Softmax()]).program()


def log_probability(of, symbols) -> float:
    """By a step at a time, in the order of the symbols."""
    session, total, last = of.session(), 0.0, BEGIN
    for symbol in symbols:
        total += math.log(float(session.step(np.array([last], F))[symbol]))
        last = symbol
    return total


def everything(of, most: int, penalty: float) -> list[tuple[float, tuple[int, ...]]]:
    """All sequences of at most `most` symbols with their end, the best first."""
    others = [s for s in range(V) if s not in (BEGIN, END)]
    found = []
    for n in range(most):
        for body in itertools.product(others, repeat=n):
            found.append((log_probability(of, (*body, END)) / (n + 1) ** penalty, body))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_a_wide_beam_finds_the_best_of_all(penalty) -> None:
    of = program("all")
    best = everything(of, 4, penalty)
    (found,) = search(of, [{}], Limits(BEGIN, END, beam=300, penalty=penalty, most=4))
    ended = [h for h in found if h.ended]
    assert [h.symbols for h in ended[:20]] == [body for _, body in best[:20]]
    np.testing.assert_allclose([h.score for h in ended[:20]], [score for score, _ in best[:20]], rtol=1e-12)


def greedy(of, begin, most: int) -> tuple[int, ...]:
    session, out, last, x = of.session(), [], BEGIN, np.zeros(of.input_size, F)
    session.state |= begin
    written = of.output_size - of.input_size + 1
    for _ in range(most):
        x[0] = last if last < WRITTEN else 0
        y = session.step(x)
        p, x[1:] = y[:written].copy(), y[written:]
        p[BEGIN] = 0
        last = int(p.argmax())
        if last == END:
            break
        out.append(last)
    return tuple(out)


def writer(cell=gru, layers: int = 2, heads: int = 3, **options) -> tuple[SequenceToSequence, Writer]:
    torch.manual_seed(3)
    options, copies = {"covers": False, "feeds": False, "copies": 0, **options}, options.get("copies", 0)
    head = Readout(2 * 9, 10, 7, dropout=0.3, copies=copies, feeds=options["feeds"])
    how = {"heads": heads, "capacity": 16, "covers": options["covers"], "wait": options.get("wait", 0)}
    reader = TextReader(cell, 11, 10, 9, layers, both=not how["wait"])
    network = SequenceToSequence(reader, cell, 7, 10, 9, head, layers, **how).eval()
    with torch.no_grad():
        head.outer.bias += torch.randn(7)
        head.outer.weight *= 6
        if head.gate is not None:
            head.gate.bias -= 2
    return network, Writer(network.model())


def sources(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 11, rng.integers(1, 17)).astype(F) for _ in range(count)]


WRITER = writer()
WRITERS = {
    "plain": WRITER,
    "all": writer(heads=1, copies=16, feeds=True, covers=True),
    "waits": writer(lstm, 1, copies=16, wait=3),
}


def places_of(some: list[np.ndarray]) -> list[list[int]]:
    """What each place may be copied as: every third is no symbol."""
    return [[7 + m if int(s) % 3 == 0 else int(s) % 7 for m, s in enumerate(source)] for source in some]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12))
def test_symbols_come_as_soon_as_they_are_certain(seed, beam, most) -> None:
    """Together they are the best hypothesis; with a beam of one each comes with its step."""
    (source,), (_, made) = sources(1, seed), WRITER
    limits = Limits(BEGIN, END, beam=beam, most=most)
    assert tuple(writing(made.decoder, made.begins(source), limits)) == made.write([source], limits)[0][0].symbols
    taken: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        step = Search.step
        patch.setattr(Search, "step", lambda self: (taken.append(1), step(self))[1])
        for number, _ in enumerate(writing(made.decoder, made.begins(source), replace(limits, beam=1)), 1):
            assert len(taken) == number


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(list(WRITERS)))
def test_a_beam_of_one_is_the_greedy_choice(seed, kind) -> None:
    some, limits = sources(3, seed), Limits(BEGIN, END, beam=1, most=9)
    made = WRITERS[kind][1]
    places = places_of(some)
    for source, at, found in zip(some, places, made.write(some, limits, places), strict=True):
        assert found[0].symbols == greedy(made.decoder, made.begins(source, at), 9)
        assert len(found) == 1


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12), st.sampled_from(list(WRITERS)))
def test_alone_or_in_company(seed, beam, most, kind) -> None:
    """Also at lengths that end at other times, and for more sequences than fit a batch."""
    some, limits = sources(70 // beam + 1, seed), Limits(BEGIN, END, beam=beam, most=most)
    made, places = WRITERS[kind][1], places_of(some)
    together = made.write(some, limits, places)
    for n in (0, len(some) // 2, len(some) - 1):
        (alone,) = made.write([some[n]], limits, [places[n]])
        for one, other in zip(alone, together[n], strict=True):
            assert (one.symbols, one.log_probability, one.score, one.ended) == (
                other.symbols,
                other.log_probability,
                other.score,
                other.ended,
            )
            assert one.looked is None or (one.looked == other.looked).all()


@pytest.mark.parametrize(
    ("cell", "layers", "heads", "options"),
    [
        (gru, 2, 3, {}),
        (lstm, 2, 1, {"wait": 3}),
        (lstm, 1, 3, {"copies": 16}),
        (gru, 1, 1, {"covers": True, "wait": 2}),
        (gru, 2, 3, {"copies": 16, "feeds": True, "covers": True}),
    ],
)
def test_a_model_gives_the_probabilities_of_its_network(cell, layers, heads, options, tmp_path) -> None:
    """Sources of several lengths, padded in torch, alone in the runtime; also from a file."""
    network, made = writer(cell, layers, heads, **options)
    network.model().save(tmp_path / "model")
    made = Writer(load(tmp_path / "model"))
    some = sources(4, 5)
    places, padded = places_of(some), np.zeros((16, 4, 2), F)
    for b, source in enumerate(some):
        padded[: len(source), b] = np.stack([source, places[b]], 1)
    target = np.concatenate([np.full((1, 4), BEGIN), np.random.default_rng(0).integers(0, 7, (5, 4))]).astype(F)
    with torch.no_grad():
        given = (padded[..., : 1 + ("copies" in options)], np.array([len(s) for s in some]), target[..., None])
        want = network(*map(torch.from_numpy, given)).softmax(-1).numpy()
    for b, source in enumerate(some):
        got = made.followed(source, target[:, b], places[b])
        n = want.shape[-1]
        np.testing.assert_allclose(got[:, :n], want[:, b], atol=2e-6)
        assert not got[:, n:].any()
        turned = made.followed(np.flip(source) + 1 - 2 * (np.flip(source) > 9), target[:, b], places[b])
        assert np.abs(turned - got).max() > 1e-4


def test_what_is_looked_at_is_of_each_symbol() -> None:
    _, made = WRITER
    (source,) = sources(1, 8)
    (found,) = made.write([source], Limits(BEGIN, END, beam=3, most=8, least=2))
    for one in found:
        assert one.looked is not None
        assert one.looked.shape == (len(one.symbols), len(source))
        np.testing.assert_allclose(one.looked.sum(1), 1, atol=1e-5)
        session = made.decoder.session()
        session.state |= made.begins(source)
        for symbol, looked in zip((BEGIN, *one.symbols[:-1]), one.looked, strict=True):
            session.step(np.array([symbol], F))
            weights = session.state["layers.3.weights"].reshape(3, 16)[:, : len(source)]
            np.testing.assert_allclose(looked, weights.mean(0), atol=1e-6)


def test_what_is_copied_is_a_place() -> None:
    """A number from V on stands for a place; the network is then given the unknown symbol."""
    made, some = WRITERS["all"][1], sources(12, 3)
    places = places_of(some)
    found = [h for one in made.write(some, Limits(BEGIN, END, beam=4, most=9), places) for h in one]
    copied = [s for h in found for s in h.symbols if s >= WRITTEN]
    assert copied
    for source, at in zip(some, places, strict=True):
        (one,) = made.write([source], Limits(BEGIN, END, beam=4, most=9), [at])
        for h in one:
            assert all(s in at for s in h.symbols if s >= WRITTEN)
            before = [BEGIN, *(s if s < WRITTEN else 0 for s in (*h.symbols, *([END] if h.ended else [])))][:-1]
            p = made.followed(source, np.array(before, F), at)
            total = sum(math.log(p[t, s]) for t, s in enumerate((*h.symbols, *([END] if h.ended else []))))
            assert h.log_probability == pytest.approx(total, abs=1e-9)


def test_the_best_is_found_where_the_end_and_the_begin_are_likeliest() -> None:
    """With a beam of one, neither may come, and yet the search goes on."""
    head = Linear(np.zeros((V, 9), F), np.array([0, 9, 8, 1, 0, 0], F))
    eager = Model([Embedding(table(V, 5, scale=1.0, key=0), (V,)), recurrent(gru, 5, 9), head, Softmax()]).program()
    (found,) = search(eager, [{}], Limits(BEGIN, END, beam=1, most=9, least=3))
    assert [found[0].symbols, found[0].ended] == [(3, 3, 3), True]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 40))
def test_ways_on_are_those_of_a_sort(seed, N, beam, symbols) -> None:
    """Many are equal, some have no chance or are no numbers, and some rows take no part."""
    rng = np.random.default_rng(seed)
    p = rng.choice(np.array([0, 0.125, 0.25, 0.5, np.nan], F), (N * beam, symbols))
    totals = np.where(rng.random(N * beam) < 0.3, -np.inf, np.log(rng.choice([0.25, 0.5], N * beam)))
    taken, which = np.empty((2, N, 2 * beam), np.int64)
    results = np.empty((N, 2 * beam))
    _native.ways_on(p, totals, taken, which, results)
    for n in range(N):
        ways = [
            (-(totals[n * beam + r] + math.log(p[n * beam + r, v])), r, v)
            for r in range(beam)
            for v in range(symbols)
            if p[n * beam + r, v] > 0 and np.isfinite(totals[n * beam + r])
        ]
        best = [w for w in sorted(ways) if sum(o[1] == w[1] and o < w for o in ways) <= beam][: 2 * beam]
        got = zip(-results[n], taken[n], which[n], strict=True)
        assert [one for one in got if one[1] >= 0] == best
        assert (taken[n, len(best) :] == -1).all()


def test_a_search_without_an_end_ends() -> None:
    """One that never comes, and one that always loops."""
    head = Linear(np.zeros((V, 9), F), np.array([0, 0, -80, 5, 0, 0], F))
    loop = Model([Embedding(table(V, 5, scale=1.0, key=0), (V,)), recurrent(gru, 5, 9), head, Softmax()]).program()
    (found,) = search(loop, [{}], Limits(BEGIN, END, beam=2, most=30))
    assert found[0].symbols == (3,) * 30
    assert not found[0].ended
    (found,) = search(loop, [{}], Limits(BEGIN, END, beam=2, most=30, no_repeat=3))
    for h in found:
        trigrams = list(zip(h.symbols, h.symbols[1:], h.symbols[2:], strict=False))
        assert len(set(trigrams)) == len(trigrams) > 5


@pytest.mark.parametrize("least", [0, 1, 4])
def test_the_end_waits_for_the_least(least) -> None:
    of = program("eager", scale=0.01)
    of = Model([*of.ops[:2], Linear(of.ops[2].W, np.array([0, 0, 4, 0, 0, 0], F)), Softmax()]).program()
    (found,) = search(of, [{}], Limits(BEGIN, END, beam=3, most=9, least=least))
    assert min(len(h.symbols) for h in found) == least
    assert all(h.ended for h in found)


def test_scores_are_those_of_the_symbols() -> None:
    of = program("scores", scale=1.0)
    (found,) = search(of, [{}], Limits(BEGIN, END, beam=5, penalty=0.6, most=6))
    for h in found:
        total = log_probability(of, (*h.symbols, *([END] if h.ended else [])))
        assert h.log_probability == pytest.approx(total, abs=1e-12)
        assert h.score == pytest.approx(total / (len(h.symbols) + h.ended) ** 0.6, abs=1e-12)
    assert len({h.symbols for h in found}) == 5


def odd_copies():
    """A head that copies from fewer places than there are."""
    last = WRITERS["all"][1].decoder.ops[-1]
    return replace(last, copies=8, W=np.ones((10, 26), F))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: search(program(), [{}], Limits(9, END)), "`begin` is 9, expected a symbol: 0 to 5"),
        (lambda: search(program(), [{}], Limits(BEGIN, END, beam=0)), "beam=0"),
        (lambda: search(program(), [{}], Limits(BEGIN, END, most=3, least=4)), "a least that is not above the most"),
        (lambda: search(Model([linear(V, 3), Softmax()]).program(), [{}], Limits(1, 2)), "takes 3 numbers"),
        (lambda: WRITER[1].begins(np.zeros(17, F)), "the source has 17 steps, expected 1 to 16"),
        (lambda: WRITER[1].begins(np.zeros(0, F)), "the source has 0 steps"),
        (lambda: Writer(Model([linear(2, 2)])), "has no program 'encoder'"),
        (
            lambda: Writer(
                Model(
                    programs=WRITER[1].model.programs | {"decoder": (*WRITERS["all"][1].decoder.ops[:-1], odd_copies())}
                )
            ),
            "copies from 8 places, expected 16: its memory",
        ),
        (
            lambda: Writer(Model(programs={**WRITER[1].model.programs, "start": [linear(5, 18)]})),
            "start is 18 to 5, expected 18 to 18",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, said) -> None:
    with pytest.raises(ShapeError, match=said):
        call()


def test_the_network_is_trained_through_all_its_parts() -> None:
    network, _ = writer()
    source, target = torch.ones(4, 2, 1), torch.ones(3, 2, 1)
    scores = network(source, torch.tensor([4, 2]), target)
    nn.functional.cross_entropy(scores.flatten(0, 1), torch.zeros(6, dtype=torch.long)).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
