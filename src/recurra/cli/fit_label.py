"""`recurra fit classify|regress`: from sequences of any kind to a label or a number."""

from __future__ import annotations

from typing import Any

from recurra.cli.fit import (
    MODEL,
    Both,
    Cell,
    Epochs,
    Events,
    File,
    Group,
    Hidden,
    Inputs,
    Layers,
    LeaveOut,
    MaybeSeries,
    MaybeTarget,
    Members,
    Out,
    Positive,
    Report,
    Resume,
    Seed,
    Series,
    Source,
    Target,
    TextIn,
    Time,
    Tokens,
    Unknown,
    fit,
)
from recurra.cli.training import names, train
from recurra.errors import SettingError


@fit.command()
def classify(
    file: Source,
    series: MaybeSeries = None,
    target: MaybeTarget = None,
    text: TextIn = None,
    time: Time = None,
    group: Group = None,
    events: Events = "",
    unknown: Unknown = "",
    positive: Positive = "",
    leave_out: LeaveOut = "",
    inputs: Inputs = "",
    cell: Cell = "gru",
    hidden: Hidden = 64,
    layers: Layers = 1,
    bidirectional: Both = False,
    tokens: Tokens = "words",
    epochs: Epochs = None,
    seed: Seed = 0,
    members: Members = 1,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """Which label belongs to a sequence; live, a probability for each label after every step.

    Sequences are those of a table; or sound: a folder whose folders are the labels
    (WAV, FLAC, OGG), or a manifest (JSON Lines, CSV) with path and label, and maybe
    speaker, which is then in one part only.

    A row of the table is one step of a sequence. All columns that have no other
    role are its numbers; missing values are allowed. The parts are stratified by
    label, or by time or group where these are given. A target that changes within
    a sequence is a label for each step; an empty cell is one that is not known.

    With --events a row is an event: a time, a variable and its value; a sequence is
    the history of a patient, a machine, an account, at whatever times they come.

    With --text, or of JSON Lines (.jsonl) and folders of files, a sequence is a
    text; the folders that files are in are their labels.

    \b
    recurra fit classify walks.csv --series walk --target room --group building --out walks.recurra
    recurra fit classify commands/ --out commands.recurra
    recurra fit classify stays.csv --events what,value --series stay --time hour --y died --unknown -1
    recurra fit classify reviews.csv --text review --y stars --out reviews.recurra --report reviews.html
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.classification.classifier import Classifier

    reading = reading_of(events, unknown, positive, leave_out) or ({"tokens": tokens} if tokens != "words" else None)
    trained: Any = {"epochs": epochs, "seed": seed, "members": members, "reading": reading}
    model = Classifier(load_cell(cell), hidden, layers, bidirectional, **trained)
    roles = {
        "text": text,
        "y": target,
        "groups": group,
        "series": series,
        "time": time,
        "inputs": names(inputs) or None,
        "events": tuple(names(events)) or None,
    }
    train(model, file, out, report, resume, **roles)


@fit.command()
def regress(
    file: File,
    series: Series,
    target: Target,
    time: Time = None,
    group: Group = None,
    events: Events = "",
    unknown: Unknown = "",
    positive: Positive = "",
    leave_out: LeaveOut = "",
    inputs: Inputs = "",
    cell: Cell = "gru",
    hidden: Hidden = 64,
    layers: Layers = 1,
    bidirectional: Both = False,
    epochs: Epochs = None,
    seed: Seed = 0,
    members: Members = 1,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """A number for a sequence; live, the number so far after every step.

    A row of the table is one step of a sequence. All columns that have no other
    role are its numbers; missing values are allowed. A target that changes within
    a sequence is a number for each step; an empty cell is one that is not known.
    With --events a row is an event: a time, a variable and its value.

    \b
    recurra fit regress engines.csv --series engine --target life --out engines.recurra
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.regression.regressor import Regressor

    reading = reading_of(events, unknown, positive, leave_out)
    trained: Any = {"epochs": epochs, "seed": seed, "members": members, "reading": reading}
    model = Regressor(load_cell(cell), hidden, layers, bidirectional, **trained)
    roles: dict[str, Any] = {"y": target, "groups": group, "series": series, "time": time}
    roles |= {"inputs": names(inputs) or None, "events": tuple(names(events)) or None}
    train(model, file, out, report, resume, **roles)


def reading_of(events: str, unknown: str, positive: str, leave_out: str) -> dict[str, Any] | None:
    """How events are read; None where there are none."""
    given = {"--unknown": unknown, "--positive": positive, "--leave-out": leave_out}
    if not events:
        odd = next((option for option, text in given.items() if text), None)
        if odd is not None:
            raise SettingError(f"{odd} says how events are read, expected --events VARIABLE,VALUE too")
        return None
    try:
        values = [float(value) for value in names(unknown)]
    except ValueError:
        raise SettingError(f"--unknown is {unknown[:40]!r}, expected numbers with commas between") from None
    return {"unknown": values, "positive": names(positive), "leave_out": names(leave_out)}
