"""A forecaster's report with made-up numbers, all distinct, in the form that `Forecaster.report_` has."""

from __future__ import annotations

from typing import Any

import numpy as np


def sample_report(seed: int = 0, horizon: int = 48, unit: str = "GW") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    half_hour = np.timedelta64(30, "m")
    times = [str(t) for t in np.datetime64("2014-12-24T00:00") + np.arange(336) * half_hour]
    truth = 4.5 + np.sin(np.arange(336) / 48 * 2 * np.pi) + 0.1 * rng.normal(size=336)
    names = ["GRU", "linear autoregression", "last week again", "yesterday again"]
    mae = [0.2143, 0.2517, 0.3219, 0.3871]

    def parted(labels: list[str]) -> dict[str, Any]:
        return {
            "labels": labels,
            "values": {n: list(m * (0.8 + 0.4 * rng.random(len(labels)))) for n, m in zip(names, mae, strict=True)},
        }

    return {
        "task": "forecast",
        "target": "Demand",
        "unit": unit,
        "step": "30 minutes",
        "horizon": horizon,
        "levels": [0.1, 0.5, 0.9],
        "model_file": "demand.recurra",
        "data": {
            "source": "elecdemand",
            "rows": 17520,
            "series": 1,
            "first": "2014-01-01 00:00",
            "last": "2014-12-31 23:30",
            "past": ["Temperature"],
            "known_ahead": ["WorkDay"],
            "seasons": [48, 336],
            "parts": [
                {"name": "training", "rows": 12264, "first": "2014-01-01 00:00", "last": "2014-09-13 11:30"},
                {"name": "validation", "rows": 2628, "first": "2014-09-13 12:00", "last": "2014-11-07 05:30"},
                {"name": "test", "rows": 2628, "first": "2014-11-07 06:00", "last": "2014-12-31 23:30"},
            ],
            "notes": ["3 rows of Temperature are missing; the network was told where."],
        },
        "table": [
            {"name": n, "kind": k, "mae": m, "mase": m / 0.35, "smape": m / 4.6, "coverage": c, "pinball": p}
            for n, k, m, c, p in zip(
                names,
                ["model", "linear", "naive", "naive"],
                mae,
                [0.793, None, None, None],
                [0.0614, None, None, None],
                strict=True,
            )
        ],
        "by_horizon": {n: list(m * np.linspace(0.5, 1.4, horizon)) for n, m in zip(names, mae, strict=True)},
        "by_hour": parted([str(h) for h in range(24)]),
        "by_weekday": parted(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
        "history": [
            {
                "epoch": e + 1,
                "train_loss": 0.3 * np.exp(-e / 5) + 0.1,
                "valid_mae": 0.3 * np.exp(-e / 5) + 0.21 + 0.002 * e,
            }
            for e in range(30)
        ],
        "baseline_error": 0.3317,
        "example": {
            "times": times,
            "truth": list(truth),
            "low": list(truth - 0.3),
            "median": list(truth + 0.05),
            "high": list(truth + 0.28),
            "naive": list(truth + 0.2),
            "naive_name": "last week again",
            "lead": horizon,
        },
        "fan": {
            "past_times": times[:96],
            "past": list(truth[:96]),
            "times": times[96 : 96 + horizon],
            "truth": list(truth[96 : 96 + horizon]),
            "low": list(truth[96 : 96 + horizon] - 0.2),
            "median": list(truth[96 : 96 + horizon] + 0.03),
            "high": list(truth[96 : 96 + horizon] + 0.2),
        },
        "model": {
            "cell": "gru",
            "equations": "def gru(x, h):\n    r = sigmoid(x.r + h.r)\n    return r < h\n",
            "layers": 1,
            "hidden": 64,
            "parameters": 23456,
        },
        "parity": {"torch_difference": 3.1e-7, "differing": {"batched": 0, "stepped": 0}, "isa": "avx512"},
        "live": {"microseconds": 9.3, "difference": 0.0},
        "verdict": ["The GRU's mean error is 0.214 GW, 33 % below the best naive forecast's."],
        "seconds": {"training": 81.2, "total": 123.0},
    }
