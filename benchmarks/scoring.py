"""Many series, on one machine and on Ray: `python -m benchmarks.scoring [forecast|label]... [--series 10000] [--ray]`.

Makes a Parquet file of series of 1,000 values each in a temporary folder, and a model with default settings, trained
for one epoch on a few series of the same kind; then runs `recurra predict` in a process of its own and says what that
took. 100,000 series are expected in 300 seconds on two cores, which is 600 of their CPU time; of fewer it says what so
many would take.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import recurra

STEPS = 1000
TRAINED = 40  # series that the model is trained on
MANY = 100_000
GROUP = 256 * STEPS  # rows of a row group


def table(first, count, steps):
    """Daily waves in wandering levels, hour by hour; of a label, the waves of half the series are twice as fast."""
    rng = np.random.default_rng(first)
    t, label = np.arange(steps), rng.integers(2, size=(count, 1))
    waves = np.sin(t * (1 + label) * 2 * np.pi / 24 + rng.uniform(0, 6, (count, 1))) * rng.uniform(1, 5, (count, 1))
    y = waves + 0.1 * rng.normal(size=(count, steps)).cumsum(1) + rng.uniform(0, 100, (count, 1))
    names = pa.array([f"series {first + k:06d}" for k in range(count)])
    who = np.repeat(np.arange(count, dtype=np.int32), steps)
    hours = np.tile(np.datetime64("2024-01-01", "h") + t, count).astype("M8[ms]")
    columns = {"series": pa.DictionaryArray.from_arrays(who, names), "time": hours, "y": y.reshape(-1)}
    return pa.table(columns), np.where(label[:, 0], "fast", "slow").astype(object)


def fitted(kind, folder):
    train, labels = table(10**7, TRAINED, STEPS // 2)
    path = folder / f"{kind}.recurra"
    if kind == "forecast":
        model = recurra.Forecaster(epochs=1)
        model.fit(train, "y", time="time", series="series", evaluate=False).save(path)
    else:
        columns = {"series": np.repeat(np.arange(TRAINED), STEPS // 2), "y": train["y"].to_numpy()}
        columns["label"] = np.repeat(labels, STEPS // 2)
        recurra.Classifier(epochs=1).fit(columns, "label", series="series", evaluate=False).save(path)
    return path


def measured(command):
    """CPU seconds of a process and of those that it made, seconds, and the most memory that it had itself."""
    began, before = time.perf_counter(), os.times()
    process, most = psutil.Popen(command), 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    after = os.times()
    assert process.wait() == 0, command
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - began, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=["forecast", "label"])
    parser.add_argument("--series", type=int, default=MANY // 10)
    parser.add_argument("--ray", action="store_true", help="by Ray Data too, and whether it says the same")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recurra-scoring-") as name:
        folder = Path(name)
        data, count = folder / "data.parquet", arguments.series
        with pq.ParquetWriter(data, table(0, 1, 1)[0].schema) as writer:
            for first in range(0, count, 2000):
                writer.write_table(table(first, min(2000, count - first), STEPS)[0], row_group_size=GROUP)
        print(f"{count} series of {STEPS} values, {data.stat().st_size / 1e6:.0f} MB of Parquet", flush=True)
        for kind in arguments.kinds:
            model, outs = fitted(kind, folder), []
            for engine in ("local", "ray") if arguments.ray else ("local",):
                outs.append(folder / f"{kind}-{engine}.parquet")
                command = [sys.executable, "-m", "recurra", "predict", str(model), str(data), "--out", str(outs[-1])]
                cpu, seconds, most = measured(command + (["--engine", "ray"] if engine == "ray" else []))
                if engine == "ray":  # whose workers are no children of the command
                    print(f"{kind} ray: {seconds:.1f} s, its start among them", flush=True)
                    continue
                of_all = f"; {MANY:,} series: {cpu * MANY / count:.0f} s of CPU time" if count != MANY else ""
                print(
                    f"{kind}: {cpu:.1f} s of CPU time in {seconds:.1f} s, {most / 1e6:.0f} MB at most{of_all}",
                    flush=True,
                )
            if len(outs) == 2:
                same = pq.read_table(outs[0]).equals(pq.read_table(outs[1]))
                print(f"{kind}: ray says {'the same, in the same order' if same else 'SOMETHING ELSE'}")


if __name__ == "__main__":
    main()
