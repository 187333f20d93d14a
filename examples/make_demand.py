"""The table of the README, `examples/demand.csv`: 90 days of an hourly demand for electricity that never was.

People heat and cool, work days differ from others, and the weather comes and goes over days; with noise on all of it.
Real data are in `recurra demo`. Run: python examples/make_demand.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

DAYS = 90


def table() -> list[str]:
    """The lines of the table; the same on every machine."""
    rng = np.random.default_rng(7)
    hours = np.arange(24 * DAYS)
    day, hour = hours // 24, hours % 24
    work = (day % 7 < 5) & ~np.isin(day, rng.choice(DAYS, 6, replace=False))
    weather = np.zeros(len(hours))
    for t in range(1, len(hours)):
        weather[t] = 0.985 * weather[t - 1] + rng.normal(0, 0.55)
    temperature = 17 + 6 * np.cos((hour - 15) / 24 * 2 * np.pi) + 5 * np.sin(day / DAYS * np.pi) + weather
    living = 3.1 + 0.5 * np.cos((hour - 19) / 24 * 2 * np.pi)
    working = work * 1.2 * np.exp(-(((hour - 12.5) / 4.5) ** 4))
    air = 0.11 * np.maximum(temperature - 22, 0) + 0.06 * np.maximum(14 - temperature, 0)
    demand = living + working + air + rng.normal(0, 0.06, len(hours))
    start = np.datetime64("2025-01-06T00:00")
    lines = ["time,Demand,Temperature,WorkDay"]
    for t in hours:
        lines.append(f"{start + int(t) * np.timedelta64(60, 'm')},{demand[t]:.3f},{temperature[t]:.1f},{int(work[t])}")
    return lines


if __name__ == "__main__":
    Path(__file__).with_name("demand.csv").write_text("\n".join(table()) + "\n")
