"""A task of one's own has everything that the built-in ones have, for its five parts."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import recurra
from helpers import generator
from tasks import count_peaks
from tasks.count_peaks import CountPeaks, PeakCounter


def walks(count=90, key="walks"):
    rng = generator(key)
    return [rng.normal(size=(int(n), 1)) for n in rng.integers(4, 25, count)]


@pytest.fixture(scope="module")
def fitted() -> PeakCounter:
    return PeakCounter(hidden=12, epochs=60, learning_rate=1e-2, seed=1).fit(walks(200))


def test_it_is_written_in_less_than_sixty_lines() -> None:
    assert len(inspect.getsource(count_peaks).splitlines()) < 60


def test_it_learns_and_predicts(fitted) -> None:
    model, naive = fitted.report_["table"]
    assert model["mae"] < 0.5 * naive["mae"]
    new = walks(20, "new")
    truth = np.array([float(y) for y in CountPeaks().targets(CountPeaks().opened(new))])
    assert fitted.evaluate(new)["mae"] == pytest.approx(np.abs(fitted.predict(new) - truth).mean())


def test_its_file_opens_and_its_live_session_has_the_bits(fitted, tmp_path) -> None:
    fitted.save(tmp_path / "peaks.recurra")
    for again in (
        recurra.open_model(tmp_path / "peaks.recurra"),
        PeakCounter.load(tmp_path / "peaks.recurra"),
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
    ):
        assert isinstance(again, PeakCounter)
        for x in walks(5, "live"):
            live = again.live()
            outputs = [live.step(step) for step in x]
            assert outputs[-1] == {"peaks": round(float(fitted.predict([x])[0]))}
            assert fitted.predict([x]).tobytes() == again.predict([x]).tobytes()


def test_its_report_is_a_page(fitted) -> None:
    from recurra.report.fit import fit_page

    page = fit_page(fitted.report_, fitted.model_)
    assert "Count-peaks" in page
    assert "mean of training" in page


def test_it_is_compared(tmp_path) -> None:
    found = recurra.compare.of_task(
        CountPeaks(),
        walks(),
        settings={"candidates": ["gru", "cnn"], "budget": "30s", "trials": 1, "seeds": 1, "epochs": 2, "out": tmp_path},
    )
    assert {row["name"] for row in found.rows} == {"mean", "gru", "cnn"}
    assert all(row["error"] == "" for row in found.rows)
    assert isinstance(recurra.open_model(tmp_path / found.model), PeakCounter)


def test_the_doctor_examines_it(fitted, tmp_path) -> None:
    fitted.save(tmp_path / "peaks.recurra")
    rows = [(f"w{i}", float(v)) for i, x in enumerate(walks(40)) for v in x[:, 0]]
    table = {"walk": np.array([r[0] for r in rows], object), "x0": np.array([r[1] for r in rows])}
    lines = ["walk,x0", *(f"{w},{v!r}" for w, v in zip(table["walk"], table["x0"].tolist(), strict=True))]
    (tmp_path / "walks.csv").write_text("\n".join(lines))
    own = PeakCounter(hidden=6, epochs=2).fit(tmp_path / "walks.csv", series="walk")
    own.save(tmp_path / "own.recurra")
    from recurra.doctor.model_file import examine_file

    findings = examine_file(tmp_path / "own.recurra", tmp_path / "walks.csv")
    assert findings.layers
