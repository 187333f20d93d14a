"""What a transcriber writes: letters, or pieces of words; texts as their numbers, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from recurra.errors import DataError, SettingError, need
from recurra.tasks.base import Floats

STRANGE = 1_000_000  # a letter that is not in training, as a target: this and its code
NONE = -1.0  # a target after the last letter
MOST = 4096  # units
LONGEST = 12  # letters of a piece


def plain(text: str) -> str:
    """Small letters, and one blank between words."""
    return " ".join(text.lower().split())


def letters_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The letters of texts, the blank between words first.

    Raises:
        DataError: there are none, or too many.
    """
    found = (" ", *sorted({letter for text in texts for letter in text} - {" "}))
    if not 1 < len(found) <= MOST:
        raise DataError(f"texts: they have {len(found)} different letters, expected 2 to {MOST}")
    return found


def pieces_of(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Pieces of words, learned from texts as byte pairs are (by the library `tokenizers`); all letters are among them.

    Raises:
        SettingError: there is no room for all letters.

    >>> pieces_of(["low lower lowest slow slower"] * 3, 11)
    (' ', 'e', 'l', 'o', 'r', 's', 't', 'w', 'lo', 'low', 'lowe')
    """
    texts = list(texts)
    letters = letters_of(texts)
    if not len(letters) < size <= MOST:
        raise SettingError(f"pieces={size}, expected more than the {len(letters)} letters, and at most {MOST}")
    need("pieces of words", "tokenizers", extra="text")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=size - 1, show_progress=False, max_token_length=LONGEST)
    made.train_from_iterator(texts, trainer)
    return (*letters, *sorted(set(made.get_vocab()) - set(letters)))


def numbers_of(text: str, letters: Sequence[str]) -> list[float]:
    """A text as numbers from 1 on; words are cut into the longest pieces that there are, from their beginning.

    >>> numbers_of("slow é", (" ", "l", "o", "s", "w", "low"))
    [4.0, 6.0, 1.0, 1000233.0]
    """
    known = {letter: float(k) for k, letter in enumerate(letters, 1)}
    longest = max(map(len, letters))
    found, at = list[float](), 0
    while at < len(text):
        size = next((n for n in range(longest, 0, -1) if text[at : at + n] in known and at + n <= len(text)), 0)
        found.append(known[text[at : at + size]] if size else float(STRANGE + ord(text[at])))
        at += max(1, size)
    return found


def written(numbers: Floats, letters: Sequence[str]) -> str:
    """The text of targets."""
    known = [int(k) for k in numbers if k >= 0]
    return "".join(chr(k - STRANGE) if k >= STRANGE else letters[k - 1] for k in known)


def fewest(numbers: Sequence[float]) -> int:
    """The outputs that a text needs: one for each letter, and one between two that are the same."""
    return len(numbers) + sum(a == b for a, b in pairwise(numbers))


def greedy_text(answers: Any, letters: Sequence[str]) -> str:
    """The text of outputs [M, K + 1], each step's best letter taken."""
    best = np.asarray(answers).argmax(-1)
    kept = best[(best != np.concatenate([[0], best[:-1]])) & (best > 0)]
    return plain("".join(letters[k - 1] for k in kept))
