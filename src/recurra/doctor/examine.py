"""`examine`: run a network on data, measure, conclude."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra.doctor.activity import activity, is_gated
from recurra.doctor.anomalies import Anomaly
from recurra.doctor.findings import Findings, Layer, Network
from recurra.doctor.gradient import flow
from recurra.doctor.jacobian import spectrum
from recurra.doctor.memory import Memory, measured, memory_of, shift_of
from recurra.doctor.rules import LAG, findings_of, not_finite
from recurra.doctor.search import find_anomaly
from recurra.errors import DoctorError
from recurra.runtime.model import Model
from recurra.torch import Recurrent
from recurra.torch.bridge import stack_of
from recurra.torch.observe import Call, Observer, Segment, longest, recurrences_of, recurrent_layers, tensors_in
from recurra.torch.parallel import parts_for
from recurra.traces import LayerTrace

Loss: TypeAlias = "Callable[[Any, Any], Tensor]"
ROWS = 16  # sequences that are looked at, step by step
TRIALS = 10  # steps of the optimizer
ROUNDING = 4.0  # units in the last place of the output, that a change may be by chance


def examine(
    module: nn.Module | Model,
    x: Any,
    y: Any = None,
    loss: Loss | None = None,
    *,
    lag: int | None = None,
    clip: float | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    rows: int = ROWS,
) -> Findings:
    """Find out what is wrong with a recurrent network, and why.

    The network is copied and run on x without dropout; nothing of it changes. Its recurrent layers may stand anywhere
    in it, may be those of recurra.torch or torch.nn, and may have any cell. Each is then evaluated in float64 by its
    equations, on its longest sequences; a layer that is called several times, on its longest call.

    Args:
        module: a torch module, or a model as `recurra.load` returns it.
        x: what the module takes: a tensor or array, or a tuple of arguments.
        y: what the loss takes besides the output.
        loss: `loss(module(x), y)` is what gradients are of. Without it: cross entropy where y is whole numbers, the
            mean square of the difference where it is not; without y, a fixed random combination of the last output.
        lag: how many steps back the task needs the network to look; 20 if not given, or what the sequences have.
        clip: the threshold of the gradient's norm in training.
        optimizer: the one in training; then some steps of a copy are tried, at its learning rate and a tenth of it.
        rows: sequences that are looked at step by step.

    Returns:
        The findings: each with evidence, cause and remedies in order; print them, or see `Findings`.

    Raises:
        DoctorError: no recurrent layer, no steps, or a loss that does not depend on the network.

    >>> import torch
    >>> from recurra import doctor
    >>> from recurra.torch import Recurrent
    >>> layer = Recurrent("rnn", 1, 8)
    >>> _ = torch.nn.init.orthogonal_(layer.weight_hh_l0, gain=0.3)
    >>> findings = doctor.examine(layer, torch.randn(40, 4, 1, generator=torch.Generator().manual_seed(0)))
    >>> "vanishing" in findings.kinds
    True
    """
    module = stack_of(module) if isinstance(module, Model) else module
    args, target = arguments(x), y if y is None else _tensor(y)
    seen = look(module, args, target, loss, rows)
    if isinstance(seen, Anomaly):
        return Findings([not_finite(seen)], anomaly=seen)
    network = Network(
        seen.loss,
        seen.gradient,
        None if clip is None else min(seen.gradient, clip),
        _inputs(args[0]),
        _memory(seen.work, args, seen.call),
        _trials(module, args, target, loss, optimizer, clip),
        seen.waiting,
    )
    taken = LAG if lag is None else lag
    return Findings(findings_of(seen.layers, network, taken), seen.layers, network, taken)


@dataclass
class Seen:
    """What one run forward and backward shows of a module.

    Attributes:
        work: the copy that was run.
        layers: what was measured of each.
        loss: its value.
        gradient: the norm of its gradient in all parameters.
        call: of the first recurrent layer.
        waiting: what `Network.waiting` says.
    """

    work: nn.Module
    layers: list[Layer]
    loss: float
    gradient: float
    call: Call
    waiting: dict[str, str]


def look(module: nn.Module, args: tuple[Any, ...], target: Any, loss: Loss | None, rows: int) -> Seen | Anomaly:
    """Run a copy forward and backward once, and measure its layers; or say where a number was none.

    Raises:
        DoctorError: as `examine`.
    """
    work = _working_copy(module)
    need_recurrent(work)
    with Observer(work, others=True) as seen:
        output = work(*args)
        value = loss_of(loss, output, target)
    calls = seen.longest()
    if not calls:
        raise DoctorError("examine: no recurrent layer of the module ran on x")
    wanted = [t for call in calls for t in call.tensors()]
    named = dict(work.named_parameters())
    found = _gradients(value, [*wanted, *named.values()])
    by_name = dict(zip(named, found[len(wanted) :], strict=True))
    grads = iter(found)
    back = [call.gradients([next(grads) for _ in call.tensors()]) for call in calls]
    anomaly = find_anomaly(seen.passed, calls, back, value, by_name)
    if anomaly is not None:
        return anomaly
    layers = [
        _layer(trace, norm_of(by_name[n] for n in names))
        for call, gradients in zip(calls, back, strict=True)
        for trace, names in zip(call.traces(steps_of(call, rows), gradients), _parameters(work, call), strict=True)
    ]
    return Seen(work, layers, float(value.detach()), norm_of(by_name.values()), calls[0], _waiting(calls))


def _waiting(calls: list[Call]) -> dict[str, str]:
    """The layers that are kept from running in parallel over time, and what they run."""
    found = {}
    for call in calls:
        layer, (T, B) = call.module, call.x.shape[:2]
        if isinstance(layer, Recurrent) and layer.parallel is False:
            parts = parts_for("auto", layer.cell, call.x, training=True)
            if parts > 1:
                found[call.name] = f"{T} steps of {B} rows one after the other, where {parts} parts could run at once"
    return found


def need_recurrent(module: nn.Module) -> None:
    """Check that there is something to look at.

    Raises:
        DoctorError: it has no recurrent layer.
    """
    if not recurrent_layers(module):
        raise DoctorError(
            f"the doctor: {type(module).__name__} has no recurrent layer, expected one of recurra.torch or torch.nn "
            "(RNN, LSTM, GRU, Recurrent) or one with a method `recurrences`: write a loop over torch.nn cells as "
            "recurra.torch.Recurrent"
        )


def steps_of(call: Call, rows: int) -> list[Segment]:
    """The longest parts of at most so many rows.

    Raises:
        DoctorError: there is no step.
    """
    found = longest(call, rows)
    if not found:
        raise DoctorError(
            f"the doctor: {call.name} was called with x {tuple(call.x.shape)}, expected at least one step"
        )
    return found


def _layer(trace: LayerTrace, weight_gradient: float) -> Layer:
    """All measures of one trace."""
    T, R, _ = trace.x.shape
    walk, did = activity(trace.astype(np.float64))
    cell = trace.cell
    return Layer(
        trace.name,
        cell.name,
        trace.weights.hidden_size,
        T,
        R,
        is_gated(cell),
        trace.reverse,
        flow(walk),
        spectrum(walk),
        did,
        memory_of(walk),
        weight_gradient,
    )


def _parameters(work: nn.Module, call: Call) -> list[list[str]]:
    """The names of the parameters of each trace of a layer; all of the layer's, where names do not tell."""
    prefix = next(f"{name}." if name else "" for name, m in work.named_modules() if m is call.module)
    names = [n for n, _ in work.named_parameters() if n.startswith(prefix)]
    traces = []
    for depth, entry in enumerate(recurrences_of(call.module)):
        for direction in range(len(entry)):
            suffix = f"_l{depth}" + ("_reverse" if direction else "")
            traces.append([n for n in names if n.endswith(suffix)] or names)
    return traces


def arguments(x: Any) -> tuple[Any, ...]:
    """What a module is called with, as tensors."""
    several = isinstance(x, tuple) and not isinstance(x, PackedSequence)
    return tuple(map(_tensor, x if several else (x,)))


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _working_copy(module: nn.Module) -> nn.Module:
    """Without dropout, and with gradients in all parameters."""
    return copy.deepcopy(module).eval().requires_grad_(True)


def first_tensor(output: Any) -> Tensor:
    """The first tensor of floating point in what a module returns.

    Raises:
        DoctorError: there is none.
    """
    found = next(tensors_in(output), None)
    if found is None:
        raise DoctorError("examine: the module's output has no tensor of floating point")
    return found


def loss_of(loss: Loss | None, output: Any, y: Any) -> Tensor:
    """The loss, checked."""
    if loss is not None:
        value = loss(output, y)
    elif y is None:
        last = first_tensor(output)
        last = last[-1] if last.dim() > 2 else last
        generator = torch.Generator().manual_seed(0)
        value = (last * torch.randn(last.shape, generator=generator).to(last)).sum() / last.numel() ** 0.5
    elif y.is_floating_point():
        value = nn.functional.mse_loss(first_tensor(output), y)
    else:
        scores = first_tensor(output)
        value = nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise DoctorError(
            "examine: the loss is no single number that depends on the network's parameters, expected "
            "loss(module(x), y) to be a scalar tensor with a gradient"
        )
    return value


def _gradients(value: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
    wanted = [t for t in tensors if t.requires_grad]
    found = iter(torch.autograd.grad(value, wanted, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in tensors]


def norm_of(gradients: Iterable[Tensor | None]) -> float:
    """The Euclidean norm of all of them together."""
    parts = [torch.linalg.vector_norm(g.detach().double()) for g in gradients if g is not None]
    return float(torch.stack(parts).norm()) if parts else 0.0


def _inputs(x: Any) -> list[tuple[float, float]]:
    """(mean, deviation) of each feature, where features are numbers."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2:
        return []
    flat = x.detach().double().reshape(-1, x.shape[-1])
    return list(zip(flat.mean(0).tolist(), flat.std(0, correction=0).tolist(), strict=True))


def time_axis(x: Any, call: Call) -> int | None:
    """The axis of the module's input that is the time of its first recurrent layer; None where there is none."""
    T = len(call.x)
    axis = 1 if getattr(call.module, "batch_first", False) and isinstance(x, Tensor) and x.dim() > 1 else 0
    good = isinstance(x, Tensor) and x.dim() > axis and x.shape[axis] == T
    return axis if good else None


def _memory(work: nn.Module, args: tuple[Any, ...], call: Call) -> Memory | None:
    """Of the whole network, by moving its input at one step at a time."""
    x, axis = args[0], time_axis(args[0], call)
    if axis is None or call.lengths is not None:
        return None
    T = x.shape[axis]
    with torch.no_grad():
        output = work(*args)
        whole, rounding = _last(output, axis, T), ROUNDING * torch.finfo(first_tensor(output).dtype).eps
        moved = _moved(x)

        def change(lag: int) -> float:
            other = x.clone()
            other.select(axis, T - 1 - lag).copy_(moved.select(axis, T - 1 - lag))
            return float((_last(work(other, *args[1:]), axis, T) - whole).norm())

        return measured(change, T, rounding * float(whole.norm()))


def _last(output: Any, axis: int, steps: int) -> Tensor:
    """The output at the last step, where it has steps."""
    y = first_tensor(output)
    return (y.select(axis, steps - 1) if y.dim() > axis + 1 and y.shape[axis] == steps else y).double()


def _moved(x: Tensor) -> Tensor:
    """Every input moved: numbers by a deviation of their feature, words to another word that occurs."""
    if x.is_floating_point():
        return x + torch.from_numpy(shift_of(x.detach().cpu().float().numpy())).to(x)
    return torch.where(x == x.max(), x.min(), x.max())


@contextmanager
def _kept_random() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def _trials(
    module: nn.Module,
    args: tuple[Any, ...],
    y: Any,
    loss: Loss | None,
    optimizer: torch.optim.Optimizer | None,
    clip: float | None,
) -> dict[str, list[float]]:
    """The loss over some steps of copies of the optimizer."""
    if optimizer is None:
        return {}
    rate = float(optimizer.param_groups[0]["lr"])
    trials: dict[str, list[float]] = {}
    for share in (1.0, 0.1):
        with _kept_random():
            trials[f"{share * rate:.3g}"] = _trial(module, args, y, loss, optimizer, clip, share)
    return trials


def _trial(
    module: nn.Module, args: Any, y: Any, loss: Loss | None, optimizer: Any, clip: float | None, share: float
) -> list[float]:
    work = copy.deepcopy(module).eval()
    own = dict(zip(module.parameters(), work.parameters(), strict=True))
    groups = [{**g, "params": [own[p] for p in g["params"] if p in own]} for g in optimizer.param_groups]
    mine = type(optimizer)(groups, **optimizer.defaults)
    mine.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in mine.param_groups:
        group["lr"] = share * group["lr"]
    values = []
    for step in range(TRIALS + 1):
        value = loss_of(loss, work(*args), y)
        values.append(float(value.detach()))
        if step == TRIALS or not np.isfinite(values[-1]):
            break
        mine.zero_grad()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(work.parameters(), clip)
        mine.step()
    return values
