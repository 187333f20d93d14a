"""`Findings`: what the doctor measured, what it concludes, and what became of its remedies, as plain data.

Text, page and TensorBoard are made elsewhere from it, and imported where a user asks for them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.doctor.activity import Activity
from recurra.doctor.anomalies import Anomaly
from recurra.doctor.gradient import Flow
from recurra.doctor.jacobian import Spectrum
from recurra.doctor.memory import Memory
from recurra.formatting import number

if TYPE_CHECKING:
    from torch import nn

    from recurra.doctor.remedies import Setup

HELPS = 0.98  # times the loss before: less is help


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
        waiting: of each layer that runs step by step, where in training it would pay here to run it in parallel over
            time: what runs.
    """

    loss: float
    gradient: float
    clipped: float | None
    inputs: list[tuple[float, float]]
    memory: Memory | None
    trials: dict[str, list[float]]
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass
class Findings:
    """The result of an examination.

    Attributes:
        findings: the conclusions; one "healthy" where nothing is wrong.
        layers: what was measured of each layer; empty where a number was none.
        network: what was measured of the whole; None where a number was none.
        lag: how many steps back the conclusions ask for.
        anomaly: the first NaN or infinity.
        steps: what was measured in training, where this comes from `watch`.
        retraining: the remedies that were tried, where `retrain` has been called with this.
    """

    findings: list[Finding]
    layers: list[Layer] = field(default_factory=list)
    network: Network | None = None
    lag: int = 0
    anomaly: Anomaly | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    retraining: Retraining | None = None

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
        from recurra.doctor.text import rendered, shown

        return shown(rendered(self), width)

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
        from recurra.doctor.tensorboard import write

        write(self, where, step)


@dataclass
class Retrained:
    """One retraining.

    Attributes:
        remedies: what was changed; nothing: as it was.
        loss: on data that it was not trained on; infinite where training broke down.
        parameters: how many numbers were trained.
        findings: the examination afterwards.
        setup: how the module was made and trained.
        module: as trained.
    """

    remedies: tuple[str, ...]
    loss: float
    parameters: int
    findings: Findings
    setup: Setup
    module: nn.Module

    @property
    def name(self) -> str:
        """The remedies, or "as it was"."""
        return " + ".join(self.remedies) or "as it was"

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        loss, kinds = self.loss if math.isfinite(self.loss) else None, sorted(self.findings.kinds)
        return {"remedies": list(self.remedies), "loss": loss, "parameters": self.parameters, "after": kinds}


@dataclass
class Retraining:
    """The remedies that were tried.

    Attributes:
        before: the network as it was, trained as all others.
        trials: with each remedy alone, and then with all together that helped.
        skipped: remedies that this network or these data do not allow.
        steps: of each training.
    """

    before: Retrained
    trials: list[Retrained] = field(default_factory=list)
    skipped: tuple[str, ...] = ()
    steps: int = 0

    @property
    def best(self) -> Retrained:
        """The one with the least loss; as it was, where nothing helped by more than chance (2 %)."""
        least = min([self.before, *self.trials], key=lambda t: t.loss)
        return least if least.loss < HELPS * self.before.loss else self.before

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        best = self.best
        if not best.remedies:
            return f"after {self.steps} steps no remedy is better than the network as it was"
        was = number(self.before.loss)
        return f"after {self.steps} steps the loss is {number(best.loss)} with {best.name}, {was} as it was"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the modules, ready for JSON."""
        result: dict[str, Any] = {"before": self.before.to_dict(), "trials": [t.to_dict() for t in self.trials]}
        return result | {"best": list(self.best.remedies), "skipped": list(self.skipped), "steps": self.steps}

    def __str__(self) -> str:
        from recurra.doctor.text import retraining_rendered, shown

        return shown(retraining_rendered(self), 110)


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
