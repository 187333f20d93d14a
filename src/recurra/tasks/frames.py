"""Results as the kind of table that was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_frame(columns: Mapping[str, NDArray[Any]], like: Any) -> Any:
    """A pandas or Polars frame where `like` is one, else the columns as they are."""
    if isinstance(like, (str, bytes, Mapping, np.ndarray)) or not hasattr(like, "columns"):
        return dict(columns)
    try:
        import narwhals as nw
    except ImportError:
        return dict(columns)
    frame = nw.from_native(like, pass_through=True)
    if not isinstance(frame, (nw.DataFrame, nw.LazyFrame)):
        return dict(columns)
    fine = {n: c.astype("datetime64[ms]") if c.dtype.kind == "M" else c for n, c in columns.items()}
    fine = {n: c.tolist() if c.dtype == object else c for n, c in fine.items()}
    return nw.from_dict(fine, backend=frame.implementation).to_native()
