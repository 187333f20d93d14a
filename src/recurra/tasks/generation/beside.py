"""Counted n-grams as an op that stands behind a network: a tree of what texts begin with, from the last symbol back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.runtime.ops.ngrams import NGrams
from recurra.tasks.generation.ngrams import KneserNey, Level

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

MOST = 1 << 20  # n-grams: the rarest are left out
LEAST = 1e-12  # of a probability
ROUNDS = 50  # of the search for the mix
MOST_MIX = 0.95  # a network is never left out
WORTH = 0.01  # of the nats, at least, that n-grams have to gain on the validation part


class Mixed(NamedTuple):
    """N-grams as the validation part wants them beside a network.

    Attributes:
        order: symbols of the longest.
        mix: their share.
        alone, together: the nats a symbol of the network, and of both.
    """

    order: int
    mix: float
    alone: float
    together: float

    @property
    def helps(self) -> bool:
        """Whether they are worth their place."""
        return self.together < (1 - WORTH) * self.alone

    def __str__(self) -> str:
        return (
            f"N-grams of up to {self.order} tokens are mixed in, with a share of {self.mix:.2f}: in the validation "
            f"part the network alone has {self.alone:.3f} nats, and both {self.together:.3f}."
        )


def mixed(bench: Bench, network: Floats) -> Mixed:
    """How the n-grams of the training part go with a network that gave the symbols of the validation part the
    probabilities [M]."""
    counted = KneserNey.fit(bench)
    grams = np.concatenate([counted.of_truth(*piece) for piece in bench.pieces("valid")])
    mix = best_mix(network, grams)
    both = mix * grams + (1 - mix) * network
    return Mixed(counted.order, mix, *(float(-np.log(np.maximum(p, LEAST)).mean()) for p in (network, both)))


def beside(counted: KneserNey, mix: float, most: int = MOST) -> NGrams:
    """The n-grams of a Kneser-Ney model as an op.

    Of more than `most`, those are left out that were seen least; what they had goes to those a symbol shorter.
    """
    levels, V = counted.levels, counted.V
    least = next(k for k in range(1, 1 << 30) if sum(int((one.counts >= k).sum()) for one in levels[1:]) <= most)
    kept = [_kept(levels[0], 1, np.empty(0, np.int64))]
    needed = np.empty(0, np.int64)
    for n in range(len(levels), 1, -1):
        kept.insert(1, _kept(levels[n - 1], least, needed))
        needed = kept[1].contexts % V ** (n - 2)  # without the oldest: they are on the way
    parts: list[dict[str, NDArray[Any]]] = []
    rank = np.zeros(1, np.int64)
    for n, level in enumerate(kept, 1):
        place, oldest = np.zeros(1, np.int64), np.zeros(1, np.int64)
        if n > 1:
            oldest, rest = np.divmod(level.contexts, V ** (n - 2))
            parents = rank[np.searchsorted(kept[n - 2].contexts, rest)]
            place = np.lexsort((oldest, parents))
            parts[-1]["children"] = np.bincount(parents, minlength=len(rank))
        rank = np.argsort(place)
        parts.append({"symbol": oldest[place], "children": 0 * place, **level.in_order(place)})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return NGrams(**{name: array.astype(np.float32) for name, array in joined.items()}, mix=mix)


class _Kept(NamedTuple):
    """What is kept of a level: contexts [C] with the n-grams of each, [N] in all."""

    contexts: Whole
    spare: Floats
    grams: Whole
    next: Whole
    share: Floats

    def in_order(self, place: Whole) -> dict[str, NDArray[Any]]:
        """With the contexts in another order."""
        grams = self.grams[place]
        ends = np.cumsum(grams)
        first = np.cumsum(self.grams) - self.grams
        of_all = np.arange(grams.sum()) + np.repeat(first[place] - ends + grams, grams)
        return {"grams": grams, "spare": self.spare[place], "next": self.next[of_all], "share": self.share[of_all]}


def _kept(level: Level, least: int, needed: Whole) -> _Kept:
    """The n-grams that were seen so often, with their contexts and those that are needed."""
    keep = level.counts >= least
    of = np.repeat(np.arange(len(level.contexts)), np.diff(np.r_[level.begins, len(level.keys)]))
    grams = np.bincount(of[keep], minlength=len(level.contexts))
    left_out = np.bincount(of, np.where(keep, 0.0, level.seen), minlength=len(level.contexts))
    here = (grams > 0) | np.isin(level.contexts, needed)
    spare = (level.spared + left_out) / level.totals
    share = level.seen / level.totals[of]
    return _Kept(level.contexts[here], spare[here], grams[here], level.keys[keep] % level.V, share[keep])


def best_mix(network: Floats, grams: Floats) -> float:
    """The share of n-grams with which both together are likeliest, from what each says of the symbols that came [M]; by
    expectation maximization (Jelinek and Mercer 1980)."""
    mix = 0.5
    for _ in range(ROUNDS):
        mix = float(np.mean(mix * grams / np.maximum(mix * grams + (1 - mix) * network, LEAST)))
    return min(mix, MOST_MIX)
