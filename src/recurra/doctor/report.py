"""`Findings` as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from recurra.doctor.memory import FAINT
from recurra.doctor.remedies import REMEDIES
from recurra.doctor.tables import HEADINGS, number, row
from recurra.draw.page import COLOURS, axes, chart, page, table

if TYPE_CHECKING:
    from recurra.doctor.findings import Findings, Layer

LINES = [COLOURS[name] for name in ("accent", "second", "third", "fourth")]
DASHES = ["-", "--", ":", "-."]
FLOOR = 1e-16  # relative to the first; what is below is drawn on the edge


def report(findings: Findings) -> str:
    """The page as text.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    sections = [("What is wrong" if not findings.healthy else "What was found", _conclusions(findings))]
    if findings.cures is not None:
        sections.append(("Remedies, tried", _cures(findings)))
    if findings.layers:
        sections += [
            ("How far the gradient comes", _gradient(findings)),
            ("What the network remembers, and its states", _memory(findings)),
            ("From state to state", _spectra(findings.layers)),
            ("Units", _units(findings.layers)),
            ("All numbers", _numbers(findings)),
        ]
    if findings.steps:
        sections.append(("Training", _training(findings.steps)))
    return page("Doctor's report", sections, _summary(findings))


def _summary(findings: Findings) -> str:
    if findings.healthy:
        return "<p>The network is healthy.</p>"
    cures = f" {escape(findings.cures.verdict).capitalize()}." if findings.cures is not None else ""
    return f"<p>Found: {', '.join(escape(kind) for kind in dict.fromkeys(f.kind for f in findings))}.{cures}</p>"


def _conclusions(findings: Findings) -> str:
    """Kind by kind, and then what the remedies are."""
    parts = []
    for kind in dict.fromkeys(f.kind for f in findings):
        same = [f for f in findings if f.kind == kind]
        seen = "".join(
            f'<li>In {escape(f.where)}: {escape(f.evidence)}. <span class="muted">Cause: {escape(f.cause)}.</span></li>'
            for f in same
        )
        remedies = dict.fromkeys(r for f in same for r in f.remedies)
        text = f'<p class="muted">Remedies, in order: {", ".join(map(_word, remedies))}.</p>' if remedies else ""
        parts.append(f"<p><strong>{escape(kind.capitalize())}</strong></p><ul>{seen}</ul>{text}")
    named = dict.fromkeys(r for f in findings for r in f.remedies)
    meanings = "".join(f"<li><strong>{_word(r)}</strong>: {escape(REMEDIES[r])}</li>" for r in named)
    return "".join(parts) + (f"<p>What they are:</p><ul>{meanings}</ul>" if named else "")


def _word(remedy: str) -> str:
    return escape(remedy.replace("_", " "))


def _cures(findings: Findings) -> str:
    from recurra.doctor.cure import HEADINGS as COLUMNS

    cures = findings.cures
    assert cures is not None
    skipped = f" Not possible here: {escape(', '.join(cures.skipped))}." if cures.skipped else ""
    note = (
        f"Each was trained anew for {cures.steps} steps from the same seed on the same batches; the loss is of data "
        "held out, the gradient and the memory were measured again afterwards."
    )
    rows = [[*map(_unbroken, cells)] for cells in cures.rows()]
    return table(COLUMNS, rows, best=_unbroken(cures.best.name)) + f'<p class="muted">{note}{skipped}</p>'


def _gradient(findings: Findings) -> str:
    figure, ax = axes(4.7, 2.9, xlabel="steps back from the loss", ylabel="gradient, relative to lag 0")
    for layer, style in _styled(findings.layers):
        norms = layer.flow.norms
        ax.plot(layer.flow.lags, _relative(norms, norms[0]), label=layer.name, **style)
    _log(ax)
    ax.axvline(findings.lag, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    ax.axhline(FAINT, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    ax.legend()
    rates = "; ".join(f"{y.name}: × {number(y.flow.rate)} at each step" for y in findings.layers)
    text = (
        "The norm of the gradient of the loss at the last step that it looks at, in the states before. Dotted: the lag "
        f"asked for, and {FAINT:g}. {rates}."
    )
    figure2, ax2 = axes(4.7, 2.9, xlabel="step, in the order of reading", ylabel="gradient of the whole loss")
    for layer, style in _styled(findings.layers):
        ax2.plot(layer.flow.by_step, label=layer.name, **style)
    if any(v > 0 for layer in findings.layers for v in layer.flow.by_step):
        ax2.set_yscale("log")
    whole = "The norm of the gradient of the whole loss in the states of each step."
    return f'<div class="pair">{chart(figure, text)}{chart(figure2, whole)}</div>'


def _memory(findings: Findings) -> str:
    figure, ax = axes(4.7, 2.7, xlabel="steps before the last output", ylabel="change of the output, relative")
    for layer, style in _styled(findings.layers):
        ax.plot(
            layer.memory.lags, _relative(layer.memory.changes, max(layer.memory.changes)), label=layer.name, **style
        )
    whole = findings.network.memory if findings.network is not None else None
    if whole is not None:
        changes = _relative(whole.changes, max(whole.changes))
        ax.plot(whole.lags, changes, color=COLOURS["ink"], linewidth=1.0, label="the network")
    _log(ax)
    ax.axvline(findings.lag, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    ax.axhline(FAINT, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    ax.legend()
    text = "How much the last output moves when the input of one earlier step moves by a deviation."
    return f'<div class="pair">{chart(figure, text)}{_sizes(findings.layers)}</div>'


def _sizes(layers: Sequence[Layer]) -> str:
    figure, ax = axes(4.7, 2.7, xlabel="step, in the order of reading", ylabel="root mean square")
    for layer, style in _styled(layers):
        ax.plot(layer.activity.norms, label=layer.name, **style)
    if max(y.activity.largest for y in layers) > 100:
        ax.set_yscale("log")
    ax.legend()
    return chart(figure, "The size of the states.")


def _spectra(layers: Sequence[Layer]) -> str:
    return f'<div class="pair">{"".join(_eigenvalues(y) for y in layers if y.spectrum.eigenvalues)}</div>'


def _eigenvalues(layer: Layer) -> str:
    figure, ax = axes(4.7, 3.2, xlabel="real", ylabel="imaginary")
    turn = [2 * math.pi * i / 120 for i in range(121)]
    ax.plot([math.cos(a) for a in turn], [math.sin(a) for a in turn], color=COLOURS["muted"], linewidth=0.9)
    ax.scatter(*zip(*layer.spectrum.eigenvalues, strict=True), s=11, color=COLOURS["accent"], linewidths=0)
    ax.set_aspect("equal", adjustable="datalim")
    exponents = ", ".join(number(e) for e in layer.spectrum.exponents)
    return chart(
        figure,
        f"{layer.name}: eigenvalues of the Jacobian from state to state at one step, and the unit circle: inside it "
        f"differences shrink. Lyapunov exponents, a step: {exponents}.",
    )


def _units(layers: Sequence[Layer]) -> str:
    bars = [(f"{y.name}  {s.name}", s) for y in layers for s in y.activity.saturation]
    kept = [(y.name, state, share) for y in layers for state, share in y.activity.kept.items()]
    parts = []
    if bars:
        figure, ax = axes(4.7, 0.8 + 0.24 * len(bars), xlabel="share of values at a limit")
        names = [name for name, _ in bars]
        low, high = [s.low for _, s in bars], [s.high for _, s in bars]
        ax.barh(names, low, color=COLOURS["second"], height=0.62, label="lower limit")
        ax.barh(names, high, left=low, color=COLOURS["accent"], height=0.62, label="upper limit")
        ax.set_xlim(0, 1)
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.legend(loc="lower right")
        parts.append(chart(figure, "Saturation: where an activation is flat, no gradient passes."))
    rows = [(y.name, "dead units", f"{len(y.activity.dead)} of {y.hidden_size}") for y in layers]
    rows += [(name, f"kept of {state} at a step", f"{share:.3g}") for name, state, share in kept]
    parts.append(table(("layer", "what", "measured"), rows))
    return f'<div class="pair">{"".join(parts)}</div>'


def _numbers(findings: Findings) -> str:
    rows = [row(layer, findings.lag) for layer in findings.layers]
    turned = [[heading, *(cells[i] for cells in rows)] for i, heading in enumerate(HEADINGS)]
    network = findings.network
    text = ""
    if network is not None:
        clipped = "" if network.clipped is None else f", {number(network.clipped)} after clipping"
        text = f"<p>Loss {number(network.loss)}; norm of its gradient {number(network.gradient)}{clipped}.</p>"
    whole = [[_unbroken(c) for c in cells] for cells in turned]
    return table(whole[0], whole[1:]) + text


def _unbroken(text: str) -> str:
    """A table scrolls on a phone rather than breaking its cells."""
    return text.replace(" ", "\u00a0").replace("-", "\u2011")


def _training(steps: Sequence[dict[str, Any]]) -> str:
    at = [s["step"] for s in steps]
    figure, ax = axes(4.7, 2.6, xlabel="step of training", ylabel="norm of the gradient")
    ax.plot(at, [s["gradient"] for s in steps], color=COLOURS["accent"], label="before clipping")
    ax.plot(at, [s["after"] for s in steps], color=COLOURS["second"], linestyle="--", label="after")
    ax.set_yscale("log")
    ax.legend()
    parts = [chart(figure, "Before and after clipping.")]
    names = dict.fromkeys(name for s in steps for name in s["layers"])
    if names:
        figure, ax = axes(4.7, 2.6, xlabel="step of training", ylabel="factor per step back")
        for i, name in enumerate(names):
            seen = [(s["step"], s["layers"][name]["rate"]) for s in steps if name in s["layers"]]
            ax.plot(*zip(*seen, strict=True), label=name, **_style(i))
        ax.legend()
        parts.append(chart(figure, "What the loss gradient is multiplied by at each step back: below 1 it vanishes."))
    if any(s["loss"] is not None for s in steps):
        figure, ax = axes(4.7, 2.6, xlabel="step of training", ylabel="loss")
        ax.plot(at, [s["loss"] for s in steps], color=COLOURS["accent"])
        parts.append(chart(figure, "The loss at the sampled steps."))
    return f'<div class="pair">{"".join(parts)}</div>'


def _styled(layers: Sequence[Layer]) -> Iterable[tuple[Layer, dict[str, Any]]]:
    return ((layer, _style(i)) for i, layer in enumerate(layers))


def _style(i: int) -> dict[str, Any]:
    return {"color": LINES[i % len(LINES)], "linestyle": DASHES[i // len(LINES) % len(DASHES)], "linewidth": 1.6}


def _relative(values: Sequence[float], to: float) -> list[float]:
    """Relative to a number, for a logarithmic axis: what is not there is a gap."""
    return [max(v / to, FLOOR) if v > 0 and math.isfinite(v) else math.nan for v in values]


def _log(ax: Any) -> None:
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, FLOOR / 3), high)
