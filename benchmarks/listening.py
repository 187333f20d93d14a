"""How many people one core listens to: the search beside its definition in Python, and sessions side by side.

    python -m benchmarks.listening [streams]

The search is timed on spikes as a trained network has them, with a bigram of a hundred words. The sessions have a
network of AN4's size that has seen a few made-up sentences and is sure of nothing, so that their search tries nearly
every letter at every step; pieces are 100 ms.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.report import console
from recurra import _native
from recurra.data.audio import Recording
from recurra.data.audio.voice import WORDS, Voice
from recurra.tasks.transcription.ctc import PrefixBeam, Search
from recurra.tasks.transcription.lexicon import lexicon_of
from recurra.tasks.transcription.live import Hearer
from recurra.tasks.transcription.ngram import NGram
from recurra.tasks.transcription.transcriber import Transcriber

LETTERS = (" ", *"abcdefghijklmnopqrstuvwxyz")
STEPS, SECONDS, PIECE = 600, 4.0, 1600


def spikes(rng: np.random.Generator, words: list[str]) -> np.ndarray[Any, Any]:
    """Logarithms [STEPS, 28]: a letter now and then, in doubt with some others, and nothing between."""
    z = rng.normal(-9.0, 1.5, (STEPS, len(LETTERS) + 1))
    z[:, 0] = 0.0
    text = " ".join(words[int(k)] for k in rng.integers(len(words), size=STEPS // 12))
    for t, letter in zip(range(3, STEPS, 4), text, strict=False):
        z[t, 0] = -2.0
        z[t, 1 + LETTERS.index(letter)] = 0.0
        z[t, rng.integers(1, z.shape[1], 3)] += rng.uniform(4, 8, 3)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def searches() -> dict[str, str]:
    """Microseconds of a step, native and in Python; the best of three."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list(LETTERS[1:]), int(rng.integers(2, 8)))) for _ in range(100)]
    texts = [" ".join(rng.choice(words, 8)) for _ in range(200)]
    logs, found = spikes(rng, words), {}
    for name, search in (("letters alone", Search()), ("with a bigram", Search(model=NGram.learn(texts, 2)))):
        lexicon = lexicon_of(LETTERS, search)
        times: dict[str, float] = {}
        for kind in ("native", "Python"):
            best = np.inf
            for _ in range(3):
                beam: Any = (
                    PrefixBeam(LETTERS, search)
                    if kind == "Python"
                    else _native.PrefixBeam(lexicon, search.beam, search.width)
                )
                began = time.perf_counter()
                for step in logs:
                    beam.push(step)
                best = min(best, time.perf_counter() - began)
            times[kind] = 1e6 * best / STEPS
        found[f"search, {name}, µs a step"] = f"{times['native']:.1f} (in Python {times['Python']:.0f})"
    return found


def model() -> Transcriber:
    """A network of AN4's size."""
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(list(WORDS), 4)) for _ in range(12)]
    made = [Recording(f"{i}", Voice(i).say(text), text=text, speaker=f"{i}") for i, text in enumerate(texts)]
    how = {"hidden": 192, "epochs": 2, "batch": 4, "reading": {"stack": 4, "copies": 1}}
    return Transcriber(**how).fit(made, evaluate=False)  # type: ignore[arg-type]


def listening(streams: int) -> dict[str, str]:
    """Processor seconds of one core for a second of all streams together."""
    one = model()
    sound = [Voice(100 + i).say(" ".join(WORDS), (0.2, 0.6))[: int(16_000 * SECONDS)] for i in range(8)]
    hearers = [one.listen() for _ in range(streams)]
    seconds = min(SECONDS, min(map(len, sound)) / 16_000)
    pieces = range(0, int(16_000 * seconds), PIECE)
    alone, slowest = one.listen(), 0.0
    for at in pieces:
        began = time.thread_time()
        alone.push(sound[0][at : at + PIECE])
        slowest = max(slowest, time.thread_time() - began)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for at in pieces:
        Hearer.together(hearers, [sound[i % len(sound)][at : at + PIECE] for i in range(streams)])
    factor = (resource.getrusage(resource.RUSAGE_SELF).ru_utime - began) / seconds
    return {
        f"real-time factor of {streams} streams on one core": f"{factor:.2f}",
        "of each": f"{factor / streams:.5f}",
        "ms for a piece of 100 ms of one alone, at most": f"{1000 * slowest:.1f}",
    }


def main() -> None:
    """Print the table."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    table = Table("", "", title="Listening")
    for name, value in {**searches(), **listening(streams)}.items():
        table.add_row(name, value)
    console().print(table)


if __name__ == "__main__":
    main()
