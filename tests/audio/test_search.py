"""The native prefix beam search is its definition in Python, to the last bit, and goes on from its state."""

from __future__ import annotations

import numpy as np
import pytest

from recurra import _native
from recurra.tasks.transcription.ctc import Letter, PrefixBeam, Search, words_of
from recurra.tasks.transcription.lexicon import lexicon_of
from recurra.tasks.transcription.ngram import NGram

LETTERS = (" ", "a", "b", "c")
PIECES = (" ", "a", "b", "ab", "ca", "c")
TEXTS = ["ab b abc", "ab ab ca", "b ca ab b", "cab ab"]
SEARCHES = {
    "plain": Search(beam=7, width=-9.0),
    "greedy": Search(beam=1),
    "words": Search(beam=5, width=-6.0, model=NGram.learn(TEXTS, 2), weight=0.8, bonus=0.3, unknown=-2.5),
    "long": Search(beam=9, width=-8.0, model=NGram.learn(TEXTS, 4), hot={"b": 1.5, "cc": 2.0}),
    "hot": Search(beam=4, width=-8.0, hot={"ab": 1.0, "abca": 3.0}),
}


def logs(rng: np.random.Generator, T: int, K: int) -> np.ndarray:
    z = 2.5 * rng.standard_normal((T, K))
    z[:, 0] += 1.0
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


@pytest.mark.parametrize("letters", [LETTERS, PIECES], ids=["letters", "pieces"])
@pytest.mark.parametrize("name", SEARCHES)
def test_the_native_search_has_the_bits_of_the_definition(name: str, letters: tuple[str, ...]) -> None:
    rng, search = np.random.default_rng(len(name)), SEARCHES[name]
    lexicon = lexicon_of(letters, search)
    seen = 0
    for _ in range(6):
        want, found = PrefixBeam(letters, search), _native.PrefixBeam(lexicon, search.beam, search.width)
        want.reset(3)
        found.reset(3)
        for t, step in enumerate(logs(rng, 41, 1 + len(letters))):
            want.push(step)
            found.push(step)
            if t == 17:
                other = _native.PrefixBeam(lexicon, search.beam, search.width)
                other.restore(found.state())
                found = other
            for whole in (True, False):
                assert [Letter(*one) for one in found.text(whole)] == want.text(whole), (t, whole)
            assert found.common() == want.common()
            seen += found.common()
        assert (found.step, found.begun) == (want.step, want.begun) == (44, 3)
        assert {w.text for w in words_of(found.text(True), letters)}
    assert seen > 100


def test_a_state_that_cannot_be_one_changes_nothing() -> None:
    search = SEARCHES["words"]
    one = _native.PrefixBeam(lexicon_of(LETTERS, search), search.beam, search.width)
    for step in logs(np.random.default_rng(2), 9, 5):
        one.push(step)
    before = one.state()
    prefixes, entries, values, sums, now, first = before
    for bad in (
        (prefixes[:-1], entries, values, sums, now, first),
        ([*prefixes[:14], 5, *prefixes[15:]], entries, values, sums, now, first),
        (prefixes, [len(values), *entries[1:]], values, sums, now, first),
        (prefixes, [entries[1], *entries[1:]], values, sums, now, first),
    ):
        with pytest.raises(ValueError, match="a search's"):
            one.restore(bad)
        assert one.state() == before
