"""`retrain`: try the remedies by short matched retraining, and keep what is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from recurra.doctor.anomalies import Anomaly
from recurra.doctor.examine import Loss, arguments, first_tensor, look, loss_of, norm_of, time_axis
from recurra.doctor.findings import HELPS, Findings, Retrained, Retraining
from recurra.doctor.remedies import Facts, Setup, applied
from recurra.doctor.rules import LAG, findings_of, not_finite
from recurra.errors import DoctorError, TrainingError
from recurra.torch.observe import Observer
from recurra.train import Settings, train

Data: TypeAlias = "Callable[[], tuple[Any, Any]] | tuple[Any, Any]"
Train: TypeAlias = "Callable[[nn.Module, Setup], float]"
BATCH, HELD_OUT, VALIDATION = 32, 0.2, 4
ROWS = 4  # that are examined after each training
EPOCHS = 10  # times that the loss held out is measured; the weights of the best are kept


def retrain(
    make: Callable[[], nn.Module],
    data: Data,
    loss: Loss | None = None,
    findings: Findings | None = None,
    *,
    held_out: tuple[Any, Any] | None = None,
    train: Train | None = None,
    steps: int = 200,
    learning_rate: float = Settings.learning_rate,
    clip: float | None = None,
    lag: int | None = None,
    batch_first: bool = False,
    seed: int = 0,
) -> Retraining:
    """Try the remedies of some findings, each by training anew, and compare.

    All trainings are matched: they begin from the same seed, see the same batches in the same order, and are
    `recurra.train.train` for as many steps. The network as it was is trained first; then each remedy alone; then, where
    several helped, all of those together, and where a gated cell helped, that with the bias of its gate. Each is then
    examined again.

    Args:
        make: makes the module, with fresh weights each time.
        data: a function that draws a batch (x, y) from torch's random numbers; or one pair (x, y), of which a fifth of
            the sequences is held out.
        loss: as for `examine`.
        findings: of the sick network, whose `retraining` becomes the result, so that its report has it; without them
            it is made, trained and examined here.
        held_out: a batch to compare on, in place of some drawn first.
        train: trains a module as a `Setup` says and returns its loss on data held out, in place of our loop.
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
        trials = _Trials(data, held_out, loss, train, steps, wanted, batch_first, seed)
        setup = Setup(make, learning_rate, clip)
        before = trials.run((), setup)
        sick = before.findings if findings is None else findings
        facts = trials.facts(before)
        tried, skipped = [], []
        for name in dict.fromkeys(r for f in sick or () for r in f.remedies):
            changed = applied(name, setup, facts)
            if changed is None:
                skipped.append(name)
            else:
                tried.append(trials.run((name,), changed))
        helped = [t.remedies[0] for t in sorted(tried, key=lambda t: t.loss) if t.loss < HELPS * before.loss]
        together = [helped] if len(helped) > 1 else []
        if "gated_cell" in helped:
            together.append(["gated_cell", "forget_bias"])
        tried += [t for names in together for t in trials.together(names, setup, facts)]
        result = Retraining(before, tried, tuple(skipped), steps)
        if findings is not None:
            findings.retraining = result
        return result
    finally:
        torch.random.set_rng_state(torch_state)


class _Trials:
    """Trains setups, all on the same data."""

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
            x, y = arguments((data[0], data[1]))
            self._split(x, y, 0 if batch_first else 1)

    def _split(self, x: Tensor, y: Tensor, axis: int) -> None:
        B = x.shape[axis]
        own = axis if y.dim() > axis and y.shape[axis] == B else 0
        count = round(HELD_OUT * B)
        if not 0 < count < B or y.shape[own] != B:
            raise DoctorError(
                f"retrain: x has shape {tuple(x.shape)} and y {tuple(y.shape)}, expected several sequences along axis "
                f"{axis}, as many in both: pass batch_first, or a function that draws batches"
            )
        order = torch.randperm(B)
        self.held_out = [(x.index_select(axis, order[:count]), y.index_select(own, order[:count]))]
        x, y = x.index_select(axis, order[count:]), y.index_select(own, order[count:])

        def draw() -> tuple[Tensor, Tensor]:
            some = torch.randint(B - count, (min(BATCH, B - count),))
            return x.index_select(axis, some), y.index_select(own, some)

        self.draw = draw

    def run(self, remedies: tuple[str, ...], setup: Setup) -> Retrained:
        torch.manual_seed(self.seed)
        module = setup.make()
        loss = self.train(module, setup) if self.train is not None else self._train(module, setup, not remedies)
        loss = loss if math.isfinite(loss) else math.inf
        count = sum(p.numel() for p in module.parameters())
        return Retrained(remedies, loss, count, self.examined(module), setup, module)

    def examined(self, module: nn.Module) -> Findings:
        """What is wrong with its layers."""
        x, y = self.held_out[0]
        seen = look(module, arguments(x), y, self.loss, ROWS)
        if isinstance(seen, Anomaly):
            return Findings([not_finite(seen)], anomaly=seen)
        return Findings(findings_of(seen.layers, None, self.lag), seen.layers, None, self.lag)

    def together(self, names: list[str], setup: Setup, facts: Facts) -> list[Retrained]:
        used: list[str] = []
        for name in names:
            changed = applied(name, setup, facts)
            if changed is not None:
                setup, used = changed, [*used, name]
        return [self.run(tuple(used), setup)] if len(used) > 1 else []

    def facts(self, before: Retrained) -> Facts:
        """What remedies need to know, from a run of the network as it was."""
        args = arguments(self.held_out[0][0])
        with torch.no_grad(), Observer(before.module) as seen:
            output = first_tensor(before.module(*args))
        axis = time_axis(args[0], seen.longest()[0]) if len(args) == 1 else None
        ends = axis is not None and not (output.dim() > axis + 1 and output.shape[axis] == args[0].shape[axis])
        norms = sorted(n for n in self.norms if math.isfinite(n))
        usual = norms[len(norms) // 2] if norms else math.inf
        return Facts(self.lag, args[0], axis, ends, usual)

    def _train(self, module: nn.Module, setup: Setup, note: bool) -> float:
        """The least loss on the data held out; infinite where training broke down."""
        updates = -(-self.steps // EPOCHS)
        settings = Settings(
            epochs=-(-self.steps // updates),
            learning_rate=setup.learning_rate,
            clip=math.inf if setup.clip is None else setup.clip,
            patience=EPOCHS,
            seed=self.seed,
        )
        hook = register_multi_grad_hook(list(module.parameters()), lambda g: self.norms.append(norm_of(g)))
        if not note:
            hook.remove()

        def batches(epoch: int) -> Iterable[tuple[Any, Any]]:
            # All at once, so that a remedy that draws random numbers itself does not change what is seen.
            return [self.draw() for _ in range(min(updates, self.steps - epoch * updates))]

        def validate() -> dict[str, float]:
            with torch.enable_grad():
                losses = [float(self._loss(module, batch).detach()) for batch in self.held_out]
            return {"valid_loss": sum(losses) / len(losses)}

        def loss(batch: tuple[Any, Any]) -> Tensor:
            return self._loss(module, batch)

        try:
            return train(module, batches, loss, validate, settings, updates=updates).best_error
        except TrainingError:
            return math.inf
        finally:
            hook.remove()

    def _loss(self, module: nn.Module, batch: tuple[Any, Any]) -> Tensor:
        return loss_of(self.loss, module(*arguments(batch[0])), batch[1])
