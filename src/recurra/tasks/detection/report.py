"""What a report shows of a detector's test part: the stream, how rare its steps were, and the alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.detection.task import Detect

MOST_DRAWN = 1500  # steps of the test part in the picture
MOST_ROWS = 20  # alarms in the table


def sections_of(task: Detect, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
    """The longest stream's test part: its numbers, how rare they were, and the alarms."""
    (s, start, stop), *_ = sorted(bench.pieces("test"), key=lambda piece: piece.start - piece.stop)
    found = {name: column[start:stop] for name, column in task.watched(predictor, s).items()}
    first = max(0, int(np.argmax(found["rarity"])) - MOST_DRAWN // 2) if stop - start > MOST_DRAWN else 0
    shown = slice(first, first + MOST_DRAWN)
    rung = np.flatnonzero(found["alarm"])
    names = bench.transform.inputs[:4]
    rows = [
        [
            int(start + t),
            *(float(v) for v in s.x[start + t][:4]),
            str(found["by"][t]),
            str(found["signal"][t]),
            float(found["rarity"][t]),
        ]
        for t in rung[:MOST_ROWS]
    ]
    table = {
        "kind": "table",
        "heading": "The alarms",
        "headings": ["step", *names, "by", "signal", "rarity: once in 10^"],
        "rows": rows,
    }
    picture = {
        "kind": "stream",
        "start": int(start + first),
        "columns": {name: s.x[start:stop, k][shown].tolist() for k, name in enumerate(names)},
        "rarity": found["rarity"][shown].tolist(),
        "level": task.watch.rarity,
        "alarms": [int(start + t) for t in rung if first <= t < first + MOST_DRAWN],
        "count": len(rung),
        "steps": int(stop - start),
        "declared": task.declared,
        "expected": float(stop - start) * 10.0**-task.watch.rarity,
    }
    return [picture, table] if rows else [picture]
