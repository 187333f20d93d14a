"""Answers to more series than memory holds: Parquet in, some series at a time, and out.

The rows of a series must be together; then a pass over the column of names says where each begins, and only the series
at hand are in memory. The answers are those of `predict` to the whole table, to the last bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.arrow import pyarrow
from recurra.data.forecasting.clock import Clock
from recurra.data.readers import as_parquet, of_arrow
from recurra.data.table import Table, parts_of
from recurra.data.writers import is_parquet, write_tables
from recurra.errors import DataError
from recurra.tasks.forecasting.tables import NothingObservedError

ROWS = 1 << 18  # of whole series that are answered at once, and of one that is longer
BATCH = 1 << 16  # rows that PyArrow decodes at once

Answers = tuple[dict[str, Any], Clock]


@dataclass(frozen=True)
class Scored:
    """A table of many series in Parquet: where each series begins.

    Attributes:
        files: in the order of their names.
        source: what to call them in messages.
        schema: PyArrow's, of the columns that are read, as the first file has them.
        groups: the first row of each row group, counted through all files, and the end: int64 [G + 1].
        places: of each row group, its file and its number there.
        starts: the first row of each series, and the end: int64 [N + 1].
    """

    files: tuple[Path, ...]
    source: str
    schema: Any
    groups: NDArray[np.int64]
    places: list[tuple[int, int]]
    starts: NDArray[np.int64]

    @classmethod
    def open(cls, path: str | os.PathLike[str], estimator: Any) -> Scored | None:
        """A Parquet file, or a folder of some, for a model that answers series by series.

        None where it must be read as a whole: rows of a series are apart, or the model knows no series.

        Raises:
            DataError: it is no Parquet file; or the files of a folder are none, or have not the same columns.
            OSError: it cannot be read.
        """
        files = () if estimator.series_column is None else _files(Path(path))
        if not files:
            return None
        pa = pyarrow("reading a Parquet file")
        schemas, places, counts = list[Any](), list[tuple[int, int]](), [0]
        for k, file in enumerate(files):
            with as_parquet(file):
                about = pa.parquet.read_metadata(file, memory_map=True)
            schemas.append(about.schema.to_arrow_schema())
            places += [(k, g) for g in range(about.num_row_groups)]
            counts += [about.row_group(g).num_rows for g in range(about.num_row_groups)]
        schema = _plain(pa, _same_columns(files, schemas))
        wanted = set(chain(*(parts_of(name, schema.names) for name in _named(estimator))))
        if wanted <= {*schema.names}:
            schema = pa.schema([field for field in schema if field.name in wanted])
        series, groups = estimator.series_column, np.cumsum(counts)
        found = cls(files, Path(path).name, schema, groups, places, groups[-1:])
        starts = found._starts(series) if series in schema.names and groups[-1] else None
        return None if starts is None else replace(found, starts=starts)

    def parts(self) -> list[tuple[int, int]]:
        """Ranges of rows of whole series, each with about the rows of some row groups."""
        first = np.unique(np.searchsorted(self.starts[:-1], self.groups[:-1]))
        cuts = [0, *(int(self.starts[i]) for i in first if 0 < i < len(self.starts) - 1), int(self.starts[-1])]
        kept = [0]
        for cut in cuts[1:]:
            if cut - kept[-1] >= ROWS or cut == cuts[-1]:
                kept.append(cut)
        return list(pairwise(kept))

    def tables(self, start: int, stop: int) -> Iterator[Table]:
        """The rows of a range of whole series, some series at a time."""
        pa = pyarrow("reading a Parquet file")
        waiting: Any = None
        at = start
        batches = self._batches(start, stop)
        while at < stop:
            enough = int(np.searchsorted(self.starts, min(at + ROWS, stop)))
            end = int(self.starts[enough])
            while waiting is None or len(waiting) < end - at:
                batch = next(batches)
                waiting = batch if waiting is None else pa.concat_tables([waiting, batch])
            yield of_arrow(waiting.slice(0, end - at), self.source, at)
            waiting, at = waiting.slice(end - at), end

    def _batches(self, start: int, stop: int) -> Iterator[Any]:
        """The rows of a range as PyArrow decodes them."""
        pa, opened = pyarrow("reading a Parquet file"), _Opened(self.files)
        for g in range(int(np.searchsorted(self.groups, start, "right")) - 1, len(self.places)):
            at, (file, number) = int(self.groups[g]), self.places[g]
            if at >= stop:
                return
            with as_parquet(self.files[file]):
                for batch in opened.file(file).iter_batches(BATCH, row_groups=[number], columns=self.schema.names):
                    low, high = max(start - at, 0), min(stop - at, len(batch))
                    if low < high:
                        yield pa.Table.from_batches([batch.slice(low, high - low)]).cast(self.schema)
                    at += len(batch)

    def _starts(self, series: str) -> NDArray[np.int64] | None:
        """Where the name changes; None where one comes again, or is none."""
        pa, opened = pyarrow("reading a Parquet file"), _Opened(self.files, read_dictionary=[series])
        seen, last, found = set[str](), "", list[NDArray[np.int64]]()
        for g, (file, number) in enumerate(self.places):
            with as_parquet(self.files[file]):
                column = opened.file(file).read_row_group(number, columns=[series])[series]
            names, starts = _runs(column, pa)
            if names is None:
                return None
            if names and names[0] == last:
                names, starts = names[1:], starts[1:]
            if not seen.isdisjoint(names) or len(set(names)) < len(names):
                return None
            seen.update(names)
            last = names[-1] if names else last
            found.append(starts + self.groups[g])
        return np.append(np.concatenate(found), self.groups[-1])


class _Opened:
    """The file of some that was asked for last, opened as `settings` say."""

    def __init__(self, files: Sequence[Path], **settings: Any) -> None:
        self._files, self._settings, self._number, self._file = files, settings, -1, None

    def file(self, number: int) -> Any:
        """The one of that number."""
        if number != self._number:
            read = pyarrow("reading a Parquet file").parquet.ParquetFile
            self._number, self._file = number, read(self._files[number], memory_map=True, **self._settings)
        return self._file


def score(path: Path, estimator: Any, origins: str | None, out: Path) -> int | None:
    """Write the answers to all series of a Parquet file or folder; how many rows. None: see `Scored.open`.

    Raises:
        DataError: the table cannot be used; nothing is written.
        OSError: a file cannot be read or written; what was there is untouched.
    """
    scored = Scored.open(path, estimator)
    if scored is None:
        return None
    answers = answered(scored.tables(0, int(scored.starts[-1])), estimator, origins)
    first, clock = next(answers)
    return write_tables(out, chain([first], (columns for columns, _ in answers)), clock)


def answered(tables: Iterator[Table], estimator: Any, origins: str | None) -> Iterator[Answers]:
    """The answers to the series of each table, and the clock of their times.

    Raises:
        DataError: no row of any was observed, or a table cannot be used.
    """
    nothing: NothingObservedError | None = None
    some = False
    for table in tables:
        try:
            yield estimator.predictions(table, origins)
            some = True
        except NothingObservedError as error:
            nothing = error
    if nothing is not None and not some:
        raise nothing


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_dir():
        found = tuple(sorted(file for file in path.iterdir() if is_parquet(file)))
        if not found:
            raise DataError(f"{path.name}: the folder has no .parquet file, expected some")
        return found
    return (path,) if is_parquet(path) else ()


def _same_columns(files: Sequence[Path], schemas: Sequence[Any]) -> Any:
    """The schema of the first of some files."""
    names = schemas[0].names
    odd = next((k for k, schema in enumerate(schemas) if schema.names != names), None)
    if odd is not None:
        raise DataError(
            f"{files[odd].name}: its columns are {', '.join(schemas[odd].names)[:80]}, expected those of "
            f"{files[0].name}: {', '.join(names)[:80]}"
        )
    return schemas[0]


def _plain(pa: Any, schema: Any) -> Any:
    """A schema without dictionaries and without what other libraries say of it."""
    kinds = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema]
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


def _named(estimator: Any) -> list[str]:
    """The columns that a model reads."""
    roles = estimator.task_.roles_of(estimator.transform_)
    given = [roles.get(role) for role in ("target", "past", "known_ahead", "time", "series", "static", "columns")]
    return [n for names in given if names for n in ([names] if isinstance(names, str) else names)]


def _runs(column: Any, pa: Any) -> tuple[list[str] | None, NDArray[np.int64]]:
    """The name of each run of equal names, and where it begins; None where a name is missing."""
    if column.null_count:
        return None, np.empty(0, np.int64)
    kind = column.type
    if pa.types.is_integer(kind):
        codes = column.to_numpy()
    else:
        encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks()
        codes = encoded.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    firsts = codes[starts] if pa.types.is_integer(kind) else encoded.dictionary.take(pa.array(codes[starts]))
    names = [str(name).strip() for name in firsts.tolist()]
    merged = np.array([k == 0 or name != names[k - 1] for k, name in enumerate(names)], bool)
    names = [name for name, kept in zip(names, merged, strict=True) if kept]
    return (None if "" in names else names), starts[merged]
