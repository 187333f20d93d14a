"""Watching a training loop: the same training, and the right numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Reader, noise
from torch import nn

from recurra import doctor
from recurra.doctor import Record
from recurra.errors import DoctorError
from recurra.torch import GRU, LSTM, RNN, Recurrent, Stack


def trained(model: nn.Module, steps: int, clip: float | None = 1.0, lr: float = 1e-2, **how: object) -> Record | None:
    """Some steps of Adam towards the sum of the inputs; watched where `every` is given."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    record = doctor.watch(model, **how) if how else None
    if record is not None:
        record.__enter__()
    for step in range(steps):
        x = noise(25, 6, dtype=torch.float32) + step % 3
        loss = nn.functional.mse_loss(model(x), x.sum((0, 2))[:, None] / 10)
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if record is not None:
            record.loss(loss)
    if record is not None:
        record.__exit__()
    return record


@pytest.mark.parametrize(
    "layer",
    [lambda: LSTM(3, 8, num_layers=2), lambda: nn.GRU(3, 8), lambda: Recurrent("mgu", 3, 8, bidirectional=True)],
)
def test_training_is_the_same_to_the_last_bit(layer: object) -> None:
    results = []
    for how in ({}, {"every": 2}):
        torch.manual_seed(0)
        inner = layer()
        model = Reader(inner, 16 if getattr(inner, "bidirectional", False) else 8)
        trained(model, 7, **how)
        results.append(list(model.state_dict().values()))
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_numbers_of_a_sample() -> None:
    torch.manual_seed(0)
    model = Reader(LSTM(3, 8), 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = noise(25, 6, dtype=torch.float32), torch.ones(6, 1)
    examined = doctor.examine(model, x, y, lag=24).layers[0]
    before = [p.detach().clone() for p in model.parameters()]
    largest = float(model.rnn(x)[0].abs().max().detach())
    with doctor.watch(model, every=3, lag=24) as record:
        loss = nn.functional.mse_loss(model(x), y)
        record.loss(loss)
        loss.backward()
        gradient = float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
    (sample,) = record.samples
    assert sample["gradient"] == pytest.approx(gradient, rel=1e-5)
    assert sample["after"] == pytest.approx(0.01, rel=1e-4)
    assert (sample["learning_rate"], sample["loss"], sample["step"]) == (0.1, float(loss.detach()), 0)
    size = float(torch.stack([p.norm() for p in before]).norm())
    assert sample["update"] == pytest.approx(0.1 * 0.01 / size, rel=1e-3)
    seen = sample["layers"]["rnn"]
    norms = np.array(examined.flow.norms)
    np.testing.assert_allclose(seen["norms"], norms[seen["lags"]], rtol=1e-3)
    assert seen["lags"][-1] == 24
    gates = {s.name: s.share for s in examined.activity.saturation}
    assert seen["saturation"] == pytest.approx({g: gates[g] for g in "ifgo"}, abs=1e-6)
    assert seen["largest"] == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_samples_of_every_place_and_step(layers: int) -> None:
    torch.manual_seed(0)
    model = Stack(LSTM(3, 8, num_layers=layers, bidirectional=True), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters())
    with doctor.watch(model, every=2) as record:
        for _ in range(5):
            model(noise(9, 2, dtype=torch.float32)).square().mean().backward()
            optimizer.step()
            model.eval()
            model(noise(9, 2, dtype=torch.float32))
            model.train()
    assert [s["step"] for s in record.samples] == [0, 2, 4]
    assert len(record.samples[0]["layers"]) == 2 * layers
    assert all(np.isfinite(v["norms"]).all() for s in record.samples for v in s["layers"].values())


def test_without_an_optimizer_or_a_backward() -> None:
    model = GRU(3, 4)
    with doctor.watch(model, every=1) as record:
        model(noise(5, 2, dtype=torch.float32))  # no backward: no sample
        model(noise(5, 2, dtype=torch.float32))[0].sum().backward()
        model(noise(5, 2, dtype=torch.float32))[0].sum().backward()
    assert [s["step"] for s in record.samples] == [1, 2]
    assert record.samples[0]["after"] is None
    with pytest.raises(DoctorError, match="no step was seen"):
        doctor.watch(model).findings()
    with pytest.raises(DoctorError, match="every=0, expected at least 1"):
        doctor.watch(model, every=0)
    with pytest.raises(DoctorError, match="Linear has no recurrent layer"), doctor.watch(nn.Linear(1, 1)):
        pass


def test_clipped_all_the_time() -> None:
    torch.manual_seed(0)
    assert "clipped all the time" in trained(Reader(GRU(3, 8), 8), 20, clip=1e-3, every=2).findings().kinds
    assert "clipped all the time" not in trained(Reader(GRU(3, 8), 8), 20, clip=1e3, every=2).findings().kinds


def test_vanishing_and_exploding() -> None:
    torch.manual_seed(0)
    faint = Reader(RNN(3, 8), 8)
    with torch.no_grad():
        faint.rnn.weight_hh_l0.mul_(0.3)
    assert "vanishing" in trained(faint, 8, lr=1e-5, every=2).findings().kinds
    strong = Reader(RNN(3, 8, nonlinearity="relu"), 8)
    with torch.no_grad():
        strong.rnn.weight_hh_l0.copy_(1.5 * torch.eye(8))
        strong.rnn.weight_ih_l0.abs_()
    assert "exploding" in trained(strong, 8, lr=1e-5, every=2).findings().kinds


def test_a_rising_loss() -> None:
    torch.manual_seed(0)
    for rate, expected in ((1e-3, False), (2.0, True)):
        model = Reader(GRU(3, 8), 8)
        optimizer = torch.optim.SGD(model.head.parameters(), lr=rate)
        with doctor.watch(model, every=4) as record:
            for _ in range(40):
                loss = model(noise(5, 6, dtype=torch.float32)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                record.loss(loss)
        findings = record.findings()
        assert ("learning rate too high" in findings.kinds) == expected, record.losses
        if expected:
            evidence = next(f for f in findings if f.kind == "learning rate too high").evidence
            assert "a step moves the parameters by" in evidence


def test_the_first_nan_of_training() -> None:
    torch.manual_seed(0)
    model = Stack(GRU(3, 4), LSTM(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with doctor.watch(model, every=1) as record:
        for step in range(4):
            x = noise(12, 3, dtype=torch.float32)
            if step == 2:
                x[7, 1, 0] = float("nan")
            model(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert (record.anomaly.layer, record.anomaly.step, record.anomaly.operation) == ("0 GRU", 7, "input")
    assert "not finite" in record.findings().kinds


def test_data_and_tensorboard(tmp_path: Path) -> None:
    torch.manual_seed(0)
    record = trained(Reader(GRU(3, 8), 8), 6, every=2, tensorboard=tmp_path)
    data = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert [s["step"] for s in data["steps"]] == [0, 2, 4]
    assert len(list(tmp_path.iterdir())) == 1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload()
    scalars = {t: [e.step for e in events.Scalars(t)] for t in events.Tags()["scalars"]}
    assert scalars["doctor/training/gradient norm"] == [0, 2, 4]
    assert scalars["doctor/rnn/gradient left"] == [0, 2, 4]
