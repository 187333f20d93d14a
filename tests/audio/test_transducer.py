"""Transducers: the loss and the search against their definitions; the same text whole and in pieces."""

from __future__ import annotations

import math

import numpy as np
import pytest

import recurra
from recurra.data.audio import Recording
from recurra.errors import ModelFileError
from recurra.runtime import Activation, Embedding, Linear, Model, Softmax
from recurra.tasks.transcription import transduced
from recurra.tasks.transcription.ctc import Search
from recurra.tasks.transcription.transducer import Transducer

pytest.importorskip("kaldi_native_fbank")
RNG = np.random.default_rng(12)


def definition(logs: np.ndarray, text: list[int]) -> float:
    """The logarithm of a text's probability from logs [T, U + 1, K + 1], by Graves' forward variables."""
    T, U = len(logs), len(text)
    alpha = np.full((T, U + 1), -np.inf)
    alpha[0, 0] = 0.0
    for t in range(T):
        for u in range(U + 1):
            if t:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t - 1, u] + logs[t - 1, u, 0])
            if u:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t, u - 1] + logs[t, u - 1, text[u - 1]])
    return float(alpha[T - 1, U] + logs[T - 1, U, 0])


def test_the_loss_is_that_of_the_definition_and_so_are_its_gradients() -> None:
    import torch

    from recurra.models.transducer import transducer_loss

    steps, texts, K = [7, 4, 1], [[1, 3, 3, 2], [], [2, 1]], 3
    z = 2.0 * RNG.standard_normal((7, 3, 5, K + 1))
    labels = np.zeros((4, 3), np.int64)
    for b, text in enumerate(texts):
        labels[: len(text), b] = text

    def want(z: np.ndarray) -> np.ndarray:
        logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
        return np.array([-definition(logs[: steps[b], b, : len(text) + 1], text) for b, text in enumerate(texts)])

    scores = torch.from_numpy(z).requires_grad_()
    counts = torch.tensor([len(text) for text in texts])
    found = transducer_loss(scores, torch.from_numpy(labels), torch.tensor(steps), counts)
    np.testing.assert_allclose(found.detach().numpy(), want(z), rtol=1e-11)
    found.sum().backward()
    for _ in range(12):
        at = tuple(int(RNG.integers(n)) for n in z.shape)
        more, less = z.copy(), z.copy()
        more[at] += 1e-5
        less[at] -= 1e-5
        slope = (want(more).sum() - want(less).sum()) / 2e-5
        assert float(scores.grad[at]) == pytest.approx(slope, abs=1e-7)


def toy(letters: int, J: int = 5) -> Model:
    def array(*shape: int) -> np.ndarray:
        return RNG.standard_normal(shape).astype(np.float32)

    join = [Activation("tanh"), Linear(1.5 * array(letters + 1, J), array(letters + 1)), Softmax()]
    written = [Embedding(array(letters + 1, J)), Linear(array(J, J), array(J))]
    return Model(programs={"main": [Linear(array(J, 3), array(J))], "written": written, "join": join})


def test_the_search_finds_the_most_likely_text_and_its_probability(monkeypatch) -> None:
    monkeypatch.setattr(transduced, "MOST", 2)
    for _ in range(3):
        model = toy(2)
        heard = RNG.standard_normal((3, 5)).astype(np.float32)
        totals: dict[tuple[int, ...], float] = {}

        def shares(t: int, text: tuple[int, ...], model=model, heard=heard) -> np.ndarray:
            session = model.session(program="written")
            for k in (0, *text):
                features = session.step(k)
            return model.program("join").run((heard[t] + features)[None])[0].astype(float)

        def walk(t: int, text: tuple[int, ...], here: int, p: float, totals=totals, shares=shares) -> None:
            if t == 3:
                totals[text] = totals.get(text, 0.0) + p
                return
            q = shares(t, text)
            walk(t + 1, text, 0, p * q[0])
            for k in (1, 2) if here < 2 else ():
                walk(t, (*text, k), here + 1, p * q[k])

        walk(0, (), 0, 1.0)
        beam = transduced.TransducerBeam((" ", "a"), Search(beam=10_000, width=-99), model)
        for step in heard:
            beam.push(step)
        values = {tuple(p.letter for p in beam._letters(prefix)): value for prefix, value, _ in beam.beams}
        most = max(totals.values())
        assert tuple(k for k, _, _ in beam.text(False)) == max(totals, key=totals.get)
        assert len(values) == len(totals) > 50
        for text, value in values.items():
            assert value == pytest.approx(math.log(totals[text] / most), abs=1e-4)


def recording(i: int) -> Recording:
    text = " ".join(RNG.choice(("ab", "ba"), int(RNG.integers(1, 4))))
    x = np.concatenate([0.2 * np.sin((0.1 if c == "a" else 0.3) * (c != " ") * np.arange(2000)) for c in text])
    noise = 0.01 * RNG.standard_normal(len(x) + 2000)
    noise[1000:-1000] += x
    return Recording(f"r{i}", noise.astype(np.float32), text=text, speaker=f"s{i}")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [recording(i) for i in range(12)]


@pytest.fixture(scope="module")
def path(recordings, tmp_path_factory):
    reading = {"stack": 1, "bins": 8, "copies": 1, "after": 0.1}
    model = Transducer(
        hidden=12, layers=1, strides=(4,), epochs=40, batch=3, learning_rate=2e-2, dropout=0.0, reading=reading
    )
    model.fit(recordings)
    assert "failed" not in model.report_
    assert model.model_.parity["torch_difference"] < 1e-4
    losses = [epoch["train_loss"] for epoch in model.history_.epochs]
    assert losses[-1] < 0.5 * losses[0]
    found = tmp_path_factory.mktemp("model") / "t.recurra"
    model.save(found)
    return found


@pytest.mark.parametrize("beam", [1, 4])
def test_a_file_and_pieces_of_any_size_have_the_same_words(path, recordings, beam: int) -> None:
    model = recurra.open_model(path)
    assert isinstance(model, recurra.Transducer)
    x = np.concatenate([recordings[0].samples, np.zeros(19_000, np.float32), recordings[1].samples])
    search = Search(beam=beam, hot={"ab": 0.5})
    (whole,) = model.transcribe([Recording("x", x)], search)
    assert whole
    for size in (160, 1600, 30_000):
        hearer, found = model.listen(search), []
        for i, at in enumerate(range(0, len(x), size)):
            found += hearer.push(x[at : at + size])
            if i == 9:  # it goes on from what was kept, in two ways
                other = model.listen(search)
                other.restore(hearer.snapshot())
                hearer.push(np.ones(5000, np.float32))
                hearer = other.fork()
        assert [*found, *hearer.finish()] == whole
    assert model.evaluate(recordings, search=search)["cer"] <= 1.5


def test_a_state_that_cannot_be_one_changes_nothing() -> None:
    beam = transduced.TransducerBeam((" ", "a"), Search(beam=3), toy(2))
    for step in RNG.standard_normal((4, 5)).astype(np.float32):
        beam.push(step)
    before = beam.state()
    prefixes, ends, step, begun = before
    for bad in (
        [[[0, *prefixes[0][1:]], *prefixes[1:]], ends, step, begun],
        [prefixes, [[len(prefixes), 0.0]], step, begun],
        [prefixes, [], step, begun],
    ):
        with pytest.raises(ValueError, match="a search's"):
            beam.restore(bad)
        assert beam.state() == before


def test_what_it_cannot_do_is_said(path) -> None:
    with pytest.raises(ModelFileError, match="expected 'forecast'"):
        recurra.Forecaster.load(path)


def test_a_session_of_the_task_writes_what_the_whole_says(path, recordings) -> None:
    model = recurra.open_model(path)
    live, x = model.live(), recordings[0].samples
    said = [one for at in range(0, len(x), 3000) for one in live.step(x[at : at + 3000])["segments"]]
    said += live.step({"samples": [], "end": True})["segments"]
    assert said == [one.to_dict() for one in model.transcribe(recordings[:1])[0]]
