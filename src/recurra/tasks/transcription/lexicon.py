"""A `Search` as arrays for the native module: words as a trie of letters, n-grams as a trie of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra import _native
from recurra.tasks.transcription.ctc import Search
from recurra.tasks.transcription.ngram import BEGIN, END, MISSING, UNKNOWN, NGram


def lexicon_of(letters: Sequence[str], search: Search) -> _native.Lexicon:
    """What `recurra._native.PrefixBeam` looks words up in.

    Args:
        letters: of the numbers from 1 on; more than one character each, where they are pieces of words.
        search: its model and its hot words.
    """
    model = search.model
    beginnings, words = (model.beginnings, model.words) if model else ({""}, set[str]())
    hot = {word[:k] for word in search.hot for k in range(len(word) + 1)}
    nodes = {text: i for i, text in enumerate(sorted(beginnings | hot))}
    numbers = _numbers(model)
    spelled = np.full((len(nodes), len(letters) + 1), -1, np.int32)
    for text, i in nodes.items():
        for k, letter in enumerate(letters, 1):
            spelled[i, k] = nodes.get(text + letter, -1)
    grams, logarithms, backs = _grams(model, numbers)
    return _native.Lexicon(
        len(letters),
        letters.index(" ") + 1 if " " in letters else 0,
        model.order if model else 0,
        [search.weight, search.bonus, search.unknown],
        numbers.get(BEGIN, -1),
        numbers.get(END, -1),
        spelled,
        np.array([numbers.get(text, -1) for text in nodes], np.int32),
        np.array([(text in beginnings) * (1 + (text in words)) for text in nodes], np.uint8),
        np.array([search.hot.get(text, 0.0) for text in nodes], np.float64),
        grams,
        logarithms,
        backs,
    )


def _numbers(model: NGram | None) -> dict[str, int]:
    """Of each word of the model."""
    return {word: i for i, word in enumerate(sorted({w for key in model.entries for w in key}))} if model else {}


def _grams(model: NGram | None, numbers: dict[str, int]) -> tuple[Any, Any, Any]:
    """The entries' keys (entry of all but the last word << 32 | last word), rising, their logarithms and weights.

    Entry 0 is before any word; its logarithm is that of a word that is not there.
    """
    entries = dict(model.entries) if model else {}
    for key in list(entries):
        for n in range(1, len(key)):
            entries.setdefault(key[:n], (np.nan, np.nan))
    at: dict[tuple[str, ...], int] = {(): 0}
    for length in range(1, max(map(len, entries), default=0) + 1):
        some = sorted((at[key[:-1]], numbers[key[-1]], key) for key in entries if len(key) == length)
        for _, _, key in some:
            at[key] = len(at)
    ordered = list(at)[1:]
    keys = np.array([at[key[:-1]] << 32 | numbers[key[-1]] for key in ordered], np.int64)
    strange = entries.get((UNKNOWN,), (MISSING, 0.0))[0]
    logarithms = np.array([strange, *(entries[key][0] for key in ordered)], np.float64)
    return keys, logarithms, np.array([0.0, *(entries[key][1] for key in ordered)], np.float64)
