"""`Findings`: what the doctor measured and what it concludes, as text, as data, as a page, in TensorBoard."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.doctor.activity import Activity
from recurra.doctor.gradient import Flow
from recurra.doctor.jacobian import Spectrum
from recurra.doctor.memory import Memory
from recurra.doctor.trouble import Trouble

if TYPE_CHECKING:
    from recurra.doctor.cure import Cures


@dataclass(frozen=True)
class Finding:
    """One conclusion.

    Attributes:
        kind: a key of `recurra.doctor.KINDS`: "vanishing", "healthy" and so on.
        where: the layer, or "the network".
        evidence: what was measured, in a sentence with its numbers.
        cause: why that is so.
        remedies: what to do, the most promising first; keys of `recurra.doctor.REMEDIES`.
    """

    kind: str
    where: str
    evidence: str
    cause: str
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """What was measured of one layer and direction.

    Attributes:
        name: as in the module.
        cell: the name of its cell.
        hidden_size: H.
        steps, rows: how much of the data was looked at.
        gated: whether the cell has a gate that decides what is kept.
        reverse: whether it reads from the end.
        flow: the loss gradient against the lag.
        spectrum: of the state-to-state Jacobian.
        activity: saturation, dead units, growth.
        memory: how far back an input matters to the layer's last output.
        weight_gradient: the norm of the loss gradient in its weights.
    """

    name: str
    cell: str
    hidden_size: int
    steps: int
    rows: int
    gated: bool
    reverse: bool
    flow: Flow
    spectrum: Spectrum
    activity: Activity
    memory: Memory
    weight_gradient: float


@dataclass(frozen=True)
class Network:
    """What was measured of the network as a whole.

    Attributes:
        loss: on the data given.
        gradient: the norm of its gradient in all parameters, before clipping.
        clipped: that norm after clipping, where a threshold was given.
        inputs: (mean, standard deviation) of each feature that comes in; empty for whole numbers.
        memory: how far back an input matters to the network's last output; None where inputs are ragged, or no axis of
            the input is time.
        trials: the loss before and after some steps of the optimizer on the same data, by learning rate.
    """

    loss: float
    gradient: float
    clipped: float | None
    inputs: list[tuple[float, float]]
    memory: Memory | None
    trials: dict[str, list[float]]


@dataclass
class Findings:
    """The result of an examination.

    Attributes:
        findings: the conclusions; one "healthy" where nothing is wrong.
        layers: what was measured of each layer; empty where a number was none.
        network: what was measured of the whole; None where a number was none.
        lag: how many steps back the conclusions ask for.
        trouble: the first NaN or infinity.
        steps: what was measured in training, where this comes from `watch`.
        cures: the remedies that were tried, where `cure` has been called with this.
    """

    findings: list[Finding]
    layers: list[Layer] = field(default_factory=list)
    network: Network | None = None
    lag: int = 0
    trouble: Trouble | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    cures: Cures | None = None

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def kinds(self) -> set[str]:
        """The kinds of all findings."""
        return {f.kind for f in self.findings}

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.kinds == {"healthy"}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain lists, numbers and strings, ready for JSON; what is not finite is None."""
        result: dict[str, Any] = _plain(self)
        return result | {"healthy": self.healthy}

    def __str__(self) -> str:
        return self.show(width=100)

    def show(self, width: int | None = None) -> str:
        """As text with tables, for a terminal of this width."""
        from rich.console import Console

        from recurra.doctor.tables import rendered

        out = io.StringIO()
        console = Console(file=out, width=width, highlight=False)
        for part in rendered(self):
            console.print(part)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page with the findings, charts and numbers; return its path.

        Raises:
            MissingExtraError: Matplotlib or Jinja2 is not installed.
        """
        from recurra.report.doctor import doctor_page
        from recurra.report.page import write

        write(doctor_page(self), path)
        return Path(path)

    def to_tensorboard(self, where: Any, step: int = 0) -> None:
        """Write the numbers and findings for TensorBoard: to a SummaryWriter, or into a folder.

        Raises:
            MissingExtraError: TensorBoard is not installed.
        """
        from recurra.doctor.board import write

        write(self, where, step)


def _plain(thing: Any) -> Any:
    if is_dataclass(thing) and not isinstance(thing, type):
        to_dict = getattr(thing, "to_dict", None)
        if to_dict is not None and not isinstance(thing, Findings):
            return to_dict()
        return {name: _plain(getattr(thing, name)) for name in thing.__dataclass_fields__}
    if isinstance(thing, dict):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(v) for v in thing]
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else None
    return thing
