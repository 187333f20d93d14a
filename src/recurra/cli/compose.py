"""`recurra fit compose` and `recurra compose`: music of several notes at a time, made or accompanied."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.fit import DATA, MODEL, NETWORK, Cell, Epochs, Layers, Out, Report, Resume, Seed, fit
from recurra.cli.training import train


@fit.command("compose")
def fit_compose(
    file: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of MIDI files, a piece each.", show_default=False)
    ],
    steps: Annotated[int, typer.Option(min=1, help="Frames of a quarter note.", rich_help_panel=DATA)] = 4,
    cell: Cell = "gru",
    hidden: Annotated[int, typer.Option(help="Units of a layer.", rich_help_panel=NETWORK)] = 128,
    layers: Layers = 1,
    units: Annotated[
        int, typer.Option(min=0, help="Of the joint head; 0: independent notes.", rich_help_panel=NETWORK)
    ] = 64,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """Which notes sound next, together: each by those below it.

    \b
    recurra fit compose chorales/ --out chorales.recurra --report report.html
    recurra compose chorales.recurra --out new.mid
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.composition.composer import Composer

    how = {"epochs": epochs, "seed": seed, "reading": {"steps": steps}}
    train(Composer(load_cell(cell), hidden, layers, units, **how), file, out, report, resume)  # type: ignore[arg-type]


def compose(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit compose`.")],
    out: Annotated[Path, typer.Option(help="The MIDI file.")] = Path("music.mid"),
    after: Annotated[Path | None, typer.Option(help="A MIDI file that it goes on from.")] = None,
    to: Annotated[Path | None, typer.Option(help="A MIDI file that it accompanies, frame by frame.")] = None,
    n: Annotated[int, typer.Option("--frames", "-n", min=1, help="So many frames, where it goes on.")] = 128,
    temperature: Annotated[float, typer.Option(help="Less than 1: more of what is probable.")] = 0.8,
    tempo: Annotated[float, typer.Option(help="Quarter notes a minute.")] = 80.0,
    picture: Annotated[Path | None, typer.Option(help="The piano roll: .svg, .png or .pdf.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same notes.")] = 0,
) -> None:
    """Write music: something new, what goes on from a piece, or an accompaniment to it.

    \b
    recurra compose chorales.recurra --to melody.mid --out accompanied.mid --picture roll.svg
    """
    from recurra.data.music import write_midi
    from recurra.data.rolls import notes_of_keys
    from recurra.errors import ModelFileError, SettingError
    from recurra.files import check_writable
    from recurra.tasks.composition.composer import Composer
    from recurra.tasks.composition.live import played
    from recurra.tasks.estimator import open_model

    if after is not None and to is not None:
        raise SettingError("compose: after and to are both given, expected one of them")
    for path in (out, picture):
        if path is not None:
            check_writable(path)
    found = open_model(model)
    if not isinstance(found, Composer):
        raise ModelFileError(f"{model}: it is no model of music, expected one of `recurra fit compose`")
    steps, began = found.task_.input.steps, time.perf_counter()
    frames, given = played(found.live(), steps, n, after, to, temperature=temperature, seed=seed)
    took = time.perf_counter() - began
    notes = notes_of_keys(frames)
    write_midi(out, notes, steps, tempo)
    typer.echo(f"wrote {out}: {len(notes)} notes in {len(frames)} frames, {1e6 * took / len(frames):.0f} µs each")
    if picture is not None:
        from recurra.draw import score

        own = notes_of_keys(frames & ~given)
        score([*notes_of_keys(given), *own], notes_of_keys(given), title=out.name, steps=steps).save(picture)
        typer.echo(f"wrote {picture}")
