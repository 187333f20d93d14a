"""`recurra backtest`: how good a model's kind is on what it has not seen, in folds; of a trader, an account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.errors import SettingError
from recurra.tasks.inputs.numbers import Numbers
from recurra.terminal import Terminal

if TYPE_CHECKING:
    from recurra.tasks.trading.trader import Trader


def backtest(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit`.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table with the columns that the model was fitted to.", show_default=False
        ),
    ],
    folds: Annotated[
        int, typer.Option(help="How many, each with a model of its own; a trader's account has none.")
    ] = 5,
    cost: Annotated[
        float | None, typer.Option(help="A trader's: basis points of what is traded; without: as in `fit`.")
    ] = None,
    delay: Annotated[
        int | None, typer.Option(help="A trader's: bars from a position to when it is taken; without: as in `fit`.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A page (HTML) of a trader's account.")] = None,
) -> None:
    """How good a model of this kind is on what it has not seen.

    The model's settings are fitted anew in each fold, to what came before it
    where times are known, and judged beside the simple answers; printed are the
    mean over the folds and the deviation between them. A trader is not fitted:
    its positions on other prices are accounted for, after costs and delay, with
    the proof that none of them knows what comes after it.

    \b
    recurra backtest demand.recurra demand.csv --folds 4
    recurra backtest prices.recurra prices_of_this_year.csv --cost 5
    """
    from recurra.files import check_writable
    from recurra.tasks.estimator import open_model
    from recurra.tasks.trading.trader import Trader

    if report is not None:
        check_writable(report, model, file)
    estimator = open_model(model)
    if isinstance(estimator, Trader):
        _account(estimator, file, cost, delay, report)
        return
    lost = next(
        (name for name, value in (("cost", cost), ("delay", delay), ("report", report)) if value is not None), ""
    )
    if lost:
        raise SettingError(f"--{lost} is of a trader's account, and {model} has the task {estimator.task.name!r}")
    _folds(estimator, file, folds)


def _folds(estimator: Any, file: Path, folds: int) -> None:
    """Fit in each fold, and print the means."""
    from recurra.tasks.forecasting.forecaster import Forecaster

    if isinstance(estimator, Forecaster):
        found = estimator.backtest(file, folds=folds, refit=True)
    else:
        found = estimator.backtest(file, folds=folds, **roles_of(estimator))
    console = Terminal()
    for name, values in found.summary().items():
        shown = ", ".join(f"{key} {mean:.4g} ± {deviation:.2g}" for key, (mean, deviation) in values.items())
        console.print(f"{name}: {shown}", highlight=False, markup=False)
    console.print(f"means over {folds} folds and deviations between them", highlight=False)


def roles_of(estimator: Any) -> dict[str, Any]:
    """The columns that it was fitted to, as its `fit` takes them."""
    roles = dict(estimator.task_.roles)
    if "variable" in roles:
        roles["events"] = roles.pop("variable"), roles.pop("value")
    elif isinstance(estimator.task_.input, Numbers):
        roles["inputs"] = list(estimator.transform_.inputs)
    return roles


def _account(trader: Trader, file: Path, cost: float | None, delay: int | None, report: Path | None) -> None:
    """Print the account, and write its page."""
    from recurra.report.terminal import table_of

    found = trader.backtest(file, cost=cost, delay=delay)
    console = Terminal()
    for note in found["data"]["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    console.print(table_of(found["metrics"], found["table"], "after costs"))
    for sentence in found["verdict"]:
        console.print(sentence, highlight=False, markup=False)
    if report is not None:
        from recurra.report.page import write
        from recurra.report.trade import account_page

        write(account_page(found), report)
        console.print(f"wrote {report}", highlight=False, markup=False)
