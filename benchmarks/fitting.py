"""What a forecaster's fit takes with default settings: `python -m benchmarks.fitting [load|panel]...`.

`load` is ETTh1, seven series of 9,800 hours, 96 ahead (expected: 120 s on an idle core); `panel` 414 made series of 900
hours, 24 ahead, report and refit included (300 s on two). On a machine that others use, the CPU's seconds say more than
the clock's.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

import recurra
from benchmarks.answers import load as etth1


def load():
    """The seven columns of ETTh1, as its row fits them."""
    table = etth1.read()
    long, dates = table.melt("date", var_name="column", value_name="value"), table["date"]
    parts = (str(dates[etth1.TRAIN]), str(dates[etth1.VALID]))
    return recurra.Forecaster(96, parts=parts, refit="train"), long, ("value", "date", "column"), False


def panel(series=414, steps=900):
    """Hours of days and weeks in wandering levels of their own."""
    rng, t = np.random.default_rng(0), np.arange(steps)
    day = np.sin(2 * np.pi * (t + rng.integers(0, 24, (series, 1))) / 24)
    shape = 1 + 0.3 * day + 0.1 * np.sin(2 * np.pi * t / 168)
    y = (10 + 3 * rng.normal(size=(series, 1))) * shape
    y += 0.05 * rng.normal(size=y.shape).cumsum(1) + 0.5 * rng.normal(size=y.shape)
    hours = np.tile(np.datetime64("2024-01-01T00") + t, series)
    names = np.repeat([f"house {k}" for k in range(series)], steps)
    return recurra.Forecaster(24), {"y": y.ravel(), "hour": hours, "house": names}, ("y", "hour", "house"), True


ALL = {"load": load, "panel": panel}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*ALL, []], default=[])
    for name in parser.parse_args().what or ALL:
        model, table, (y, at, series), evaluate = ALL[name]()
        began, before = time.perf_counter(), time.process_time()
        model.fit(table, y, time=at, series=series, evaluate=evaluate)
        took, cpu = time.perf_counter() - began, time.process_time() - before
        epochs = len(model.history_.epochs)
        where = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(f"{name}: {took:.0f} s, {cpu:.0f} of a CPU, {epochs} epochs; {where}", flush=True)


if __name__ == "__main__":
    main()
