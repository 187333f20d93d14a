"""Mutations of one door, and what came of them."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fuzz.doors import Door
from recurra.errors import RecurraError

SOON = 10.0  # seconds of this process


@dataclass(frozen=True)
class Finding:
    """What should not be: an error of another kind, or one mutation that costs much time."""

    kind: str
    content: bytes
    says: str = ""


def enter(door: Door, count: int, seed: int) -> Iterator[Finding]:
    """Try mutations, the same for the same seed, and yield those that end as they should not."""
    rng = np.random.default_rng([seed, *door.name.encode()])
    for _ in range(count):
        content = door.mutate(door.seeds[rng.integers(len(door.seeds))], rng)
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                door.enter(content)
        except RecurraError as error:
            if "\n" in str(error):
                yield Finding(f"{door.name}: an error of several lines: {str(error)[:200]!r}", content)
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "recurra" in f.filename]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
            yield Finding(f"{door.name}: {type(error).__name__} in {where}", content, str(error)[:200])
        if time.process_time() - began > SOON:
            yield Finding(f"{door.name}: {time.process_time() - began:.0f} s", content)
