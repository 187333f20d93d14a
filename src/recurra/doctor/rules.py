"""From measurements to findings: one rule for each kind, with its threshold, its evidence and its cause."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import Any

from recurra.doctor.anomalies import Anomaly
from recurra.doctor.findings import Finding, Layer, Network
from recurra.doctor.memory import FAINT
from recurra.doctor.remedies import remedies_for

LAG = 20  # steps back that a network should learn from, where nobody says how many its task needs
LARGE = 100.0  # times the gradient at lag 0: it explodes
EXPONENT = 0.05  # per step: a difference of the states grows e-fold in 20 steps
RUNAWAY = 1e3  # a state above it, that still grows
VALUES, GATES = 0.5, 0.9  # shares of saturated values above which an activation, or a gate, hardly learns
DEAD = 0.25  # of the units
TOO_LARGE, TOO_SMALL = 10.0, 0.01  # root mean square of an input feature
CLIPPED, ALWAYS = 1e-3, 0.9  # a norm is clipped where it falls by this share; all the time, for this share of samples
FEWEST = 5  # samples that say "all the time"
RISES = 2.0  # times the best quarter's loss, in the last
WORSE, BETTER = 1.2, 1.0  # times the loss before, after some steps of the optimizer: at its rate, at a tenth of it


def findings_of(layers: list[Layer], network: Network | None, lag: int) -> list[Finding]:
    """All findings, those of the network first, then layer by layer; or one that says that it is healthy."""
    found = [*_of_network(network)] if network is not None else []
    for layer in layers:
        found += _of_layer(layer, min(lag, layer.flow.lags[-1]))
    return found or [Finding("healthy", "the network", _well(layers, lag), "nothing that was measured is amiss", ())]


def findings_of_training(samples: list[dict[str, Any]], losses: list[float], lag: int) -> list[Finding]:
    """From the samples of `watch`: of each number the median over the later half of them."""
    late = samples[len(samples) // 2 :]
    found = [*_clipping(samples), *_rising(losses, late)]
    for name in late[-1]["layers"]:
        seen = [s["layers"][name] for s in late if name in s["layers"]]
        found += _gradient_in_training(name, seen, lag)
        for gate in seen[-1]["saturation"]:
            share = median(s["saturation"].get(gate, 0.0) for s in seen)
            if share > GATES:
                evidence = f"{share:.0%} of {gate} at a limit of the activation"
                cause = "the sums are too large for it, by the size of the input or of the weights"
                found.append(Finding("saturated", name, evidence, cause, remedies_for("saturated")))
    well = f"{len(samples)} samples of training show nothing amiss"
    return found or [Finding("healthy", "the network", well, "nothing that was measured is amiss", ())]


def _clipping(samples: list[dict[str, Any]]) -> Iterator[Finding]:
    seen = [s for s in samples if s["after"] is not None]
    clipped = [s for s in seen if s["after"] < (1 - CLIPPED) * s["gradient"]]
    if len(seen) >= FEWEST and len(clipped) >= ALWAYS * len(seen):
        before, after = (median(s[n] for s in clipped) for n in ("gradient", "after"))
        yield Finding(
            "clipped all the time",
            "the network",
            f"{len(clipped)} of {len(seen)} sampled gradients were clipped, from a norm of {before:.3g} to {after:.3g} "
            "(medians)",
            "the threshold is below the gradient's usual size, so every step has the same length and the learning rate "
            "alone decides it",
            remedies_for("clipped all the time"),
        )


def _rising(losses: list[float], late: list[dict[str, Any]]) -> Iterator[Finding]:
    if len(losses) < 4 * FEWEST:
        return
    part = len(losses) // 4
    quarters = [median(losses[i * part : (i + 1) * part]) for i in range(4)]
    if not quarters[-1] < RISES * min(quarters):
        updates = [s["update"] for s in late if s["update"] is not None]
        size = f"; a step moves the parameters by {median(updates):.2g} of their norm" if updates else ""
        yield Finding(
            "learning rate too high",
            "the network",
            f"the median loss of the last quarter is {quarters[-1]:.4g}, of the best quarter {min(quarters):.4g}{size}",
            "a step goes further than the gradient holds",
            remedies_for("learning rate too high"),
        )


def _gradient_in_training(name: str, seen: list[dict[str, Any]], lag: int) -> Iterator[Finding]:
    """Vanishing or exploding, by the same rules as on one batch."""
    good = [s for s in seen if s["norms"][0] > 0]
    if not good:
        return
    lags = [k for k in good[-1]["lags"] if k <= lag]
    ratios = [median(s["norms"][i] / s["norms"][0] for s in good if i < len(s["norms"])) for i in range(len(lags))]
    rate = median(s["rate"] for s in good)
    if not max(ratios) < LARGE:
        evidence = (
            f"the loss gradient grows by {rate:.4g} at each step back, {max(ratios):.3g} times up to lag {lags[-1]}"
        )
        yield Finding("exploding", name, evidence, "the recurrent weights are too large", remedies_for("exploding"))
    elif ratios[-1] < FAINT:
        evidence = (
            f"the loss gradient is multiplied by {rate:.4g} at each step back; at lag {lags[-1]} {ratios[-1]:.2g}"
        )
        cause = "slopes, gates and recurrent weights shrink it at each step: examine the network for the reason"
        yield Finding("vanishing", name, f"{evidence} of it is left", cause, remedies_for("vanishing"))


def not_finite(anomaly: Anomaly) -> Finding:
    """The finding where a number was none."""
    cause = {
        "input": "the data have it, or what stands before this layer made it",
        "the output": "what follows this layer, or the loss, made it",
    }.get(anomaly.operation, "this operation is the first whose result is no number; all before it are")
    return Finding("not finite", anomaly.layer, str(anomaly), cause, remedies_for("not finite"))


def _of_network(network: Network) -> Iterator[Finding]:
    rms = [math.hypot(mean, deviation) for mean, deviation in network.inputs]
    bad = [i for i, r in enumerate(rms) if r > TOO_LARGE or 0 < r < TOO_SMALL]
    if bad:
        worst = max(bad, key=lambda i: abs(math.log(rms[i])))
        mean, deviation = network.inputs[worst]
        yield Finding(
            "bad input scale",
            "the network",
            f"{len(bad)} of {len(rms)} input features are far from size 1; feature {worst} has mean {mean:.3g} and "
            f"deviation {deviation:.3g}",
            "weights begin at a size made for inputs of deviation 1: larger ones saturate the gates, smaller ones are "
            "not seen",
            remedies_for("bad input scale"),
        )
    for name, what in network.waiting.items():
        cause = "the layer has parallel=False, though its recurrence is unit by unit"
        yield Finding("step by step", name, what, cause, remedies_for("step by step"))
    if len(network.trials) == 2:
        (rate, now), (lower, then) = network.trials.items()
        start = now[0]
        if not now[-1] < WORSE * start and then[-1] < BETTER * start:
            yield Finding(
                "learning rate too high",
                "the network",
                f"{len(now) - 1} steps on the same data take the loss from {start:.4g} to {now[-1]:.4g} at a learning "
                f"rate of {rate}, and to {then[-1]:.4g} at {lower}",
                "a step goes further than the gradient holds",
                remedies_for("learning rate too high"),
            )


def _of_layer(layer: Layer, lag: int) -> Iterator[Finding]:
    yield from _gradient(layer, lag)
    yield from _states(layer, lag)
    yield from _units(layer)


def _gradient(layer: Layer, lag: int) -> Iterator[Finding]:
    flow, name = layer.flow, layer.name
    if not flow.norms or flow.norms[0] == 0:
        yield Finding(
            "vanishing",
            name,
            "no gradient of the loss arrives at this layer",
            "the loss does not depend on it, or what follows it is off or saturated",
            remedies_for("vanishing", layer.gated),
        )
        return
    largest = max(flow.norms[: lag + 1])
    if not largest < LARGE * flow.norms[0]:
        at = next(k for k, norm in enumerate(flow.norms) if not norm < LARGE * flow.norms[0])
        yield Finding(
            "exploding",
            name,
            f"the loss gradient grows by {flow.rate:.4g} a step back; at lag {at} it is {LARGE:.0f} times as large",
            _why_explodes(layer),
            remedies_for("exploding", layer.gated),
        )
    elif lag and flow.ratio(lag) < FAINT:
        yield Finding(
            "vanishing",
            name,
            f"the loss gradient is multiplied by {flow.rate:.4g} at each step back; at lag {lag} {flow.ratio(lag):.2g} "
            f"of it is left, and less than {FAINT:g} beyond lag {flow.reaches(FAINT)}",
            _why_fades(layer),
            remedies_for("vanishing", layer.gated),
        )


def _states(layer: Layer, lag: int) -> Iterator[Finding]:
    exponent, activity, memory = layer.spectrum.exponents[0], layer.activity, layer.memory
    grows = activity.growth > 1 + EXPONENT and activity.largest > RUNAWAY
    if exponent > EXPONENT or grows:
        yield Finding(
            "unstable state",
            layer.name,
            f"the largest Lyapunov exponent is {exponent:.4g} a step; the states reach {activity.largest:.3g} and grow "
            f"by {activity.growth:.4g} a step",
            "a small difference of the states, rounding included, grows until the limits of the activations hold it: "
            "the state is not a memory of the input",
            remedies_for("unstable state", layer.gated),
        )
    if memory.horizon < min(lag, memory.lags[-1]):
        yield Finding(
            "forgetting too early",
            layer.name,
            f"an input changes the layer's last output by less than {FAINT:g} of the most beyond lag {memory.horizon}; "
            f"{lag} steps are asked for",
            _why_fades(layer),
            remedies_for("forgetting too early", layer.gated),
        )


def _units(layer: Layer) -> Iterator[Finding]:
    flat = [s for s in layer.activity.saturation if not s.keeps and s.share > (GATES if s.gate else VALUES)]
    if flat:
        yield Finding(
            "saturated",
            layer.name,
            ", ".join(f"{s.share:.0%} of {s.name} ({s.low:.0%} low, {s.high:.0%} high)" for s in flat)
            + " at a limit of the activation",
            "the sums are too large for it, by the size of the input or of the weights: where it is flat, no gradient "
            "passes",
            remedies_for("saturated", layer.gated),
        )
    dead = layer.activity.dead
    if len(dead) >= max(1, DEAD * layer.hidden_size):
        yield Finding(
            "dead",
            layer.name,
            f"{len(dead)} of {layer.hidden_size} units give the same output at every step of every sequence",
            "their sums stay where the activation is flat, so no gradient brings them back",
            remedies_for("dead", layer.gated),
        )


def _why_fades(layer: Layer) -> str:
    """What makes both the gradient and the memory fade."""
    kept = [f"{share:.2g} of {state}" for state, share in layer.activity.kept.items()]
    if layer.gated:
        return f"the cell keeps {' and '.join(kept)} at a step, on the average"
    flat = [s.name for s in layer.activity.saturation if s.share > VALUES]
    if flat:
        return f"{', '.join(flat)} of {layer.cell} is saturated, so its slope is near 0 at each step"
    radius = layer.spectrum.radius
    return (
        f"{layer.cell} computes its state anew at each step, and what is left of a difference after one has a "
        f"spectral radius of {radius:.3g}: recurrent weights times slopes"
    )


def _why_explodes(layer: Layer) -> str:
    return (
        f"the Jacobian from state to state has a spectral radius of {layer.spectrum.radius:.3g} and a largest singular "
        f"value of {layer.spectrum.largest:.3g}: the recurrent weights are too large"
    )


def _well(layers: list[Layer], lag: int) -> str:
    parts = [
        f"{y.name}: {y.flow.ratio(min(lag, y.flow.lags[-1])):.2g} of the gradient is left at lag "
        f"{min(lag, y.flow.lags[-1])}, inputs matter for {y.memory.horizon}{'+' if y.memory.complete else ''} steps, "
        f"the largest Lyapunov exponent is {y.spectrum.exponents[0]:.3g}"
        for y in layers
    ]
    return "; ".join(parts)
