"""`run_sound_demo`: commands that are detected, and sentences that are written down, as they are heard."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.errors import need

if TYPE_CHECKING:
    from rich.console import Console

SOURCE = (
    "a formant synthesiser of recurra's own (`recurra.data.audio.voice`): no recording, and no speech to train with"
)
OTHER = "other"  # the beginning of a word
COMMANDS = ("yes", "no", "stop", "go")
WORDS = ("yes", "no", "stop", "go", "left", "on")
SPEAKERS, SENTENCES, LONG = 90, 160, 5  # commands are said once by each speaker


def run_sound_demo(
    task: str,
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int | None = None,
    size: float = 1.0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Make words, learn from them, write a model and a page, and hear new speakers live.

    Args:
        task: "commands" or "transcribe".
        folder: made if it is not there.
        seed: of the words, the weights and of training.
        epochs: see `recurra.Classifier`.
        size: of the data, where 1 is all.
        console: of Rich, to print to.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, audio and draw is not installed.
        OSError: a file cannot be written.
    """
    from recurra.terminal import Terminal

    need("the demo", "torch", "sklearn", "matplotlib", "jinja2", extra="train,audio,draw")
    need("the demo", "kaldi_native_fbank", "jiwer", extra="audio")
    out, place = console or Terminal(), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    run = _commands if task == "commands" else _transcribe
    return run(place, seed, epochs, size, out)


def _commands(place: Path, seed: int, epochs: int | None, size: float, console: Console) -> dict[str, Any]:
    from recurra.data.audio import Recording, unfinished
    from recurra.data.audio.voice import Voice
    from recurra.tasks.classification.classifier import Classifier
    from recurra.tasks.live.spotter import Spotter

    began = time.perf_counter()
    speakers = max(8, int(SPEAKERS * size))
    made = []
    for s in range(speakers):
        voice = Voice(1000 * seed + s)
        made += [Recording(f"{word} {s}", voice.say(word), label=word, speaker=f"{s}") for word in COMMANDS]
    console.print(
        f"[bold]1[/]  {len(made)} words by {speakers} made-up speakers, and their beginnings: {SOURCE}.",
        highlight=False,
    )
    parts = ["test" if s % 5 == 4 else "valid" if s % 5 == 3 else "train" for s in range(speakers) for _ in COMMANDS]
    made, parts = made + unfinished(made, OTHER, seed), 2 * parts
    reading: dict[str, Any] = {"speed": 0.15, "copies": 2, "bins": 24, "band": 4, "pauses": 1}
    reading |= {"tempo": 0.0, "gain": 6.0, "colour": 0.0, "hiss": 15.0}  # made-up speakers have one microphone
    how = {"hidden": 64, "epochs": epochs or 30, "batch": 8, "dropout": 0.1, "noise": 0.15, "learning_rate": 4e-3}
    model = Classifier(**how, parts=parts, refit=False, seed=seed, reading=reading)  # type: ignore[arg-type]
    model.fit(made)
    _written(model, place / "commands.recurra", place / "report.html", console)
    detector = Spotter(model, 0.8, others=[OTHER])
    rng = np.random.default_rng(seed)
    voice, said = Voice(1000 * seed + 999), [COMMANDS[int(k)] for k in rng.integers(0, len(COMMANDS), 8)]
    quiet = [voice.say([], (0.6, 0.9)) for _ in range(len(said) + 1)]
    words = [voice.say(word, (0.0, 0.05)) for word in said]
    sound = np.concatenate([piece for pair in zip(quiet, [*words, words[0][:0]], strict=True) for piece in pair])
    at = time.perf_counter()
    heard = [one for i in range(0, len(sound), 160) for one in detector.push(sound[i : i + 160])]
    spent = (time.perf_counter() - at) / (len(sound) / 160)
    console.print("[bold]4[/]  A new speaker, live, in pieces of 10 ms:")
    for one in heard:
        console.print(f"   {one.time:6.2f} s  {one.label:5s} {one.probability:.2f}", highlight=False)
    console.print(f"   said: {' '.join(said)}", highlight=False)
    console.print(
        f"   {1e6 * spent:.0f} µs for 10 ms; {detector.bytes['all'] / 1024:.0f} KiB of memory", highlight=False
    )
    model.report_["live"] = {"said": said, "heard": [one.label for one in heard], "bytes": detector.bytes["all"]}
    return _ended(model, began, console)


def _transcribe(place: Path, seed: int, epochs: int | None, size: float, console: Console) -> dict[str, Any]:
    from recurra.data.audio import Recording
    from recurra.data.audio.voice import Voice
    from recurra.tasks.transcription.transcriber import Transcriber

    began, rng = time.perf_counter(), np.random.default_rng(seed)
    count = max(12, int(SENTENCES * size))

    def sentence(speaker: int) -> Recording:
        text = " ".join(WORDS[int(k)] for k in rng.integers(0, len(WORDS), LONG))
        return Recording(f"sentence {speaker}", Voice(1000 * seed + speaker).say(text), text=text, speaker=f"{speaker}")

    made = [sentence(s) for s in range(count)]
    console.print(
        f"[bold]1[/]  {count} sentences of {LONG} words, each by a made-up speaker: {SOURCE}.", highlight=False
    )
    reading = {"copies": 2, "bands": 1, "pauses": 1}
    model = Transcriber(
        hidden=96, layers=2, epochs=epochs or 40, batch=6, dropout=0.1, learning_rate=5e-3, seed=seed, reading=reading
    )
    model.fit(made)
    _written(model, place / "transcribe.recurra", place / "report.html", console)
    new = sentence(999)
    console.print("[bold]4[/]  A new speaker, live, in pieces of 10 ms:")
    hearer, found, before = model.listen(), [], ""
    at = time.perf_counter()
    for i in range(0, len(new.samples), 160):
        found += hearer.push(new.samples[i : i + 160])
        text = hearer.partial().text
        if text != before:
            console.print(f"   {i / 16000:5.2f} s  {text}", highlight=False)
            before = text
    spent = time.perf_counter() - at
    found += hearer.finish()
    (whole,) = model.transcribe([new])
    said = " ".join(one.text for one in found)
    same = "the same" if found == whole else "NOT the same"
    console.print(f"   said : {new.text}", highlight=False)
    console.print(f"   heard: {said}; {same} as from the whole", highlight=False)
    console.print(f"   real-time factor {spent / (len(new.samples) / 16000):.3f}", highlight=False)
    model.report_["live"] = {"said": new.text, "heard": said, "same": found == whole}
    return _ended(model, began, console)


def _written(model: Any, file: Path, page: Path, console: Console) -> None:
    from recurra.report import write_report
    from recurra.report.terminal import tell

    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, SOURCE
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")


def _ended(model: Any, began: float, console: Console) -> dict[str, Any]:
    report: dict[str, Any] = model.report_
    report["seconds"]["total"] = time.perf_counter() - began
    console.print(f"   {report['seconds']['total']:.0f} seconds in all.")
    return report


run_commands = partial(run_sound_demo, "commands")
run_transcribe = partial(run_sound_demo, "transcribe")
