"""`Findings` as text: what is wrong first, then the numbers of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recurra.doctor.remedies import REMEDIES
from recurra.formatting import number

if TYPE_CHECKING:
    from recurra.doctor.findings import Findings, Layer
    from recurra.doctor.memory import Memory

HEADINGS = (
    *("layer", "cell", "units", "steps", "gradient x per step", "left at lag", "Lyapunov", "spectral radius"),
    *("largest state", "saturated", "dead", "inputs matter for", "gradient of weights"),
)


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
    if findings.cures is not None:
        yield from ("", *findings.cures.rendered())


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


def reach(memory: Memory) -> str:
    """A horizon; with a plus where the sequence is no longer."""
    return f"{memory.horizon}{'+' if memory.complete else ''}"
