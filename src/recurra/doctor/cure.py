"""`cure`: try the remedies by short matched retraining, and keep what is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from recurra.doctor.capture import Taps
from recurra.doctor.conclude import LAG, conclude, not_finite
from recurra.doctor.examine import Loss, _first, _loss, _tensor, arguments, look, time_axis
from recurra.doctor.findings import Findings
from recurra.doctor.tables import reach
from recurra.doctor.treatments import Case, Plan, treat
from recurra.doctor.trouble import Trouble
from recurra.errors import DoctorError
from recurra.formatting import number

Data: TypeAlias = "Callable[[], tuple[Any, Any]] | tuple[Any, Any]"
Train: TypeAlias = "Callable[[nn.Module, Plan], float]"
BATCH, HELD_OUT, VALIDATION = 32, 0.2, 4
ROWS = 4  # that are examined after each training
HELPS = 0.98  # times the loss before: less is help


@dataclass
class Trial:
    """One retraining.

    Attributes:
        remedies: what was changed; nothing: as it was.
        loss: on data that it was not trained on; infinite where training broke down.
        parameters: how many numbers were trained.
        findings: the examination afterwards; None where training broke down.
        plan: how the module was made and trained.
        module: as trained.
    """

    remedies: tuple[str, ...]
    loss: float
    parameters: int
    findings: Findings | None
    plan: Plan
    module: nn.Module

    @property
    def name(self) -> str:
        """The remedies, or "as it was"."""
        return " + ".join(self.remedies) or "as it was"

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        loss = self.loss if math.isfinite(self.loss) else None
        kinds = sorted(self.findings.kinds) if self.findings is not None else ["training broke down"]
        return {"remedies": list(self.remedies), "loss": loss, "parameters": self.parameters, "after": kinds}


@dataclass
class Cures:
    """What was tried.

    Attributes:
        before: the network as it was, trained as all others.
        trials: with each remedy alone, and then with all together that helped.
        skipped: remedies that this network or these data do not allow.
        steps: of each training.
    """

    before: Trial
    trials: list[Trial] = field(default_factory=list)
    skipped: tuple[str, ...] = ()
    steps: int = 0

    @property
    def best(self) -> Trial:
        """The one with the least loss; as it was, where nothing helped by more than chance (2 %)."""
        least = min([self.before, *self.trials], key=lambda t: t.loss)
        return least if least.loss < HELPS * self.before.loss else self.before

    def to_dict(self) -> dict[str, Any]:
        """Everything but the modules, ready for JSON."""
        result: dict[str, Any] = {"before": self.before.to_dict(), "trials": [t.to_dict() for t in self.trials]}
        return result | {"best": list(self.best.remedies), "skipped": list(self.skipped), "steps": self.steps}

    def rows(self) -> list[tuple[str, ...]]:
        """One line for each trial: name, loss, gradient left at the lag, memory, parameters, what is wrong after."""
        return [_row(t) for t in [self.before, *self.trials]]

    def rendered(self) -> Iterator[Any]:
        """What a Rich console prints."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for i, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="left" if i in (0, 5) else "right")
        for trial in [self.before, *self.trials]:
            table.add_row(*_row(trial), style="bold green" if trial is self.best and trial.remedies else None)
        yield table
        yield self.verdict

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        best = self.best
        if not best.remedies:
            return f"after {self.steps} steps no remedy is better than the network as it was"
        return (
            f"after {self.steps} steps the loss is {number(best.loss)} with {best.name}, "
            f"{number(self.before.loss)} as it was"
        )

    def __str__(self) -> str:
        import io

        from rich.console import Console

        out = io.StringIO()
        console = Console(file=out, width=110, highlight=False)
        for part in self.rendered():
            console.print(part)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


HEADINGS = ("trial", "loss", "gradient left", "memory", "parameters", "after")


def cure(
    make: Callable[[], nn.Module],
    data: Data,
    loss: Loss | None = None,
    findings: Findings | None = None,
    *,
    held_out: tuple[Any, Any] | None = None,
    train: Train | None = None,
    steps: int = 200,
    learning_rate: float = 1e-3,
    clip: float | None = None,
    lag: int | None = None,
    batch_first: bool = False,
    seed: int = 0,
) -> Cures:
    """Try the remedies of some findings, each by training anew, and compare.

    All trainings are matched: they begin from the same seed, see the same batches in the same order, and take as many
    steps of Adam. The network as it was is trained first; then each remedy alone; then, where several helped, all of
    those together, and where a gated cell helped, that with the bias of its gate. Each is then examined again.

    Args:
        make: makes the module, with fresh weights each time.
        data: a function that draws a batch (x, y) from torch's random numbers; or one pair (x, y), of which a fifth of
            the sequences is held out.
        loss: as for `examine`.
        findings: of the sick network, whose `cures` become the result, so that its report has them; without them it is
            made, trained and examined here.
        held_out: a batch to compare on, in place of some drawn first.
        train: trains a module as a `Plan` says and returns its loss on data held out, in place of our loop.
        steps: of each training.
        learning_rate: before a remedy lowers it.
        clip: the gradient's norm is clipped there, before a remedy does.
        lag: how many steps back the task needs the network to look; by default that of the findings.
        batch_first: whether the sequences of x and y lie along the first axis; where y has as many as x has.
        seed: of everything.

    Raises:
        DoctorError: the data are too few to hold any out.
    """
    torch_state = torch.random.get_rng_state()
    try:
        wanted = (findings.lag if findings is not None else LAG) if lag is None else lag
        clinic = _Clinic(data, held_out, loss, train, steps, wanted, batch_first, seed)
        plan = Plan(make, learning_rate, clip)
        before = clinic.trial((), plan)
        sick = before.findings if findings is None else findings
        remedies = dict.fromkeys(r for f in sick or () for r in f.remedies)
        case = clinic.case(before)
        trials, skipped = [], []
        for name in remedies:
            changed = treat(name, plan, case)
            if changed is None:
                skipped.append(name)
            else:
                trials.append(clinic.trial((name,), changed))
        helped = [t.remedies[0] for t in sorted(trials, key=lambda t: t.loss) if t.loss < HELPS * before.loss]
        tried = [helped] if len(helped) > 1 else []
        if "gated_cell" in helped:
            tried.append(["gated_cell", "forget_bias"])
        trials += [t for names in tried for t in clinic.together(names, plan, case)]
        result = Cures(before, trials, tuple(skipped), steps)
        if findings is not None:
            findings.cures = result
        return result
    finally:
        torch.random.set_rng_state(torch_state)


class _Clinic:
    """Trains plans, all on the same data."""

    def __init__(
        self,
        data: Data,
        held_out: tuple[Any, Any] | None,
        loss: Loss | None,
        train: Train | None,
        steps: int,
        lag: int,
        batch_first: bool,
        seed: int,
    ) -> None:
        self.loss, self.train, self.steps, self.lag, self.seed = loss, train, steps, lag, seed
        self.norms: list[float] = []
        self.draw: Callable[[], tuple[Any, Any]]
        torch.manual_seed(seed + 1)
        if callable(data):
            self.draw = data
            self.held_out = [data() for _ in range(VALIDATION)] if held_out is None else [held_out]
        else:
            self._split(_tensor(data[0]), _tensor(data[1]), 0 if batch_first else 1)

    def _split(self, x: Tensor, y: Tensor, axis: int) -> None:
        B = x.shape[axis]
        own = axis if y.dim() > axis and y.shape[axis] == B else 0
        count = round(HELD_OUT * B)
        if not 0 < count < B or y.shape[own] != B:
            raise DoctorError(
                f"cure: x has shape {tuple(x.shape)} and y {tuple(y.shape)}, expected several sequences along axis "
                f"{axis}, as many in both: pass batch_first, or a function that draws batches"
            )
        order = torch.randperm(B)
        self.held_out = [(x.index_select(axis, order[:count]), y.index_select(own, order[:count]))]
        x, y = x.index_select(axis, order[count:]), y.index_select(own, order[count:])

        def draw() -> tuple[Tensor, Tensor]:
            some = torch.randint(B - count, (min(BATCH, B - count),))
            return x.index_select(axis, some), y.index_select(own, some)

        self.draw = draw

    def trial(self, remedies: tuple[str, ...], plan: Plan) -> Trial:
        torch.manual_seed(self.seed)
        module = plan.make()
        torch.manual_seed(self.seed + 2)
        loss = self.train(module, plan) if self.train is not None else self._train(module, plan, not remedies)
        loss = loss if math.isfinite(loss) else math.inf
        findings = self.examined(module)
        count = sum(p.numel() for p in module.parameters())
        return Trial(remedies, loss, count, findings, plan, module)

    def examined(self, module: nn.Module) -> Findings:
        """What is wrong with its layers."""
        x, y = self.held_out[0]
        seen = look(module, arguments(x), y, self.loss, ROWS)
        if isinstance(seen, Trouble):
            return Findings([not_finite(seen)], trouble=seen)
        return Findings(conclude(seen.layers, None, self.lag), seen.layers, None, self.lag)

    def together(self, helped: list[str], plan: Plan, case: Case) -> list[Trial]:
        used: list[str] = []
        for name in helped:
            changed = treat(name, plan, case)
            if changed is not None:
                plan, used = changed, [*used, name]
        return [self.trial(tuple(used), plan)] if len(used) > 1 else []

    def case(self, before: Trial) -> Case:
        x, _ = self.held_out[0]
        args = arguments(x)
        with torch.no_grad(), Taps(before.module) as taps:
            output = _first(before.module(*args))
        call = next(iter(taps.calls.values()))
        axis = time_axis(args[0], call) if len(args) == 1 else None
        ends = axis is not None and not (output.dim() > axis + 1 and output.shape[axis] == args[0].shape[axis])
        norms = sorted(n for n in self.norms if math.isfinite(n))
        usual = norms[len(norms) // 2] if norms else math.inf
        return Case(self.lag, args[0], axis, ends, usual)

    def _train(self, module: nn.Module, plan: Plan, note: bool) -> float:
        optimizer = torch.optim.Adam(module.parameters(), lr=plan.learning_rate)
        for _ in range(self.steps):
            x, y = self.draw()
            value = _loss(self.loss, self._run(module, x), y)
            if not bool(torch.isfinite(value)):
                return math.inf
            optimizer.zero_grad()
            value.backward()
            norm = nn.utils.clip_grad_norm_(module.parameters(), math.inf if plan.clip is None else plan.clip)
            if note:
                self.norms.append(float(norm))
            optimizer.step()
        module.eval()
        with torch.no_grad():
            losses = [float(self._plain(module, x, y)) for x, y in self.held_out]
        module.train()
        return sum(losses) / len(losses)

    def _plain(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        with torch.enable_grad():
            return _loss(self.loss, self._run(module, x), y).detach()

    @staticmethod
    def _run(module: nn.Module, x: Any) -> Any:
        return module(*arguments(x))


def _row(trial: Trial) -> tuple[str, ...]:
    layers = trial.findings.layers if trial.findings is not None else []
    left = memory = "-"
    if layers:
        worst = min(layers, key=lambda y: y.memory.horizon)
        left = number(worst.flow.ratio(min(trial.findings.lag, worst.flow.lags[-1])))  # type: ignore[union-attr]
        memory = reach(worst.memory)
    after = ", ".join(sorted(trial.findings.kinds)) if trial.findings is not None else "training broke down"
    return (trial.name, number(trial.loss), left, memory, f"{trial.parameters:,}", after)
