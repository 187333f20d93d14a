"""The answers of `recurra predict` by Ray Data: parts of whole series, each a task, in the order of the table."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recurra.cluster import connected, cores_of
from recurra.data.arrow import pyarrow
from recurra.data.forecasting.clock import Clock
from recurra.data.writers import as_arrow, is_parquet, write_tables
from recurra.errors import ClusterError, DataError, RecurraError, SettingError
from recurra.tasks.estimator import open_model
from recurra.tasks.forecasting.tables import NothingObservedError
from recurra.tasks.scoring import Scored, answered


def score_on_ray(model: Path, path: Path, origins: str | None, out: Path, workers: int | None = None) -> int:
    """As `recurra.tasks.scoring.score`, by so many workers, one for each core where nothing is said.

    Every machine must see the files under the same names. The bits and the order are those of one machine.

    Raises:
        SettingError: the output is no Parquet.
        DataError: the table cannot be used, or not part by part; nothing is written.
        ClusterError: the cluster cannot be reached, is too small, or has lost a task for good.
    """
    if not is_parquet(out):
        raise SettingError(f"predict --engine ray: --out is {out}, expected a name that ends in .parquet")
    scored = Scored.open(path, open_model(model))
    if scored is None:
        raise DataError(
            f"{path}: Ray answers Parquet in which the rows of each series are together, expected such a file or "
            "folder, and a model with a series column: sort it by series, or leave --engine away"
        )
    scored = replace(scored, files=tuple(file.resolve() for file in scored.files))
    count = workers or os.cpu_count() or 1
    import ray.data

    with connected(workers or (1 if os.environ.get("RAY_ADDRESS") else count)) as ray:
        count = workers or cores_of(ray)
        return write_tables(out, _answers(ray, scored, model.read_bytes(), origins, count), Clock("count"))


def _answers(ray: Any, scored: Scored, model: bytes, origins: str | None, workers: int) -> Iterator[Any]:
    """PyArrow's tables of answers, in order."""
    pa, data = pyarrow("predict --engine ray"), ray.data
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    parts = [{"start": start, "stop": stop} for start, stop in scored.parts()]
    given = {"scored": ray.put(scored), "model": ray.put(model), "origins": origins}
    found = data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        _Answers,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs=given,
        compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, min(workers, len(parts)))),
        num_cpus=1,
    )
    some = False
    try:
        for batch in found.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=1):
            error, content = batch["error"][0].as_py(), batch["answers"][0]
            if error:
                raise DataError(error)
            if content.as_buffer() is not None and content.as_buffer().size:
                some = True
                yield pa.ipc.open_stream(content.as_buffer()).read_all()
    except ray.exceptions.RayError as error:
        raise ClusterError(f"predict on Ray has failed: {' '.join(str(error).split())[:300]}") from error
    if not some:
        raise NothingObservedError("predict: no row was observed, expected some observed rows to go on from")


class _Answers:
    """A worker: a model, which answers parts."""

    def __init__(self, scored: Any, model: Any, origins: str | None) -> None:
        import ray

        self.scored, self.origins = ray.get(scored), origins
        with tempfile.TemporaryDirectory(prefix="recurra-ray-") as folder:
            path = Path(folder, "model.recurra")
            path.write_bytes(ray.get(model))
            self.model = open_model(path)

    def __call__(self, batch: Any) -> Any:
        """The answers to one part, as Arrow's stream; nothing where no row was observed."""
        pa, sink, said = pyarrow("predict --engine ray"), io.BytesIO(), ""
        start, stop = (batch[name][0].as_py() for name in ("start", "stop"))
        try:
            tables = answered(self.scored.tables(start, stop), self.model, self.origins)
            made = pa.concat_tables([as_arrow(columns, clock) for columns, clock in tables])
            with pa.ipc.new_stream(sink, made.schema) as stream:
                stream.write_table(made)
        except NothingObservedError:
            pass
        except (RecurraError, OSError) as error:
            said = str(error)
        content = pa.array([sink.getvalue()], pa.large_binary())
        return pa.table({"answers": content, "error": pa.array([said], pa.string())})
