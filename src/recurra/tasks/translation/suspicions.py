"""What looks as if pairs of texts were not what they should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

SWAPPED = -1.0  # nats a token by which a pair is likelier the other way round
SHARED = 0.3  # of what both sides have alike: beyond it they are not two languages
NAMED = 3  # pairs that are named
UNKNOWN = 0.2  # of the tokens of the test part, from which on it is said


def suspicions(bench: Bench) -> list[str]:
    """Texts of the test part that are in training, too; pairs that look swapped; many tokens that are not known."""
    known = {s.tokens for s, split in zip(bench.sequences, bench.splits, strict=True) if split.train_end}
    test = [piece.sequence for piece in bench.pieces("test")]
    notes = []
    if twice := sum(s.tokens in known for s in test):
        notes.append(f"{twice} of {len(test)} texts of the test part are in training, too.")
    if odd := swapped(bench.sequences):
        names = ", ".join(f"{bench.sequences[i].name}" for i in odd[:NAMED])
        notes.append(
            f"{len(odd)} of {len(bench.sequences)} pairs look as if their sides were swapped (number {names}"
            f"{', ...' if len(odd) > NAMED else ''})."
        )
    numbers = [bench.transform.rows(s, 0, len(s))[:, 0] for s in test]
    if numbers and (share := float((np.concatenate(numbers) == 0).mean())) > UNKNOWN:
        notes.append(f"{share:.0%} of the tokens that are read in the test part are not known from training.")
    return notes


def swapped(pairs: Sequence[Any]) -> list[int]:
    """The pairs whose tokens are those of the other side; none where both sides are of one language."""
    sides = [Counter[str](), Counter[str]()]
    for pair in pairs:
        sides[0].update(pair.tokens)
        sides[1].update(pair.written)
    totals = [max(1, sum(side.values())) for side in sides]
    if sum(min(n / totals[0], sides[1][token] / totals[1]) for token, n in sides[0].items()) > SHARED:
        return []

    def read_rather(token: str, own: tuple[int, int]) -> float:
        """By how many nats a token is likelier to be read than to be written, in other pairs than its own."""
        shares = [(sides[k][token] - own[k] + 0.5) / totals[k] for k in (0, 1)]
        return float(np.log(shares[0] / shares[1]))

    found = []
    for i, pair in enumerate(pairs):
        own = Counter(pair.tokens), Counter(pair.written)
        score = [read_rather(t, (own[0][t], own[1][t])) for t in pair.tokens]
        score += [-read_rather(t, (own[0][t], own[1][t])) for t in pair.written]
        if sum(score) < SWAPPED * len(score):
            found.append(i)
    return found
