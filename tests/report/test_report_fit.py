"""The report of any task: what is true and what was said, the numbers of each label, sections of every kind."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pytest
from test_report_forecast import CHROMIUM, browsed, text_of

from recurra.errors import DrawError
from recurra.report.fit import fit_page

LABELS = ["low", "middle", "<high>"]
COUNTS = [[40, 7, 0], [3, 25, 2], [1, 0, 12]]  # rows are the truth
ACCURACY = {"key": "accuracy", "name": "accuracy", "less": False, "percent": True}
RMSE = {"key": "rmse", "name": "RMSE", "less": True, "percent": False}


def sample(sections: list[dict[str, Any]], metric: dict[str, Any] = ACCURACY) -> dict[str, Any]:
    key = metric["key"]
    return {
        "task": "classify",
        "metrics": [metric, {"key": "log_loss", "name": "log loss", "less": True, "percent": False}],
        "data": {
            "source": "",
            "sequences": 590,
            "steps": 12345,
            "lengths": [7, 29],
            "groups": 1,
            "columns": ["a", "b"],
            "labels": {"low": 300, "middle": 200, "<high>": 90},
            "parts": [{"name": n, "sequences": s} for n, s in (("train", 413), ("valid", 87), ("test", 90))],
            "notes": ["3 values are missing."],
        },
        "table": [
            {"name": "GRU", "kind": "model", key: 0.856, "log_loss": 0.31},
            {"name": "logistic on summaries", "kind": "linear", key: 0.823, "log_loss": 0.41},
            {"name": "most frequent", "kind": "naive", key: 0.522, "log_loss": None},
        ],
        "history": [
            {"epoch": e, "train_loss": 1.1 / e, "valid_error": 1.3 / e + 0.01 * e, f"valid_{key}": 0.5 / e + 0.02 * e}
            for e in range(1, 13)
        ],
        "baseline_error": 0.478,
        "best_epoch": 5,
        "model": {
            "cell": "gru",
            "equations": "def gru(x, h):\n    ...\n",
            "layers": 2,
            "hidden": 32,
            "parameters": 9876,
        },
        "model_file": "",
        "parity": {"torch_difference": 2e-7, "differing": {"stepped": 0}, "isa": "avx512"},
        "verdict": ["On the test part GRU has accuracy 85.6 %."],
        "seconds": {"training": 12.3},
        "sections": sections,
    }


CONFUSION = {"kind": "confusion", "labels": LABELS, "counts": COUNTS}
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=300) * 20 + 100
SCATTER = {"kind": "scatter", "truth": list(TRUTH), "answers": list(TRUTH + 2.5 + RNG.normal(size=300) * 6)}
CALIBRATION = {
    "kind": "calibration",
    "said": [0.55, 0.65, 0.75, 0.85, 0.95],
    "right": [0.5, 0.6, None, 0.9, 0.97],
    "counts": [10, 20, 0, 30, 40],
}


def rows_of(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is that."""
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.DOTALL) if f"<th>{first}</th>" in t)
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [[html.unescape(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows[1:]]


@pytest.fixture(scope="module")
def page() -> str:
    """Of every section that this report's task may have, with the network drawn."""
    return fit_page(sample([CONFUSION, CALIBRATION, SCATTER]), "gru")


def test_rows_are_the_truth(page: str) -> None:
    assert rows_of(page, "truth, and below: said") == [
        ["low", "40", "7", ""],
        ["middle", "3", "25", "2"],
        ["<high>", "1", "", "12"],
    ]
    assert "85.6% of 90 sequences have the right label" in text_of(page)


def test_whose_weights_are_kept(page: str) -> None:
    assert "The weights of epoch 5 are kept." in text_of(page)
    several = sample([])
    several["model"]["members"] = 3
    assert "The weights of epoch 5 (on average) are kept." in text_of(fit_page(several))


def test_each_label_has_its_precision_and_recall(page: str) -> None:
    """Against scikit-learn, on counts that are not symmetric."""
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = (np.repeat(k.ravel(), np.ravel(COUNTS)) for k in np.indices((3, 3)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, said)
    wanted = [
        [label, str(n), *(f"{v:.1%}" for v in (p, r, f))]
        for label, n, p, r, f in zip(LABELS, support, precision, recall, f1, strict=True)
    ]
    assert rows_of(page, "label") == wanted


def test_a_label_that_was_never_said_has_no_precision() -> None:
    one = {"kind": "confusion", "labels": ["a", "b"], "counts": [[5, 0], [2, 0]]}
    assert rows_of(fit_page(sample([one])), "label")[1] == ["b", "2", "-", "0.0%", "0.0%"]


def test_of_many_labels_the_worst_pairs_are_listed() -> None:
    K = 30
    counts = np.diag(np.arange(1, K + 1))
    counts[4, 7], counts[8, 2] = 9, 11
    one = {"kind": "confusion", "labels": [f"l{k}" for k in range(K)], "counts": counts.tolist()}
    assert rows_of(fit_page(sample([one])), "truth") == [["l8", "l2", "11"], ["l4", "l7", "9"]]


@pytest.mark.parametrize(("metric", "best"), [(ACCURACY, "GRU"), (RMSE, "most frequent")])
def test_the_best_is_by_the_metrics_own_direction(metric: dict[str, Any], best: str) -> None:
    page = fit_page(sample([], metric))
    (row,) = re.findall(r'<tr class="best">\s*<td>(.*?)</td>', page)
    assert row == best
    assert ("85.6%" in page.partition("Against the baselines")[2]) == (metric is ACCURACY)
    assert "None" not in text_of(page)


def test_data_training_and_network_are_said(page: str) -> None:
    text = text_of(page)
    for wanted in ("12,345", "7, 29", "low 300", "413", "3 values are missing", "9,876 parameters", "12.3 s"):
        assert wanted in text, wanted
    errors = [0.5 / e + 0.02 * e for e in range(1, 13)]
    assert f"Least at epoch {int(np.argmin(errors)) + 1} of 12: {min(errors):.3g}, 58% below" in text


def test_errors_are_answers_less_truth() -> None:
    text = text_of(fit_page(sample([SCATTER], RMSE)))
    off = np.subtract(SCATTER["answers"], SCATTER["truth"])
    assert f"{off.mean():.3g} on the average, half of them within {np.median(np.abs(off)):.3g}" in text
    assert off.mean() > 2


def test_calibration_counts_what_was_answered(page: str) -> None:
    assert "differ by 3.8% on the average" in text_of(page)  # (10 * .05 + 20 * .05 + 30 * .05 + 40 * .02) / 100


def test_any_task_shows_tables_and_lines() -> None:
    own = [
        {
            "kind": "table",
            "heading": "Peaks",
            "headings": ["peaks", "error"],
            "rows": [["one", 0.123456], ["two", None]],
        },
        {
            "kind": "lines",
            "caption": "By length.",
            "x": "steps",
            "y": "error",
            "lines": {"GRU": ([1, 2, 3], [3, None, 1])},
        },
    ]
    own.append({"kind": "table", "heading": "Said", "headings": ["a", "b"], "rows": [["x", "a text"]], "texts": True})
    page = fit_page(sample(own))
    assert "<h2>Peaks</h2>" in page
    cut = page.index("<h2>Said</h2>")
    assert ' texts">' in page[cut : cut + 200]  # from the left
    assert ' texts">' not in page[page.index("<h2>Peaks</h2>") :][:200]
    assert rows_of(page, "peaks") == [["one", "0.123"], ["two", "-"]]
    with pytest.raises(DrawError, match="of the kind 'pie', expected one of: confusion"):
        fit_page(sample([{"kind": "pie"}]))


def test_fitted_tasks_have_pages(tmp_path: Any) -> None:
    """What estimators say of themselves is what the page reads."""
    import recurra
    from recurra.report import write_report

    X = RNG.normal(size=(60, 9, 2)).cumsum(1)
    rising = np.where(X[:, -1, 0] > 0, "up", "down")
    for estimator, y, wanted in (
        (recurra.Classifier(hidden=4, epochs=2), rising, ("Label by label", "What its probabilities are worth")),
        (recurra.Regressor(hidden=4, epochs=2), X[:, -1, 0], ("Answers and the truth",)),
    ):
        report = estimator.fit(X, y).report_
        write_report(report, tmp_path / "page.html", estimator.model_)
        page = (tmp_path / "page.html").read_text()
        for heading in (*wanted, "Against the baselines", "Training", "The network", "The data"):
            assert f"<h2>{heading}</h2>" in page
        rows = {row[0]: row for row in rows_of(page, report["metrics"][0]["name"])}
        assert list(rows) == [row["name"] for row in report["table"]]
        assert all(len(row) == 1 + len(report["metrics"]) for row in rows.values())
        assert "None" not in text_of(page)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_it_whole(page: str, tmp_path: Any) -> None:
    for width in (400, 1280):
        seen = browsed(page, width, tmp_path)
        assert seen["wide"] <= width
        assert seen["pictures"] == 7
        assert seen["smallest"] >= 8
