"""Transcribers with convolutions, pieces of words, and both directions; sessions that are kept and go on."""

from __future__ import annotations

import numpy as np
import pytest

import recurra
from recurra.data.audio import Recording
from recurra.errors import DataError, RecurraError, SessionError, SettingError
from recurra.tasks.transcription.ngram import NGram
from recurra.tasks.transcription.transcriber import Transcriber
from recurra.tasks.transcription.units import pieces_of

pytest.importorskip("kaldi_native_fbank")
RNG = np.random.default_rng(3)
WORDS = ("ab", "abba", "cab")


def recording(i: int) -> Recording:
    text = " ".join(RNG.choice(WORDS, int(RNG.integers(1, 4))))
    x = 0.1 * RNG.standard_normal(int(RNG.integers(20_000, 34_000)))
    return Recording(f"r{i}", x.astype(np.float32), text=text, speaker=f"s{i}")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [recording(i) for i in range(12)]


def fitted(recordings: list[Recording], **settings) -> Transcriber:
    reading = {"stack": 1, "bins": 8, "copies": 1, **settings.pop("reading", {})}
    given = {"hidden": 5, "layers": 2, "epochs": 1, "batch": 4, **settings}
    return Transcriber(**given, reading=reading).fit(recordings, evaluate=False)


@pytest.fixture(scope="module")
def thin(recordings, tmp_path_factory) -> Transcriber:
    pytest.importorskip("tokenizers")
    model = fitted(recordings, strides=(3, 2), pieces=6, reading={"after": 0.25})
    path = tmp_path_factory.mktemp("thin") / "t.recurra"
    model.save(path)
    return recurra.open_model(path)


def heard(model: Transcriber, x: np.ndarray, size: int, search=None, turn=lambda hearer: hearer) -> list:
    hearer, found = model.listen(search), []
    for i, at in enumerate(range(0, len(x), size)):
        found += hearer.push(x[at : at + size])
        if i == 3:
            hearer = turn(hearer)
    return [*found, *hearer.finish()]


def test_outputs_are_fewer_behind_convolutions_and_the_last_ones_come_after_the_sound(thin, recordings) -> None:
    assert thin.model_.stride == thin.task_.thinned == 6
    assert [op.kind for op in thin.model_.ops][:3] == ["convolution", "activation", "convolution"]
    (sequence,) = thin.task_.read(recordings[:1], thin.transform_)
    frames = len(thin.transform_.bank.frames(recordings[0].samples))
    assert len(sequence) == frames + 25
    outputs = thin._predictor().predict(sequence, 0, len(sequence))
    assert len(outputs) == -(-(frames + 25) // 6)
    live = thin.live()
    said = [live.outputs(recordings[0].samples, "a"), live.finish("a")]
    assert len(said[1]) in (4, 5)
    assert thin.task_.decode(np.concatenate(said), thin.transform_, "").tobytes() == outputs.tobytes()
    assert thin.listener().seconds == pytest.approx(0.06)


@pytest.mark.parametrize("size", [160, 1600, 7001])
def test_pieces_of_words_are_the_same_live_and_from_a_snapshot(thin, recordings, size: int) -> None:
    assert thin.task_.letters[:4] == (" ", "a", "b", "c")
    assert len(thin.task_.letters) == 6
    search = thin.search(NGram.learn([r.text for r in recordings], 3), hot=["abba"])
    (whole,) = thin.transcribe(recordings[1:2], search)
    assert whole

    def restored(hearer):
        other = thin.listen(search)
        other.restore(hearer.snapshot())
        hearer.push(np.ones(4000, np.float32))
        return other

    for turn in (lambda hearer: hearer, restored, lambda hearer: hearer.fork()):
        assert heard(thin, recordings[1].samples, size, search, turn) == whole
    one = thin.listen()
    one.push(recordings[0].samples[:9000])
    with pytest.raises(SessionError, match="another model"):
        thin.listen(search).restore(one.snapshot())


def test_many_sounds_together_have_the_bits_of_each_alone(thin, recordings) -> None:
    sounds = [one.samples for one in recordings[:5]]
    alone = [heard(thin, x, 1600) for x in sounds]
    hearers, found = [thin.listen() for _ in sounds], [[] for _ in sounds]
    for at in range(0, max(map(len, sounds)), 1600):
        pieces = [x[at + 7 * i * (at > 0) : at + 1600 + 7 * i] for i, x in enumerate(sounds)]  # they are out of step
        for own, ended in zip(found, type(hearers[0]).together(hearers, pieces), strict=True):
            own += ended
    assert [[*own, *hearer.finish()] for own, hearer in zip(found, hearers, strict=True)] == alone
    assert hearers[2].seconds == pytest.approx(len(sounds[2]) / 16_000)


def test_pieces_are_learned_of_words() -> None:
    pytest.importorskip("tokenizers")
    found = pieces_of(["seven seventeen", "seventy seven"] * 3, 12)
    assert found[:7] == (" ", "e", "n", "s", "t", "v", "y")
    assert len(found) == 12
    assert {"en", "seven"} <= set(found)
    with pytest.raises(SettingError, match="pieces=3, expected more than the 4 letters"):
        pieces_of(["abc"], 3)


def test_both_directions_write_files_and_refuse_to_listen(recordings) -> None:
    model = fitted(recordings, bidirectional=True)
    said = model.predict(recordings[:2])
    assert len(said) == 2
    assert all(isinstance(text, str) for text in said)
    with pytest.raises(SessionError, match="both directions"):
        model.listen()


def test_settings_that_cannot_be_are_one_line(recordings) -> None:
    for settings, match in (
        ({"strides": (2, 0)}, "strides"),
        ({"strides": "2"}, "strides"),
        ({"pieces": -1}, "pieces"),
        ({"reading": {"after": 9}}, "after"),
    ):
        with pytest.raises(RecurraError, match=match) as caught:
            fitted(recordings, **settings)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"r0: its \d+ outputs are fewer"):
        fitted(recordings, strides=(16, 16))


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_files_of_other_rates_and_channels_have_the_words_of_a_stream(thin, recordings, tmp_path, rate: int) -> None:
    soundfile = pytest.importorskip("soundfile")
    one = recordings[2].samples
    x = np.stack([one, 0.5 * one[::-1]], 1)
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="FLOAT")
    (whole,) = thin.transcribe([tmp_path / "x.wav"])
    hearer = thin.listen()
    found = [s for at in range(0, len(x), 777) for s in hearer.push(x[at : at + 777].mean(1), rate)]
    assert [*found, *hearer.finish()] == whole
    assert hearer.seconds == pytest.approx(len(x) / rate)


def test_what_is_no_sound_is_refused_and_nothing_has_changed(thin, recordings) -> None:
    x = recordings[4].samples
    hearer, other = thin.listen(), thin.listen()
    hearer.push(x[:9000])
    other.push(x[:9000])
    for bad in (
        np.array([0.0, np.nan], np.float32),
        np.full(9, np.inf, np.float32),
        np.zeros((4, 2), np.float32),
        "no",
    ):
        with pytest.raises(DataError) as caught:
            hearer.push(bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="expected 16000 as before"):
        hearer.push(x[9000:], 8000)
    assert hearer.snapshot() == other.snapshot()
    assert [*hearer.push(x[9000:]), *hearer.finish()] == [*other.push(x[9000:]), *other.finish()]
    assert thin.listen().finish() == []


def test_memory_is_bounded_however_long_somebody_speaks(thin) -> None:
    hearer, sizes = thin.listen(thin.search(beam=4)), []
    one = np.random.default_rng(1).standard_normal(80_000).astype(np.float32)
    for _ in range(20):
        hearer.push(one)
        sizes.append(len(hearer.snapshot()))
    assert hearer.seconds == 100
    assert max(sizes[10:]) < 1.2 * max(sizes[:10])


def test_a_session_of_the_task_says_what_is_said_while_it_is_said(thin, recordings) -> None:
    """Two sounds in pieces, one a new session of a snapshot in the middle; partial texts grow to what was said."""
    live, said, partial = thin.live(), {"a": [], "b": []}, {"a": [], "b": []}
    sounds = {name: recordings[i].samples for i, name in enumerate("ab")}
    for at in range(0, max(map(len, sounds.values())), 900):
        for name, x in sounds.items():
            answer = live.step(x[at : at + 900], name)
            said[name] += answer["segments"]
            partial[name].append(answer["partial"])
        if at == 9000:
            snapshot, live = live.snapshot(), thin.live()
            live.restore(snapshot)
            live.fork("a", "c")
            assert live.step(sounds["a"][at + 900 :], "c")["partial"]["text"] == partial_of(thin, sounds["a"])
    for i, name in enumerate("ab"):
        said[name] += live.step({"samples": [], "end": True}, name)["segments"]
        assert said[name] == [one.to_dict() for one in thin.transcribe(recordings[i : i + 1])[0]]
        assert partial[name][-1]["text"] == partial_of(thin, sounds[name])
    assert any(one["settled"] < len(one["words"]) for one in partial["a"])
    assert live.series == ["c"]


def partial_of(model: Transcriber, x: np.ndarray) -> str:
    hearer = model.listen()
    hearer.push(x)
    return hearer.partial().text
