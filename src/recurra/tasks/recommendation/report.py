"""What a report shows of recommendations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.sessions import REMEMBERED
from recurra.tasks.recommendation.metrics import HitRate
from recurra.tasks.recommendation.ranking import train_sessions

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

SHOWN = 8  # sessions
LAST = 5  # items of each
BEST = 5  # that are recommended
LOOKED = 2000  # sessions of which it is said how it does with rare items
EVENTS = 300  # that are timed


def sections(task: Any, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
    """Three tables."""
    pieces = bench.pieces("test")
    some = pieces[:: max(1, len(pieces) // LOOKED)][:LOOKED]
    return [_rare(task, bench, predictor, some), _examples(predictor, some), _live(task, bench, predictor, some)]


def _rare(task: Any, bench: Bench, predictor: Any, pieces: Any) -> dict[str, Any]:
    """How often an item is found, by how often it came in training."""
    counts = np.bincount(np.concatenate(train_sessions(bench)), minlength=bench.transform.tables[0])
    truth = np.concatenate([task.truth(*piece) for piece in pieces]).astype(int)
    ranks, hit, rows = task.ranks(predictor, pieces), HitRate(10), []
    for low, high in ((0, 1), (1, 5), (5, 20), (20, 100), (100, None)):
        there = (counts[truth] >= low) & (truth > 0 if low else truth == 0)
        there = there if high is None or not low else there & (counts[truth] < high)
        if there.any():
            name = "not in training" if not low else f"{low} and more" if high is None else f"{low} to {high - 1}"
            rows.append([name, int(there.sum()), f"{100 * hit.of_ranks(ranks[there]):.1f} %"])
    headings = ["times in training", "items to be found", "among the first ten"]
    return {"kind": "table", "heading": "Rare and frequent items", "headings": headings, "rows": rows}


def _examples(predictor: Any, pieces: Any) -> dict[str, Any]:
    """Sessions, what came, and what was recommended."""
    rows = []
    for sequence, _, stop in pieces[:: max(1, len(pieces) // SHOWN)][:SHOWN]:
        names = [sequence.symbols[i] for i in sequence.ids[: stop + 1]]
        shorter = type(sequence)(sequence.name, sequence.ids[:stop], sequence.symbols, open=True)
        best = predictor.best(shorter, BEST)
        said = ", ".join(f"{name} ({score:.2f})" for name, score in best)
        rows.append([", ".join(names[max(0, stop - LAST) : stop]), names[stop], said])
    headings = ["the last items", "what came", "recommended, with scores"]
    heading = "Sessions of the test part"
    return {"kind": "table", "heading": heading, "headings": headings, "rows": rows, "texts": True}


def _live(task: Any, bench: Bench, predictor: Any, pieces: Any) -> dict[str, Any]:
    """What an event costs in a live session, and what it remembers."""
    live = task.live(predictor.model, bench.transform)
    events = [s.symbols[i] for s, _, stop in pieces[:EVENTS] for i in s.ids[:stop]][:EVENTS]
    for event in events[:10]:
        live.step(event)
    seconds: dict[str, list[float]] = {"take": [], "best": []}
    for event in events:
        for name, call in (("take", lambda e=event: live.take(e)), ("best", live.best)):
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    take, best = (1e6 * float(np.median(seconds[name])) for name in ("take", "best"))
    state = live.state_bytes() - 4 * min(REMEMBERED, len(events) + 10)
    rows = [
        ["an event is taken in", f"{take:.0f} µs"],
        [f"the {task.best} best of {bench.transform.tables[0] - 1:,} items are found in", f"{best:.0f} µs"],
        ["what a session remembers", f"{state} bytes, and 4 for each item"],
        ["the share of rules in a score, chosen on the validation part", f"{task.share:g}"],
    ]
    return {"kind": "table", "heading": "Live", "headings": ["", "found"], "rows": rows}
