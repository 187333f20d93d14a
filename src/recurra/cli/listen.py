"""`recurra listen`: commands and wake words in a sound, as they are heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def listen(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit classify FOLDER`.", show_default=False)
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="A file of sound; - : samples of 16 bits.", show_default=False)
    ],
    threshold: Annotated[float, typer.Option(min=0.01, max=1.0, help="Of the probability of a word.")] = 0.9,
    background: Annotated[
        Path | None,
        typer.Option(help="Sound without the words, by which the threshold is set instead.", show_default=False),
    ] = None,
    alarms: Annotated[float, typer.Option(min=0.0, help="False alarms an hour, with --background.")] = 1.0,
    others: Annotated[str, typer.Option(help="Labels that are no words, with commas between: noise.")] = "",
    rate: Annotated[int, typer.Option(help="Samples a second of standard input.", min=1000, max=768_000)] = 16_000,
) -> None:
    """Write each word that is detected, with its time and probability, at once.

    Standard input is raw samples: 16 bits, signed, little-endian, one channel.

    \b
    arecord -q -t raw -f S16_LE -r 16000 | recurra listen commands.recurra -
    """
    from recurra.cli.training import names
    from recurra.data.audio.sound import sound_of, stream_sound
    from recurra.tasks.estimator import open_model
    from recurra.tasks.live.spotter import Spotter

    detector = Spotter(open_model(model), threshold, names(others))
    if background is not None:
        found = detector.calibrate(stream_sound(background, detector.transform.bank.rate), alarms)
        typer.echo(
            f"threshold {found.threshold:.4f}: {found.alarms} false alarms in {found.hours:.2f} h, with 95 % fewer "
            f"than {found.bound:.1f} an hour",
            err=True,
        )
    size = detector.bytes
    typer.echo(
        f"memory of the detector: {size['all'] / 1024:.1f} KiB, of which {size['network'] / 1024:.1f} are the network",
        err=True,
    )
    try:
        for piece, own in sound_of(file, rate, detector.transform.bank.rate):
            for one in detector.push(piece, own):
                typer.echo(f"{one.time:.2f}\t{one.label}\t{one.probability:.3f}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
