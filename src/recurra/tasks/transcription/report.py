"""What a report shows of a transcriber: by speaker, what is taken for what, errors, and a recording with its spikes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.tasks.transcription.metrics import error_rate

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.transcription.task import Transcribe

SHOWN = 12  # errors
CONFUSED = 12  # pairs of words, and of letters
PICTURED = 6.0  # seconds of a recording at most, where there is one so short
NOTHING = "-"  # stands for a word that was not said, or not heard


def sections(task: Transcribe, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
    """The sections of the test part."""
    pieces = bench.pieces("test")
    true, said = task.said(bench, predictor, pieces)
    speakers = [piece.sequence.group for piece in pieces]
    found = [by_speaker(true, said, speakers), *confusions(true, said)]
    wrong = [pair for pair in zip(true, said, strict=True) if pair[0] != pair[1]]
    if wrong:
        order = np.random.default_rng(0).permutation(len(wrong))[:SHOWN]
        found.append(_table("Errors, chosen by chance", ["said", "heard"], [list(wrong[int(i)]) for i in order]))
    return [*found, picture(task, bench, predictor)]


def _table(heading: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {"kind": "table", "heading": heading, "headings": list(headings), "rows": [list(row) for row in rows]}


def by_speaker(true: Sequence[str], said: Sequence[str], speakers: Sequence[str]) -> dict[str, Any]:
    """Error rates of each, the worst first."""
    rows = []
    for speaker in sorted(set(speakers)):
        own = [i for i, s in enumerate(speakers) if s == speaker]
        texts = [true[i] for i in own], [said[i] for i in own]
        rows.append((error_rate("wer", *texts), [speaker, len(own)], error_rate("cer", *texts)))
    rows.sort(key=lambda row: -row[0])
    shown = [[*who, f"{wer:.1%}", f"{cer:.1%}"] for wer, who, cer in rows]
    return _table("By speaker", ["speaker", "recordings", "WER", "CER"], shown)


def confusions(true: Sequence[str], said: Sequence[str]) -> list[dict[str, Any]]:
    """Which words, and which letters, were taken for which, the most frequent first."""
    import jiwer

    kept = [(t, s) for t, s in zip(true, said, strict=True) if t]
    found = []
    for what, process in (("words", jiwer.process_words), ("letters", jiwer.process_characters)):
        if not kept:
            continue
        out: Any = process([t for t, _ in kept], [s for _, s in kept])
        counts = Counter[tuple[str, str]]()
        for t, s, chunks in zip(out.references, out.hypotheses, out.alignments, strict=True):
            for one in chunks:
                if one.type != "equal":
                    pair = t[one.ref_start_idx : one.ref_end_idx], s[one.hyp_start_idx : one.hyp_end_idx]
                    counts.update(_beside(*pair))
        rows = [[t, s, n] for (t, s), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CONFUSED]]
        if rows:
            found.append(_table(f"Confused {what}", ["said", "heard", "times"], rows))
    return found


def _beside(true: Sequence[str], said: Sequence[str]) -> list[tuple[str, str]]:
    count = max(len(true), len(said))
    filled = ([*some, *[NOTHING] * (count - len(some))] for some in (true, said))
    return list(zip(*filled, strict=True))


def picture(task: Transcribe, bench: Bench, predictor: ModelPredictor) -> dict[str, Any]:
    """One recording: what the network hears, and below the probability of each letter: it speaks in spikes."""
    transform: Any = bench.transform
    pieces = bench.pieces("test")
    step = transform.milliseconds / 1000
    short = [piece for piece in pieces if piece.stop * step <= PICTURED] or pieces
    piece = max(short, key=lambda piece: len(task.text(piece.sequence)) / piece.stop)
    shares = task.spikes(predictor.predict(*piece))
    rows = transform.rows(*piece)
    frames = rows.reshape(len(rows) * transform.stack, -1)
    letters = [k for k in range(1, shares.shape[1]) if shares[:, k].max() > 0.2]
    text = task.text(piece.sequence)
    return {
        "kind": "spikes",
        "heading": "One recording as the network hears it",
        "caption": f"{text!r}: a spectrogram, and below it the probability of each letter. The highest ones are named.",
        "frames": np.round(frames, 1).T.tolist(),
        "seconds": round(len(frames) / 100, 3),
        "at": (np.arange(len(shares)) * task.thinned * step).round(3).tolist(),
        "shares": {_named(task.letters[k - 1]): shares[:, k].round(3).tolist() for k in letters},
    }


def _named(letter: str) -> str:
    return "␣" if letter == " " else letter
