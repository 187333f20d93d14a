"""`Findings` as text: what is wrong first, then the numbers of each layer."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recurra.doctor.remedies import REMEDIES
from recurra.formatting import number

if TYPE_CHECKING:
    from recurra.doctor.findings import Findings, Layer, Retrained, Retraining
    from recurra.doctor.memory import Memory

HEADINGS = (
    *("layer", "cell", "units", "steps", "gradient x per step", "left at lag", "Lyapunov", "spectral radius"),
    *("largest state", "saturated", "dead", "inputs matter for", "gradient of weights"),
)
TRIED = ("trial", "loss", "gradient left", "memory", "parameters", "after")


def rendered(findings: Findings) -> Iterator[Any]:
    """What a Rich console prints."""
    for finding in findings:
        style = "green" if finding.kind == "healthy" else "bold red"
        yield Text.assemble((finding.kind, style), f"  {finding.where}")
        yield Padding(Text(finding.evidence), (0, 0, 0, 2))
        yield Padding(Text(f"cause: {finding.cause}"), (0, 0, 0, 2))
        if finding.remedies:
            yield Padding(Text(f"remedies, in order: {', '.join(finding.remedies)}"), (0, 0, 0, 2))
        yield ""
    named = dict.fromkeys(r for finding in findings for r in finding.remedies)
    if named:
        yield from (Text(f"{remedy}: {REMEDIES[remedy]}", style="dim") for remedy in named)
        yield ""
    if findings.layers:
        yield _measures(findings)
    network = findings.network
    if network is not None:
        clipped = "" if network.clipped is None else f", {number(network.clipped)} after clipping"
        memory = "" if network.memory is None else f"; an input matters for {reach(network.memory)} steps"
        yield f"loss {number(network.loss)}; norm of its gradient {number(network.gradient)}{clipped}{memory}"
    if findings.retraining is not None:
        yield from ("", *retraining_rendered(findings.retraining))


def retraining_rendered(retraining: Retraining) -> Iterator[Any]:
    """What a Rich console prints of the remedies that were tried."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in TRIED:
        table.add_column(heading, justify="left" if heading in ("trial", "after") else "right")
    for trial in [retraining.before, *retraining.trials]:
        table.add_row(*trial_row(trial), style="bold green" if trial is retraining.best and trial.remedies else None)
    yield table
    yield retraining.verdict


def shown(parts: Iterable[Any], width: int | None = None) -> str:
    """What a Rich console prints, as text, for a terminal of this width."""
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _measures(findings: Findings) -> Table:
    """One column for each layer, so that it fits a terminal."""
    table = Table(show_header=True, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    rows = [row(layer, findings.lag) for layer in findings.layers]
    table.add_column("layer", style="dim")
    for cells in rows:
        table.add_column(cells[0], justify="right")
    for i, heading in enumerate(HEADINGS[1:], 1):
        table.add_row(heading, *(cells[i] for cells in rows))
    return table


def row(layer: Layer, lag: int) -> list[str]:
    """A layer's numbers, as text, below `HEADINGS`."""
    at = min(lag, layer.flow.lags[-1])
    flat = max(layer.activity.saturation, key=lambda s: s.share, default=None)
    return [
        layer.name,
        layer.cell,
        str(layer.hidden_size),
        str(layer.steps),
        number(layer.flow.rate),
        f"{number(layer.flow.ratio(at))} at {at}",
        number(layer.spectrum.exponents[0]),
        number(layer.spectrum.radius),
        number(layer.activity.largest),
        "-" if flat is None else f"{flat.share:.0%} of {flat.name}",
        str(len(layer.activity.dead)),
        f"{reach(layer.memory)} steps",
        number(layer.weight_gradient),
    ]


def trial_row(trial: Retrained) -> tuple[str, ...]:
    """A retraining's numbers, as text, below `TRIED`; gradient and memory of the layer that remembers least."""
    layers, left, memory = trial.findings.layers, "-", "-"
    if layers:
        worst = min(layers, key=lambda y: y.memory.horizon)
        left = number(worst.flow.ratio(min(trial.findings.lag, worst.flow.lags[-1])))
        memory = reach(worst.memory)
    after = ", ".join(sorted(trial.findings.kinds)) if math.isfinite(trial.loss) else "training broke down"
    return (trial.name, number(trial.loss), left, memory, f"{trial.parameters:,}", after)


def reach(memory: Memory) -> str:
    """A horizon; with a plus where the sequence is no longer."""
    return f"{memory.horizon}{'+' if memory.complete else ''}"
