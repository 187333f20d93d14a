"""Reports: self-contained HTML pages of what a fitted task, a comparison or the doctor has found.

A presenter makes `Section`s of text, tables and charts from plain data; templates turn them into one page without
scripts that follows the reader's light or dark theme.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def write_report(report: Mapping[str, Any], path: str | os.PathLike[str], model: Any = None) -> None:
    """Write the page of a fitted task in one move: a reader sees the old page or the new one.

    Args:
        report: what an estimator's `report_` has.
        path: where to write.
        model: the network, to be drawn unrolled: what `recurra.draw.network` takes.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
        OSError: the file cannot be written; what was there is untouched.
    """
    from recurra.report.fit import fit_page
    from recurra.report.forecast import forecast_page
    from recurra.report.page import write
    from recurra.report.trade import trade_page

    if model is not None and "main" not in model.programs:
        model = None  # a picture of one program says little of several
    make = {"forecast": forecast_page, "trade": trade_page}.get(str(report.get("task")), fit_page)
    write(make(report, model), path)
