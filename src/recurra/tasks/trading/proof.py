"""The proof that no position knows what comes after it: noise instead of the future, and the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recurra.tasks.bench import Bench, ModelPredictor, Predictor

PLACES = 3  # times after which everything is replaced by noise


@dataclass(frozen=True)
class Year:
    """A judged year: its data, and what answered."""

    bench: Bench
    predictor: ModelPredictor
    rivals: Sequence[Predictor]


def proof(years: Sequence[Year], seed: int) -> str:
    """Replace everything after some times by noise, do all again up to them, and compare bits.

    The bars after a time are replaced in all assets, features and what is learned of the training part are made anew,
    and the positions of the year up to that time; the numbers that the network of that year was trained on are compared
    too, which, with its seed, are all that its weights come from.
    """
    rng = np.random.default_rng(seed)
    chosen = {0, len(years) // 2, len(years) - 1}
    same, positions, numbers, times = True, 0, 0, []
    for k in sorted(chosen)[:PLACES]:
        bench, predictor = years[k].bench, years[k].predictor
        ticks = np.unique(np.concatenate([s.ticks[a:b] for s, a, b in bench.pieces("test")]))
        tick = int(ticks[len(ticks) // 2])
        times.append(bench.sequences[0].clock.text(tick))
        changed = [s.after(tick, rng) for s in bench.sequences]
        learned = any(split.train_end for split in bench.splits)
        again = replace(bench, sequences=changed)
        if learned:
            again = replace(again, transform=bench.task.transform(changed, bench.splits))
            same &= again.transform.to_dict() == bench.transform.to_dict()
            for part in ("train", "valid"):
                for before, after in zip(bench.pieces(part), again.pieces(part), strict=True):
                    for make in (bench.transform.rows, bench.transform.targets):
                        a, b = make(*before), make(*after)
                        same &= a.tobytes() == b.tobytes()
                        numbers += a.size
        for before, after in zip(bench.pieces("test"), again.pieces("test"), strict=True):
            stop = int(np.searchsorted(before.sequence.ticks, tick, "right"))
            if stop <= before.start:
                continue
            a = predictor.predict(before.sequence, before.start, stop)
            b = ModelPredictor(bench.task, again.transform, predictor.model).predict(after.sequence, after.start, stop)
            same &= a.tobytes() == b.tobytes()
            positions += len(a)
    when = times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"
    trained = f" and {numbers:,} numbers of training" if numbers else ""
    said = f"with everything after {when} replaced by noise,"
    if same:
        return f"Proof: {said} {positions:,} positions up to then{trained} keep all their bits."
    return f"The proof FAILS: {said} positions up to then change: something knows the future."
