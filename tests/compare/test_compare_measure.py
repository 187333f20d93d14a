"""The measured columns, on networks whose answers are known."""

import numpy as np
import pytest
import torch
from compare_benches import bench_of, small_forecast, small_labelled
from compare_trials import final, tune
from torch import nn

from recurra.compare.candidates import CANDIDATES
from recurra.compare.live import step_of
from recurra.compare.measure import lags, longer, measured, reach, seconds_of_step
from recurra.compare.run_trial import fit_baseline, network_of, run_trial
from recurra.models import Network
from recurra.models.encoders import Encoder
from recurra.tasks.bench import NetworkPredictor
from recurra.tasks.forecasting.task import Forecast
from recurra.tasks.learn import to_runtime


class Echo(Encoder):
    """The sum of what it saw exactly so many steps ago and half of what it sees now."""

    def __init__(self, delay):
        super().__init__()
        self.delay, self.width = delay, 1

    def forward(self, x, state=None, *, lengths=None, reset=None):
        late = torch.cat([torch.zeros_like(x[: self.delay]), x[: len(x) - self.delay]])
        return (late + 0.5 * x).sum(-1, keepdim=True), None


class Forgetful(Encoder):
    """A mean that forgets a tenth a step, so that a lag of k has the weight 0.9 ** k."""

    width = 1

    def forward(self, x, state=None, *, lengths=None, reset=None):
        h, out = torch.zeros_like(x[0]), []
        for row in x:
            h = 0.9 * h + row
            out.append(h.sum(-1, keepdim=True))
        return torch.stack(out), None


def with_encoder(encoder, head, whole=True):
    encoder.input_size = 2
    return Network(encoder, head, None, whole)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_the_reach_of_an_echo_is_its_delay(delay):
    bench = small_labelled()
    network = with_encoder(Echo(delay), nn.Linear(1, 3))
    assert reach(bench, CANDIDATES["gru"], network)["lag"] == delay


def test_the_reach_of_a_forecaster_is_measured_over_long_histories():
    bench = small_forecast()
    torch.manual_seed(0)
    head = bench.task.head(1, bench.transform, 0.0).eval()
    nn.init.normal_(head.D)
    for delay in (5, 40):
        found = reach(bench, CANDIDATES["gru"], with_encoder(Echo(delay), head, False))
        assert found["lag"] == delay
        assert found["lag_looked_at"] > 200
    faded = reach(bench, CANDIDATES["gru"], with_encoder(Forgetful(), head, False))["lag"]
    assert 15 < faded < 80  # 0.9 ** 44 is a hundredth


def test_lags_are_all_of_the_short_ones_and_the_longest():
    assert lags(40).tolist() == list(range(41))
    some = lags(1023)
    assert some[:48].tolist() == list(range(48))
    assert some[-1] == 1023
    assert (np.diff(some) > 0).all()


class Ends(Encoder):
    """The right answers for so many steps, and wrong ones after them."""

    width = 3

    def __init__(self, good, answers):
        super().__init__()
        self.good, self.answers = good, answers

    def forward(self, x, state=None, *, lengths=None, reset=None):
        right = self.answers[: x.shape[1]]
        late = torch.arange(len(x))[:, None] >= self.good
        number = torch.where(late, (right + 1) % 3, right)
        return nn.functional.one_hot(number, 3).float(), None


def test_longer_sequences_are_tried():
    bench = small_labelled()
    test = [piece.sequence for piece in bench.pieces("test")]
    longest = max(map(len, test))
    right = torch.tensor([int(s.target) for s in test])
    for good, handled in ((10 * longest, True), (longest, False)):
        encoder = Ends(good, right)
        found = longer(bench, CANDIDATES["gru"], with_encoder(encoder, nn.Identity()))
        assert found["handles_longer"] is handled


def test_a_longer_context_is_tried_in_forecasting():
    bench = small_forecast()
    torch.manual_seed(0)
    network, _ = network_of(final("gru"), CANDIDATES["gru"], bench)
    found = longer(bench, CANDIDATES["gru"], network.eval())
    assert found["longer"] == pytest.approx(1.0, abs=0.2)
    counting = with_encoder(Forgetful(), bench.task.head(1, bench.transform, 0.0), False).eval()
    counting.encoder.input_size = bench.transform.input_size
    for p in (counting.head.A, counting.head.D):
        nn.init.zeros_(p)
    assert longer(bench, CANDIDATES["gru"], counting)["longer"] == 1.0


def test_a_step_takes_as_long_as_it_takes():
    import time

    assert 0.9e-3 < seconds_of_step(lambda: time.sleep(1e-3)) < 20e-3


@pytest.mark.parametrize("name", ["gru", "lstm", "mingru"])
@pytest.mark.parametrize("make", [small_labelled, small_forecast])
def test_the_live_model_gives_what_the_network_gives(name, make):
    bench = make()
    torch.manual_seed(0)
    network = network_of(final(name), CANDIDATES[name], bench)[0].eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    session, one = to_runtime(bench, network).session(), bench.sequences[0]
    steps = min(60, len(one))
    right = NetworkPredictor(bench.task, bench.transform, network).predict(one, steps - 1, steps)
    for row in bench.transform.rows(one, 0, steps):
        got = session.step(row)
    assert bench.task.answers(got[None], bench.transform, one, steps - 1) == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("name", ["gru", "cnn", "transformer", "feedforward", "linear", "seasonal"])
def test_all_columns_of_a_forecaster(name):
    bench, candidate = small_forecast(), CANDIDATES[name]
    if candidate.neural:
        predictor = network_of(final(name), candidate, bench)[0].eval()
    else:
        predictor = fit_baseline(candidate, bench, tune(name).params)
    found = measured(bench, candidate, predictor)
    assert 0 < found["step_seconds"] < 1
    if name == "gru":
        assert found["runs_in"] == "native"
        assert found["state_bytes"] == 4 * predictor.encoder.width
        assert found["torch_step_seconds"] > found["step_seconds"]
    if name in ("cnn", "transformer", "feedforward"):
        assert found["runs_in"] == "torch"
        assert found["state_bytes"] == 4 * predictor.encoder.context * bench.transform.input_size
        assert found["lag"] <= predictor.encoder.context - 1
    if name == "seasonal":
        assert (found["lag"], found["state_bytes"]) == (23, 0)


def test_two_directions_have_no_step():
    bench = small_labelled()
    network = network_of(final("bigru", parameters=3000), CANDIDATES["bigru"], bench)[0].eval()
    assert step_of(bench, CANDIDATES["bigru"], network) == []
    found = measured(bench, CANDIDATES["bigru"], network)
    assert found["step_seconds"] is None
    assert found["lag"] is not None


def test_naive_forecasts_are_what_they_say():
    bench = small_forecast()
    y, N = bench.sequences[0].target, bench.task.horizon
    for name, season in (("last", 1), ("seasonal", 24)):
        fitted = fit_baseline(CANDIDATES[name], bench, {})
        (_, start, stop), errors = bench.pieces("test")[0], []
        for t in range(start, stop):
            again = [y[t + n - season * -(-n // season)] for n in range(1, N + 1)]
            errors.append(np.abs(y[t + 1 : t + 1 + N] - again).mean())
        right = [np.mean(errors[at : at + 2 * N]) for at in range(0, stop - start, 2 * N)]
        assert bench.errors(fitted, bench.blocks("test")) == pytest.approx(right, rel=1e-4)


def test_the_linear_candidate_finds_a_linear_law():
    rng = np.random.default_rng(0)
    y, new = np.zeros(900), rng.normal(size=900)
    for t in range(2, 900):
        y[t] = 1.5 * y[t - 1] - 0.7 * y[t - 2] + new[t]
    bench = bench_of(Forecast(1, seasons=()), {"y": y}, target="y")
    fitted = fit_baseline(CANDIDATES["linear"], bench, {"window": 4, "alpha": 1e-3})
    error = bench.error(fitted, "test")
    _, start, stop = bench.pieces("test")[0]
    unknowable = np.abs(new[start + 1 : stop + 1]).mean()
    assert error == pytest.approx(unknowable, rel=0.02)


def test_the_same_trial_gives_the_same_bits():
    a, b = (run_trial(final("lstm", seed=5), small_forecast()) for _ in range(2))
    c = run_trial(final("lstm", seed=6), small_forecast())
    assert a.error == c.error == ""
    assert {n: v.tobytes() for n, v in a.arrays.items()} == {n: v.tobytes() for n, v in b.arrays.items()}
    assert a.test == b.test
    assert a.test != c.test


def test_many_series_of_different_lengths():
    rng, parts = np.random.default_rng(1), []
    for name, rows, level in (("a", 500, 10.0), ("b", 240, 1000.0), ("c", 331, 0.1)):
        t = np.datetime64("2024-01-01T00", "h") + np.arange(rows)
        y = level * (2 + np.sin(np.arange(rows) / 24 * 2 * np.pi) + 0.1 * rng.normal(size=rows))
        parts.append({"time": t, "y": y, "shop": np.full(rows, name)})
    columns = {n: np.concatenate([p[n] for p in parts]) for n in ("time", "y", "shop")}
    bench = bench_of(Forecast(4, seasons=(24,)), columns, target="y", time="time", series="shop")
    assert "standard deviations of each series" in bench.task.error_name(bench)
    for name in ("lstm", "transformer", "cnn"):
        outcome = run_trial(final(name, epochs=8), bench)
        assert outcome.error == ""
        assert outcome.valid < 1.0
    naive = run_trial(final("seasonal"), bench)
    assert naive.error == ""
    assert naive.valid == pytest.approx(0.16, abs=0.06)  # noise of 0.1, twice, over a spread of 0.71
