"""What to use, why, by how much, what it costs, and what would change the answer: from the measured columns alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recurra.compare.statistics import LEVEL
from recurra.formatting import duration, number

if TYPE_CHECKING:
    from recurra.compare.results import Comparison, Row

FASTER = 2.0  # times: from there, an equal candidate's faster step is worth a word
MUCH = 0.05  # less than the naive error, that a reader of the table sees
FULL = 0.9  # of a window: a lag beyond it means that the window is used to its end
FEW = 100  # answers of the test part, below which only large differences show
NETWORKS = ("feedforward", "cnn", "transformer", "recurrent")


def verdict(found: Comparison, base: str | None) -> list[str]:
    """Sentences. `base` is the name of the best naive baseline."""
    rows = [r for r in found.rows if r["test"] is not None]
    models = [r for r in rows if r["kind"] != "naive"]
    naive = next((r for r in rows if r["name"] == base), None)
    if naive is None:
        return ["Nothing can be said: no final run was finished. Go on with --resume, or give a longer budget."]
    if not models:
        return [
            f"The time was too short to train a model: the best answer so far is {_words(naive)}, which errs by "
            f"{number(naive['test'])}. Go on with --resume, or give a longer budget."
        ]
    best = models[0]
    linear = next((r for r in models if r["kind"] in SIMPLE and _beats_naive(r)), None)
    winner = next((r for r in models if _beats_naive(r)), None)
    if winner is None:
        sentences = _use_nothing(models, naive)
    elif linear is not None and linear is not winner and _as_good(linear, winner):
        sentences = _use_linear(linear, winner, naive)
        best = linear
    else:
        sentences = [*_use(winner, models, naive), *([_unsure(best, naive)] if winner is not best else [])]
        best = winner
    if winner is not None and best["kind"] not in SIMPLE:
        sentences += _live(best, models)
    return [s for s in (*sentences, *_would_change(found, best, models)) if s]


def _beats_naive(row: Row) -> bool:
    return row["p"] is not None and row["p"] < LEVEL and (row["gain"] or 0) > 0


def _as_good(row: Row, best: Row) -> bool:
    """Whether it is not distinguishably worse on the test part."""
    return bool(row["test"] <= best["test"] or (row["p_best"] is not None and row["p_best"] >= LEVEL))


def _use_linear(linear: Row, network: Row, naive: Row) -> list[str]:
    return [
        f"Use {_words(linear)}: its error is {number(linear['test'])}, {linear['gain']:.0%} below {_words(naive)} "
        f"({number(naive['test'])}; {_chance(linear['p'])}).",
        f"No network is distinguishably better: {network['name']}, the best of them on validation, errs by "
        f"{number(network['test'])}{_span(network)} ({_chance(linear['p_best'])} for the difference).",
    ]


def _use_nothing(models: Sequence[Row], naive: Row) -> list[str]:
    least = min(models, key=lambda r: r["test"])
    gain = least["gain"] or 0.0
    if gain >= MUCH:
        return [
            f"This test part does not tell whether to use a network: {_words(least)} errs by {number(least['test'])}, "
            f"{gain:.0%} below {_words(naive)} ({number(naive['test'])}), which is much, but in so few stretches of "
            f"time or sequences chance gives it too ({_chance(least['p'])}).",
            "A longer test part would tell; until then the simplest that errs little is the safest.",
        ]
    head = f"No model beats {_words(naive)}; do not use a network here."
    difference = f"{abs(gain):.1%} {'less' if gain > 0 else 'more'}"
    return [
        head,
        f"On the test part it errs by {number(naive['test'])}; the closest, {least['name']}, by "
        f"{number(least['test'])}, {difference}, {_chance(least['p'])}.",
    ]


def _use(best: Row, models: Sequence[Row], naive: Row) -> list[str]:
    sentences = [
        f"Use {_words(best)}: its error is {number(best['test'])}{_span(best)}, {best['gain']:.0%} below "
        f"{_words(naive)} ({number(naive['test'])}; {_chance(best['p'])})."
    ]
    linear = next((r for r in models if r["kind"] == "linear"), None)
    networks = [r for r in models if r["kind"] in NETWORKS]
    if best["kind"] in SIMPLE and networks:
        sentences.append(
            f"No network is better on validation; the best of them, {networks[0]['name']}, "
            f"{_against(networks[0], best)}."
        )
    elif linear is not None and linear is not best:
        sentences.append(f"{_words(linear).capitalize()} {_against(linear, best)}.")
    equal = [r for r in networks if r is not best and r["p_best"] is not None and r["p_best"] >= LEVEL]
    if equal:
        sentences.append(f"This test part does not tell it apart from {_list([r['name'] for r in equal])}.")
    for kind in NETWORKS:
        other = next((r for r in networks if r["kind"] == kind), None)
        if other is not None and other is not best and other not in equal and kind != best["kind"]:
            sentences.append(f"The best {_KINDS[kind]}, {other['name']}, {_against(other, best)}.")
    if best["kind"] in NETWORKS:
        sentences.append(f"It costs {_cost(best)}.")
    return sentences


_KINDS = {
    "feedforward": "feedforward network",
    "cnn": "convolution network",
    "transformer": "Transformer",
    "recurrent": "recurrent network",
}
SIMPLE = ("linear", "statistical", "trees")


def _unsure(first: Row, naive: Row) -> str:
    return (
        f"{first['name']} was best on validation, but on the test part its difference from {_words(naive)} is one that "
        f"chance gives too ({_chance(first['p'])})."
    )


def _cost(row: Row) -> str:
    parts = [f"{row['parameters']:,} parameters", f"{row['train_seconds']:.0f} s of training on one core"]
    if row.get("step_seconds"):
        parts.append(
            f"{duration(row['step_seconds'])} a live step ({row['runs_in']}), {row['state_bytes']:,} bytes of state"
        )
    return _list(parts)


def _live(best: Row, models: Sequence[Row]) -> list[str]:
    """For live use: the fastest of those that are not distinguishably worse."""
    sentences = [f"It cannot run live: {best['refusal']}."] if best["refusal"] else []
    able = [r for r in models if r["live"] and r.get("step_seconds") and r["kind"] in NETWORKS and _beats_naive(r)]
    equal = [r for r in able if r is best or (r["p_best"] is not None and r["p_best"] >= LEVEL)]
    take = min(equal, key=lambda r: r["step_seconds"]) if equal else next(iter(able), None)
    if take is None or take is best:
        return sentences
    if best["refusal"] or not best.get("step_seconds"):
        sentences.append(f"For live use take {take['name']}: error {number(take['test'])}, {_cost(take)}.")
    elif take["step_seconds"] * FASTER < best["step_seconds"]:
        times = best["step_seconds"] / take["step_seconds"]
        sentences.append(
            f"For live use take {take['name']}: not distinguishably worse ({number(take['test'])}), and a step is "
            f"{times:.0f} times faster ({duration(take['step_seconds'])}, {take['runs_in']}, against "
            f"{duration(best['step_seconds'])}, {best['runs_in']})."
        )
    return sentences


def _would_change(found: Comparison, best: Row, models: Sequence[Row]) -> list[str]:
    sentences = []
    late = [r["name"] for r in models if r["cut"]]
    if late:
        sentences.append(f"More time may change the answer: the training of {_list(late)} was cut.")
    window, lag = best["params"].get("window"), best.get("lag")
    whole = window is not None and window >= found.data.get("longest_window", window + 1)
    if best["kind"] in ("feedforward", "transformer") and lag is not None and not whole and lag >= FULL * (window - 1):
        sentences.append(
            f"A longer context may change it: {best['name']} uses its window of {window} steps to the end."
        )
    elif best["kind"] == "recurrent" and lag is not None:
        reached = "at least " if best.get("lag_looked_at") == lag else ""
        sentences.append(f"{best['name']} still depends on what came {reached}{lag} steps before.")
    worse = [r for r in models if r.get("handles_longer") is False]
    if worse:
        text = _list([f"{r['name']} ({r['longer']:.1f} times the error)" if r["longer"] else r["name"] for r in worse])
        sentences.append(f"For sequences longer than those in training do not take {text}.")
    if best["interval"] and best["test"] and (best["interval"][1] - best["interval"][0]) > 0.2 * best["test"]:
        sentences.append("The seeds of the best differ much: more of them would make the answer surer.")
    if found.data.get("tested", FEW) < FEW:
        sentences.append(f"With {found.data['tested']} test answers only large differences show: more data helps.")
    return sentences


def _against(row: Row, best: Row) -> str:
    if not best["test"]:
        return f"errs by {number(row['test'])} ({_chance(row['p_best'])})"
    ratio = row["test"] / best["test"]
    if ratio >= 2:
        size = f"{ratio:.1f} times as much as"
    else:
        size = f"{abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'} than"
    return f"errs {size} {best['name']} on the test part ({_chance(row['p_best'])})"


def _words(row: Row) -> str:
    return row["words"].split(", of the season")[0] if row["kind"] in ("naive", *SIMPLE) else str(row["name"])


def _span(row: Row) -> str:
    if not row["interval"]:
        return ""
    low, high = row["interval"]
    return f" (95 % interval over {len(row['seeds'])} seeds {number(low)} to {number(high)})"


def _chance(p: float | None) -> str:
    return "not tested" if p is None else f"p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
