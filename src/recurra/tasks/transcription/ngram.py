"""`NGram`: a language model of words, read from an ARPA file or counted, for a search over what was said."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from recurra.errors import DataError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
TEN = math.log(10.0)
MISSING = -99.0 * TEN / 10  # of an unknown word, where the model has none


class NGram:
    """Probabilities of words after words, with back-off (Katz 1987); logarithms are natural ones here.

    Args:
        order: words in the longest entry.
        entries: of some words in a row, the logarithm of the last one's probability after those before, and of the
            weight with which shorter histories stand in where these words are the history.

    >>> model = NGram.learn(["turn left", "turn right"], 2)
    >>> model.score(("turn",), "left") > model.score(("turn",), "turn")
    True
    """

    def __init__(self, order: int, entries: dict[tuple[str, ...], tuple[float, float]]) -> None:
        self.order, self.entries = order, entries
        self.words = {key[0] for key in entries if len(key) == 1} - {BEGIN, END, UNKNOWN}
        self.beginnings = {word[:k] for word in self.words for k in range(len(word) + 1)}
        self._found: dict[tuple[tuple[str, ...], str], float] = {}

    def score(self, history: Sequence[str], word: str) -> float:
        """ln p(word | history); only the last `order - 1` words of the history count."""
        known = tuple(history[max(0, len(history) - self.order + 1) :])
        key = known, word
        if key not in self._found:
            if len(self._found) > 100_000:
                self._found.clear()
            self._found[key] = self._score(known, word)
        return self._found[key]

    def _score(self, history: tuple[str, ...], word: str) -> float:
        entry = self.entries.get((*history, word))
        if entry is not None:
            return entry[0]
        if not history:
            return self.entries.get((UNKNOWN,), (MISSING, 0.0))[0]
        return self.entries.get(history, (0.0, 0.0))[1] + self._score(history[1:], word)

    @classmethod
    def read(cls, path: str | os.PathLike[str], lower: bool = True) -> NGram:
        """From an ARPA file.

        Raises:
            DataError: it is none; the message says in which line.
            OSError: it cannot be read.
        """
        entries: dict[tuple[str, ...], tuple[float, float]] = {}
        order = size = 0
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if text.startswith("\\"):
                    ended = text == "\\end\\"
                    size = int(text[1 : text.index("-")]) if text.endswith("-grams:") and text[1].isdigit() else 0
                    order = max(order, size)
                    if ended:
                        break
                elif size and text:
                    parts = text.split()
                    try:
                        value, words = float(parts[0]), parts[1 : size + 1]
                        weight = float(parts[size + 1]) if len(parts) > size + 1 else 0.0
                        if len(words) < size or len(parts) > size + 2:
                            raise ValueError
                    except ValueError:
                        raise DataError(
                            f"{path}: line {number} is {text[:60]!r}, expected a logarithm, {size} words, "
                            "and maybe a weight"
                        ) from None
                    kept = (w.lower() if lower and w not in (BEGIN, END, UNKNOWN) else w for w in words)
                    entries[tuple(kept)] = value * TEN, weight * TEN
        if not entries:
            raise DataError(f"{path}: there are no n-grams, expected a language model in ARPA's form")
        return cls(order, entries)

    def write(self, path: str | os.PathLike[str]) -> None:
        """As an ARPA file."""
        of = {n: sorted(key for key in self.entries if len(key) == n) for n in range(1, self.order + 1)}
        lines = ["\\data\\", *(f"ngram {n}={len(keys)}" for n, keys in of.items()), ""]
        for n, keys in of.items():
            lines.append(f"\\{n}-grams:")
            for key in keys:
                value, weight = (v / TEN for v in self.entries[key])
                lines.append(f"{value:.6f}\t{' '.join(key)}" + (f"\t{weight:.6f}" if n < self.order else ""))
            lines.append("")
        Path(path).write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")

    @classmethod
    def learn(cls, texts: Iterable[str], order: int = 2) -> NGram:
        """Counted from texts, interpolated after Witten and Bell (1991)."""
        counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = [BEGIN, *text.split(), END]
            for i in range(1, len(words)):
                for n in range(min(order - 1, i) + 1):
                    counts[tuple(words[i - n : i])][words[i]] += 1
        if not counts:
            raise DataError("a language model: there is no text, expected some")
        kinds = len(counts[()]) + 1  # and what is unknown
        entries: dict[tuple[str, ...], tuple[float, float]] = {}
        total, types = sum(counts[()].values()), len(counts[()])
        unknown = types / (total + types) / kinds
        entries[(UNKNOWN,)] = math.log(unknown), 0.0
        entries[(BEGIN,)] = MISSING, 0.0
        shares: dict[tuple[tuple[str, ...], str], float] = {}
        for history in sorted(counts, key=len):
            after, n = counts[history], sum(counts[history].values())
            types = len(after)
            for word, count in after.items():
                lower = shares[history[1:], word] if history else 1 / kinds
                shares[history, word] = (count + types * lower) / (n + types)
                entries[(*history, word)] = math.log(shares[history, word]), 0.0
        for history, after in counts.items():
            if history:
                weight = len(after) / (sum(after.values()) + len(after))
                entries[history] = entries.get(history, (MISSING, 0.0))[0], math.log(weight)
        return cls(order, entries)
