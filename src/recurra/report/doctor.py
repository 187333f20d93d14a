"""The report of an examination: one HTML page, from the plain data that `Findings` is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recurra.doctor.findings import Findings, Layer, Retraining
from recurra.doctor.memory import FAINT
from recurra.doctor.remedies import REMEDIES
from recurra.doctor.text import HEADINGS, TRIED, row, trial_row
from recurra.formatting import number
from recurra.report.charts import COLOURS, Line, axes, chart, legend, lines, told_apart
from recurra.report.page import Beside, Chart, Part, Points, Section, Styled, Table, Text, Words, render

FLOOR = 1e-16  # relative to the first; what is below is drawn on the edge


def doctor_page(findings: Findings) -> str:
    """The page as text.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    sections = [Section("What is wrong" if not findings.healthy else "What was found", _conclusions(findings))]
    if findings.retraining is not None:
        sections.append(Section("Remedies, tried", _retraining(findings.retraining)))
    layers = findings.layers
    if layers:
        spectra = [_eigenvalues(layer) for layer in layers if layer.spectrum.eigenvalues]
        sections += [
            Section("How far the gradient comes", [Beside(_gradient(findings))]),
            Section("What the network remembers, and its states", [Beside(_memory(findings))]),
            Section("From state to state", [Beside(spectra)]),
            Section("Units", [Beside(_units(layers))]),
            Section("All numbers", _numbers(findings)),
        ]
    if findings.steps:
        sections.append(Section("Training", [Beside(_training(findings.steps))]))
    return render("Doctor's report", sections, [_summary(findings)])


def _summary(findings: Findings) -> str:
    if findings.healthy:
        return "The network is healthy."
    tried = f" {findings.retraining.verdict.capitalize()}." if findings.retraining is not None else ""
    return f"Found: {', '.join(dict.fromkeys(f.kind for f in findings))}.{tried}"


def _conclusions(findings: Findings) -> list[Part]:
    """Kind by kind, and then what the remedies are."""
    parts: list[Part] = []
    for kind in dict.fromkeys(f.kind for f in findings):
        same = [f for f in findings if f.kind == kind]
        seen: list[Words] = [[f"In {f.where}: {f.evidence}. ", Styled(f"Cause: {f.cause}.", "muted")] for f in same]
        parts += [Text(Styled(kind.capitalize(), "strong")), Points(seen)]
        remedies = dict.fromkeys(r for f in same for r in f.remedies)
        if remedies:
            parts.append(Text(f"Remedies, in order: {', '.join(map(_spoken, remedies))}.", muted=True))
    named = dict.fromkeys(r for f in findings for r in f.remedies)
    if named:
        meanings: list[Words] = [[Styled(_spoken(r), "strong"), f": {REMEDIES[r]}"] for r in named]
        parts += [Text("What they are:"), Points(meanings)]
    return parts


def _spoken(remedy: str) -> str:
    return remedy.replace("_", " ")


def _retraining(tried: Retraining) -> list[Part]:
    skipped = f" Not possible here: {', '.join(tried.skipped)}." if tried.skipped else ""
    note = (
        f"Each was trained anew for {tried.steps} steps from the same seed on the same batches; the loss is of data "
        "held out, the gradient and the memory were measured again afterwards."
    )
    rows = [trial_row(trial) for trial in (tried.before, *tried.trials)]
    return [Table(TRIED, rows, best=tried.best.name, unbroken=True), Text(note + skipped, muted=True)]


def _gradient(findings: Findings) -> list[Chart]:
    rates = "; ".join(f"{y.name}: × {number(y.flow.rate)} at each step" for y in findings.layers)
    back = lines(
        "The norm of the gradient of the loss at the last step that it looks at, in the states before. Dotted: the lag "
        f"asked for, and {FAINT:g}. {rates}.",
        [
            Line(y.name, y.flow.lags, _relative(y.flow.norms, y.flow.norms[0]), **told_apart(i))
            for i, y in enumerate(findings.layers)
        ],
        x="steps back from the loss",
        y="gradient, relative to lag 0",
        height=2.9,
        log=True,
        floor=FLOOR,
        marks=[("x", findings.lag), ("y", FAINT)],
    )
    whole = lines(
        "The norm of the gradient of the whole loss in the states of each step.",
        [
            Line(y.name, range(len(y.flow.by_step)), y.flow.by_step, **told_apart(i))
            for i, y in enumerate(findings.layers)
        ],
        x="step, in the order of reading",
        y="gradient of the whole loss",
        height=2.9,
        log=any(v > 0 for layer in findings.layers for v in layer.flow.by_step),
    )
    return [back, whole]


def _memory(findings: Findings) -> list[Chart]:
    seen = [
        Line(y.name, y.memory.lags, _relative(y.memory.changes, max(y.memory.changes)), **told_apart(i))
        for i, y in enumerate(findings.layers)
    ]
    whole = findings.network.memory if findings.network is not None else None
    if whole is not None:
        changes = _relative(whole.changes, max(whole.changes))
        seen.append(Line("the network", whole.lags, changes, "ink", width=1.0))
    far = lines(
        "How much the last output moves when the input of one earlier step moves by a deviation.",
        seen,
        x="steps before the last output",
        y="change of the output, relative",
        height=2.7,
        log=True,
        floor=FLOOR,
        marks=[("x", findings.lag), ("y", FAINT)],
    )
    sizes = lines(
        "The size of the states.",
        [
            Line(y.name, range(len(y.activity.norms)), y.activity.norms, **told_apart(i))
            for i, y in enumerate(findings.layers)
        ],
        x="step, in the order of reading",
        y="root mean square",
        height=2.7,
        log=max(y.activity.largest for y in findings.layers) > 100,
    )
    return [far, sizes]


def _eigenvalues(layer: Layer) -> Chart:
    figure, ax = axes(4.7, 3.2, xlabel="real", ylabel="imaginary")
    turn = [2 * math.pi * i / 120 for i in range(121)]
    ax.plot([math.cos(a) for a in turn], [math.sin(a) for a in turn], color=COLOURS["muted"], linewidth=0.9)
    ax.scatter(*zip(*layer.spectrum.eigenvalues, strict=True), s=11, color=COLOURS["accent"], linewidths=0)
    ax.set_aspect("equal", adjustable="datalim")
    exponents = ", ".join(map(number, layer.spectrum.exponents))
    return chart(
        figure,
        f"{layer.name}: eigenvalues of the Jacobian from state to state at one step, and the unit circle: inside it "
        f"differences shrink. Lyapunov exponents, a step: {exponents}.",
    )


def _units(layers: Sequence[Layer]) -> list[Part]:
    parts: list[Part] = []
    bars = [(f"{y.name}  {s.name}", s) for y in layers for s in y.activity.saturation]
    if bars:
        figure, ax = axes(4.7, 0.8 + 0.24 * len(bars), xlabel="share of values at a limit")
        names = [name for name, _ in bars]
        low, high = [s.low for _, s in bars], [s.high for _, s in bars]
        ax.barh(names, low, color=COLOURS["second"], height=0.62, label="lower limit")
        ax.barh(names, high, left=low, color=COLOURS["accent"], height=0.62, label="upper limit")
        ax.set_xlim(0, 1)
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        legend(ax)
        parts.append(chart(figure, "Saturation: where an activation is flat, no gradient passes."))
    rows = [(y.name, "dead units", f"{len(y.activity.dead)} of {y.hidden_size}") for y in layers]
    for y in layers:
        rows += [(y.name, f"kept of {state} at a step", number(kept)) for state, kept in y.activity.kept.items()]
    return [*parts, Table(("layer", "what", "measured"), rows)]


def _numbers(findings: Findings) -> list[Part]:
    rows = [row(layer, findings.lag) for layer in findings.layers]
    (first, *others), network = (
        [(heading, *cells) for heading, *cells in zip(HEADINGS, *rows, strict=True)],
        findings.network,
    )
    parts: list[Part] = [Table(first, others, unbroken=True)]
    if network is not None:
        clipped = "" if network.clipped is None else f", {number(network.clipped)} after clipping"
        parts.append(Text(f"Loss {number(network.loss)}; norm of its gradient {number(network.gradient)}{clipped}."))
    return parts


def _training(steps: Sequence[dict[str, Any]]) -> list[Chart]:
    at = [s["step"] for s in steps]
    clipped = lines(
        "Before and after clipping.",
        [
            Line("before clipping", at, [s["gradient"] for s in steps]),
            Line("after", at, [s["after"] for s in steps], "second", "--"),
        ],
        x="step of training",
        y="norm of the gradient",
        height=2.6,
        log=True,
    )
    parts, rates = [clipped], []
    for i, name in enumerate(dict.fromkeys(name for s in steps for name in s["layers"])):
        own = [s for s in steps if name in s["layers"]]
        curve = [s["layers"][name]["rate"] for s in own]
        rates.append(Line(name, [s["step"] for s in own], curve, **told_apart(i)))
    if rates:
        text = "What the loss gradient is multiplied by at each step back: below 1 it vanishes."
        parts.append(lines(text, rates, x="step of training", y="factor per step back", height=2.6))
    if any(s["loss"] is not None for s in steps):
        losses = [Line("", at, [s["loss"] for s in steps])]
        parts.append(lines("The loss at the sampled steps.", losses, x="step of training", y="loss", height=2.6))
    return parts


def _relative(values: Sequence[float], to: float) -> list[float]:
    """Relative to a number, for a logarithmic axis: what is not there is a gap."""
    return [max(v / to, FLOOR) if v > 0 and math.isfinite(v) else math.nan for v in values]
