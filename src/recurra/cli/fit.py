"""`recurra fit forecast|tag|transcribe`: from a table to a model file, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recurra.cli.training import names, places, train


class ByTable(TyperGroup):
    """Commands for each task; a file where a task's name is due is a table to forecast. All can train on Ray."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, with the options of where it trains."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and not any(option.name == "engine" for option in found.params):
            found.params += places()
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command of some arguments."""
        if args and args[0] not in self.commands and Path(args[0]).suffix:
            args = ["forecast", *args]
        return super().resolve_command(ctx, args)


fit = typer.Typer(
    cls=ByTable,
    help="Train a model on a table, compare it with naive answers on its test part, and write a model file.",
    no_args_is_help=True,
)

FIT, DATA, NETWORK, TRAINING = "Output", "Data", "Network", "Training"

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A table: CSV with a header line, or Parquet.", show_default=False)
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A table, texts, a folder of sound or texts, or a manifest of sound.", show_default=False
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        help="The column of times; without: found by its name. Empty: rows count.",
        rich_help_panel=DATA,
        metavar="COLUMN",
    ),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        help="How times are written, where that can be meant in several ways: '%d/%m/%Y %H:%M', dmy, mdy, ymd, excel, "
        "seconds, milliseconds, count.",
        rich_help_panel=DATA,
        metavar="FORMAT",
    ),
]
Target = Annotated[str, typer.Option(help="The column to learn.", rich_help_panel=DATA, metavar="COLUMN")]
TextIn = Annotated[
    str | None,
    typer.Option(
        "--text",
        help="The column of texts, or of their tokens; without: found by its name, where a file is of texts.",
        rich_help_panel=DATA,
        metavar="COLUMN",
    ),
]
Tokens = Annotated[
    str, typer.Option(help="What a text is cut into: words, characters or subwords.", rich_help_panel=NETWORK)
]
Series = Annotated[
    str, typer.Option(help="The column that says to which sequence a row belongs.", rich_help_panel=DATA)
]
MaybeTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        "--y",
        help="The column to learn, of a table.",
        rich_help_panel=DATA,
        metavar="COLUMN",
        show_default=False,
    ),
]
MaybeSeries = Annotated[
    str | None,
    typer.Option(
        help="The column that says to which sequence a row belongs, of a table.",
        rich_help_panel=DATA,
        metavar="COLUMN",
        show_default=False,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="The column that says what a sequence was taken from: no group is in two parts.", rich_help_panel=DATA
    ),
]
Events = Annotated[
    str,
    typer.Option(
        help="FILE has events: the columns of the variable and of its value, with a comma between; --time has the time "
        "of one, --series what it is of.",
        rich_help_panel=DATA,
        metavar="COLUMNS",
    ),
]
Unknown = Annotated[
    str, typer.Option(help="Values of events that mean unknown, with commas between.", rich_help_panel=DATA)
]
Positive = Annotated[
    str,
    typer.Option(
        help="Variables of which no value of 0 or less can be, with commas between.",
        rich_help_panel=DATA,
        metavar="VARIABLES",
    ),
]
LeaveOut = Annotated[
    str,
    typer.Option(
        help="Variables not to learn from: numbers of records, what is known only afterwards.",
        rich_help_panel=DATA,
        metavar="VARIABLES",
    ),
]
Inputs = Annotated[
    str,
    typer.Option(
        help="The columns to learn from, with commas between; without: all that have no other role.",
        rich_help_panel=DATA,
        metavar="COLUMNS",
    ),
]
Cell = Annotated[
    str,
    typer.Option(
        help="A cell of the zoo (see `recurra cells`), or of a script: my_cells.py:my_cell.", rich_help_panel=NETWORK
    ),
]
Hidden = Annotated[int, typer.Option(help="Units of a layer.", rich_help_panel=NETWORK)]
Layers = Annotated[int, typer.Option(help="Recurrent layers.", rich_help_panel=NETWORK)]
Both = Annotated[
    bool,
    typer.Option(
        "--bidirectional", help="Read from the end too; such a model cannot run live.", rich_help_panel=NETWORK
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="At most so many; without: as many as the size of the data needs.", rich_help_panel=TRAINING),
]
Seed = Annotated[int, typer.Option(help="Of all chance.", rich_help_panel=TRAINING)]
Members = Annotated[
    int,
    typer.Option(
        help="Networks of other seeds, averaged: so many times the training, for less chance.", rich_help_panel=TRAINING
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a run was killed or stopped.", rich_help_panel=TRAINING)
]
Out = Annotated[Path, typer.Option(help="The model file.", rich_help_panel=FIT)]
Report = Annotated[Path | None, typer.Option(help="A page (HTML) on how good it is.", rich_help_panel=FIT)]
MODEL = Path("model.recurra")


@fit.command()
def forecast(
    file: File,
    target: Annotated[
        str,
        typer.Option(
            help="The column to forecast; or several, with commas between.",
            rich_help_panel=DATA,
            metavar="COLUMN",
            show_default=False,
        ),
    ],
    horizon: Annotated[
        int, typer.Option(help="How many steps to forecast.", rich_help_panel=DATA, metavar="N", show_default=False)
    ],
    time: Time = None,
    known_ahead: Annotated[
        str,
        typer.Option(
            help="Columns known ahead of time, with commas between: holidays, plans.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    past: Annotated[
        str,
        typer.Option(
            help="Columns known up to the time of forecasting: temperature, say.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    series: Annotated[
        str | None,
        typer.Option(
            help="The column that names the series of a row, where there are several.",
            rich_help_panel=DATA,
            metavar="COLUMN",
        ),
    ] = None,
    static: Annotated[
        str,
        typer.Option(
            help="Columns that have one value for each series, numbers or words: region, size.",
            rich_help_panel=DATA,
            metavar="COLUMNS",
        ),
    ] = "",
    split: Annotated[
        str | None,
        typer.Option(
            help="The column that says of each row in which part it is: train, then valid, then test.",
            rich_help_panel=DATA,
            metavar="COLUMN",
            show_default=False,
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            help="The time zone of the clock on the wall (Europe/Berlin), where times do not state it.",
            rich_help_panel=DATA,
        ),
    ] = None,
    time_format: TimeFormat = None,
    cell: Cell = "gru",
    hidden: Hidden = 64,
    layers: Layers = 1,
    epochs: Epochs = None,
    refit: Annotated[
        str,
        typer.Option(
            help="Which model is kept: 'all', trained again on all rows once it was measured; 'train', the one "
            "that was measured.",
            rich_help_panel=TRAINING,
        ),
    ] = "all",
    rivals: Annotated[
        str,
        typer.Option(
            help="Models of other libraries to measure beside it: all, or some of trees, ets, theta, arima.",
            rich_help_panel=FIT,
        ),
    ] = "",
    seed: Seed = 0,
    members: Members = 1,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """The next N values of a column, with intervals.

    The table is split by time: 70 % to learn from, 15 % to stop early on, 15 %
    to measure on. Scales, seasons and the calendar are learned from the first
    part alone. Steps may be from seconds to years; missing values are allowed.

    Ctrl-C ends the training and keeps the best model so far. Killed at any
    moment, the same command with --resume goes on from the last epoch, and ends
    with the same weights as an unbroken run.

    \b
    recurra fit forecast demand.csv --target Demand --time time --horizon 48 \\
        --known-ahead WorkDay --past Temperature --out demand.recurra --report report.html
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.forecasting.forecaster import Forecaster

    roles = {"time": time, "known_ahead": names(known_ahead), "past": names(past), "series": series}
    roles |= {"zone": zone, "time_format": time_format, "static": names(static)}
    roles |= {"rivals": names(rivals), "split": split}
    trained: Any = {"epochs": epochs, "refit": refit, "seed": seed, "members": members}
    model = Forecaster(horizon, load_cell(cell), hidden, layers, **trained)
    targets = names(target)
    train(model, file, out, report, resume, target=targets if len(targets) > 1 else target, **roles)


@fit.command()
def tag(
    file: File,
    text: TextIn = None,
    target: MaybeTarget = None,
    group: Group = None,
    cell: Cell = "gru",
    hidden: Hidden = 64,
    layers: Layers = 1,
    one_way: Annotated[
        bool,
        typer.Option(
            "--one-way",
            help="Read from the beginning only, so that a live tag waits for nothing.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    epochs: Epochs = None,
    seed: Seed = 0,
    members: Members = 1,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """A tag for each token of a text: parts of speech, names, slots; live, each as soon as it is certain.

    FILE is CoNLL (a token and its tag a line, a blank line after each sentence),
    CoNLL-U (--y UPOS, or another of its columns), JSON Lines with tokens and tags,
    or a table whose columns have them with blanks between. Of spans, B-X begins
    one, I-X goes on, O is outside; no other order is ever made.

    \b
    recurra fit tag commands.conll --out commands.recurra --report commands.html
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.tagging.tagger import Tagger

    model = Tagger(load_cell(cell), hidden, layers, not one_way, epochs=epochs, seed=seed, members=members)
    train(model, file, out, report, resume, text=text, y=target, groups=group)


@fit.command()
def transcribe(
    file: Source,
    cell: Cell = "gru",
    hidden: Hidden = 256,
    layers: Layers = 3,
    bidirectional: Both = False,
    transducer: Annotated[
        bool, typer.Option("--transducer", help="A network that also knows what it has written (Graves 2012).")
    ] = False,
    pieces: Annotated[int, typer.Option(min=0, help="Pieces of words to learn and write in; 0: single letters.")] = 0,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """What is said in recordings, letter by letter; live, the words so far.

    The manifest (JSON Lines, or CSV with a header) has the path of each recording
    and its text, and maybe its speaker: no speaker is then in two parts.

    \b
    recurra fit transcribe recordings.jsonl --out model.recurra --report report.html
    recurra transcribe model.recurra new.wav
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.transcription.transcriber import Transcriber
    from recurra.tasks.transcription.transducer import Transducer

    kind = Transducer if transducer else Transcriber
    model = kind(load_cell(cell), hidden, layers, bidirectional, pieces=pieces, epochs=epochs, seed=seed)
    train(model, file, out, report, resume)
