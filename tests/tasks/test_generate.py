"""Language models: n-grams by their definition, texts of any size, and a live text that goes on in the same bits."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from typer.testing import CliRunner

import recurra
from helpers import generator
from recurra.cli import app
from recurra.data.batches import Piece
from recurra.data.split import Split
from recurra.data.text import corpus
from recurra.data.text.corpus import Corpus, NextSymbol, open_texts, read_corpus
from recurra.data.text.tokens import Characters
from recurra.errors import DataError, ModelFileError, SettingError
from recurra.runtime import Embedding, Model, NGrams
from recurra.tasks.bench import Bench
from recurra.tasks.generation.beside import beside, best_mix
from recurra.tasks.generation.live import Chance
from recurra.tasks.generation.ngrams import KneserNey
from recurra.tasks.generation.task import Generate

LINE = "to be, or not to be: that is the question\n"


def written(count=900, key="text") -> str:
    """A text in which the two symbols before say much of the next."""
    rng = generator(key)
    text = "ab"
    for _ in range(count):
        text += rng.choice(list("abcde"), p=np.roll([0.7, 0.12, 0.1, 0.05, 0.03], ord(text[-1]) + ord(text[-2])))
    return text


@pytest.fixture(scope="module")
def fitted() -> recurra.Generator:
    return recurra.Generator(hidden=32, epochs=20, chunk=16, batch=4, learning_rate=1e-2, patience=None).fit(LINE * 40)


@pytest.fixture(scope="module")
def of_words() -> recurra.Generator:
    return recurra.Generator(
        "words", hidden=12, epochs=6, chunk=8, batch=2, tied=True, embedding=6, min_count=2, patience=None
    ).fit(LINE * 30 + "once")


def kneser_ney(text: list[int], V: int, order: int):
    """The definition, by dictionaries: the probability of w after a history."""
    counts = [Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for n in range(order + 1)]
    for n in range(1, order):
        kinds = Counter(gram[1:] for gram in counts[n + 1])
        kinds[tuple(text[:n])] += 1
        counts[n] = kinds
    D = []
    for n in range(order + 1):
        n1, n2, n3, n4 = (max(1, sum(c == k for c in counts[n].values())) for k in (1, 2, 3, 4))
        Y = n1 / (n1 + 2 * n2)
        D.append(
            [
                0,
                *(
                    min(max(k - (k + 1) * Y * b / a, 0), k - 0.01)
                    for k, a, b in ((1, n1, n2), (2, n2, n3), (3, n3, n4))
                ),
            ]
        )
    after = [defaultdict(dict) for _ in range(order + 1)]
    for n in range(1, order + 1):
        for gram, c in counts[n].items():
            after[n][gram[:-1]][gram[-1]] = c

    def p(w, history, n):
        if n == 0:
            return 1 / V
        h = tuple(history[len(history) - n + 1 :])
        below = p(w, history, n - 1)
        if len(history) < n - 1 or h not in after[n]:
            return below
        found = after[n][h]
        spared = sum(D[n][min(c, 3)] for c in found.values())
        c = found.get(w, 0)
        return (c - D[n][min(c, 3)] + spared * below) / sum(found.values())

    return lambda w, history: p(w, history, order)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_n_grams_are_those_of_kneser_and_ney(order) -> None:
    bench, made = counted(order)
    task, sequences, N = bench.task, bench.sequences, len(bench.sequences[0])
    ids = bench.transform.numbers(sequences[0], 0, N).astype(int).tolist()
    V = bench.transform.tables[0]
    want = kneser_ney(ids[:700], V, order)
    of_truth, table = made.of_truth(sequences[0], 800, 860), made.predict(sequences[0], 800, 860)
    assert np.allclose(of_truth, [want(ids[t], ids[:t]) for t in range(800, 860)], rtol=1e-12)
    assert np.allclose(table.sum(1), 1.0)
    assert np.allclose(table[np.arange(60), ids[800:860]], of_truth)
    start = made.predict(sequences[0], 0, 3)
    assert np.allclose(start, [[want(w, ids[:t]) for w in range(V)] for t in range(3)])
    assert task.mean_error(bench, made, [Piece(sequences[0], 800, 860)]) == pytest.approx(-np.log(of_truth).mean())


def counted(order: int) -> tuple[Bench, KneserNey]:
    """N-grams of the first 700 symbols of a text, and what is held out behind them."""
    sequences = read_corpus(open_texts(written() + "\n"), Characters())
    task, N = Generate(), len(sequences[0])
    task.tokenizer = Characters()
    splits = [Split(700, 800, N)]
    bench = Bench(task, sequences, splits, task.transform(sequences, splits))
    return bench, KneserNey.fit(bench, {"order": order})


def beside_nothing(bench: Bench, op: NGrams) -> Model:
    """The op behind a network that finds all symbols as probable."""
    V = bench.transform.tables[0]
    return Model([Embedding(np.zeros((V, V), np.float32), tables=(V,)), op])


@pytest.mark.parametrize("order", [2, 3, 5])
def test_n_grams_beside_a_network_are_those_that_were_counted(order) -> None:
    bench, made = counted(order)
    V, (sequence, start, stop) = made.V, bench.pieces("test")[0]
    model = beside_nothing(bench, beside(made, 0.7))
    ids = bench.transform.numbers(sequence, 0, stop)
    got = np.exp(model.run(ids[:-1, None]))[start - 1 :]
    want = 0.3 / V + 0.7 * made.predict(sequence, start, stop)
    np.testing.assert_allclose(got, want, atol=1e-6)
    begin = np.exp(model.run(np.zeros((1, 1), np.float32)))  # as a text begins, of which nothing is known
    np.testing.assert_allclose(begin[0], 0.3 / V + 0.7 * made.predict(sequence, 0, 1)[0], atol=1e-6)


def test_the_rarest_n_grams_are_left_out_and_what_they_had_is_not_lost() -> None:
    bench, made = counted(5)
    whole = beside(made, 0.5)
    sizes = [beside(made, 0.5, most).sizes["N"] for most in (10_000, 300, 100)]
    assert sizes[0] == whole.sizes["N"] > sizes[1] > sizes[2] > 0
    few = beside(made, 0.5, 300)
    assert few.sizes["N"] <= 300 + made.V
    p = np.exp(beside_nothing(bench, few).run(bench.transform.numbers(*bench.pieces("test")[0])[:, None]))
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)  # the op itself refuses a node whose sum is not 1


def test_the_mix_is_the_likeliest() -> None:
    rng = generator("mix")
    network, grams = rng.uniform(0.01, 1, 500), rng.uniform(0.01, 1, 500)
    tried = np.linspace(0.001, 0.949, 949)
    nats = [-np.log(m * grams + (1 - m) * network).mean() for m in tried]
    assert best_mix(network, grams) == pytest.approx(tried[int(np.argmin(nats))], abs=2e-3)
    assert best_mix(np.full(9, 1e-9), np.ones(9)) == 0.95  # a network is never left out
    assert best_mix(np.ones(9), np.full(9, 1e-3)) < 0.01


def test_n_grams_are_mixed_in_where_they_help(tmp_path) -> None:
    text, how = written(1500) + "\n", {"hidden": 6, "epochs": 3, "chunk": 16, "batch": 4}
    alone = recurra.Generator(ngrams=False, **how).fit(text)
    both = recurra.Generator(**how).fit(text)
    assert [op.kind for op in both.model_.ops] == [*(op.kind for op in alone.model_.ops), "ngrams"]
    assert both.evaluate(text[-75:])["nats"] < alone.evaluate(text[-75:])["nats"] - 0.02
    found = both.task_.mixed
    assert found.alone == pytest.approx(np.mean([e["valid_error"] for e in alone.history_.epochs][-1:]), abs=0.05)
    assert str(found) in both.report_["data"]["notes"]
    assert not any("N-grams" in note for note in alone.report_["data"]["notes"])
    both.save(tmp_path / "m.recurra")
    loaded = recurra.Generator.load(tmp_path / "m.recurra")
    assert loaded.live().generate(60, seed=3) == both.live().generate(60, seed=3)
    refitted = recurra.Generator(refit=True, **how).fit(text)
    op = refitted.model_.ops[-1]
    assert op.mix == pytest.approx(found.mix)
    assert op.sizes["N"] > both.model_.ops[-1].sizes["N"]  # of all the text
    with pytest.raises(SettingError, match="ngrams"):
        recurra.Generator(ngrams=3, **how).fit(text)


def test_texts_of_one_symbol_have_no_longer_n_grams() -> None:
    model = recurra.Generator(hidden=4, epochs=1, chunk=4, batch=2, parts=(0.6, 0.2, 0.2)).fit(["a", "b", "c"] * 20)
    beside = model.model_.ops[-1]
    assert (beside.kind, beside.past, beside.sizes["C"]) == ("ngrams", 1, 1)
    p = np.exp(model.model_.run(np.array([[0], [2], [1]], np.float32)))
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_rows_ask_for_the_next_symbol() -> None:
    text = Corpus("", np.array([2, 0, 1, 2], np.int32), ["x", "y", "z"], open=True)
    learned = NextSymbol.learn(Characters(), [text], [Split(2, 3, 4)])  # of z and x
    assert learned.vocabulary.symbols[1:] == ("x", "z")
    assert learned.rows(text, 0, 5)[:, 0].tolist() == [0, 2, 1, 0, 2]
    assert learned.targets(text, 1, 5).tolist()[:-1] == [1, 0, 2]
    assert np.isnan(learned.targets(text, 1, 5)[-1])
    assert learned.rows(text, 2, 4).tolist() == [[1], [0]]


def test_a_corpus_of_any_size_is_mapped_and_trained_alike(tmp_path, monkeypatch) -> None:
    file = tmp_path / "text.txt"
    file.write_text(LINE.replace("question", "quéstion") * 30, encoding="utf-8")

    def trained():
        model = recurra.Generator(hidden=8, epochs=1, chunk=16, batch=3, patience=None).fit(file, evaluate=False)
        return model.model_.fingerprint

    whole = trained()
    monkeypatch.setattr(corpus, "IN_MEMORY", 100)
    monkeypatch.setattr(corpus, "PIECE", 77)
    monkeypatch.setattr("recurra.data.batches.MOST_KEPT", 0)
    mapped = read_corpus(open_texts(file), Characters())[0]
    assert isinstance(mapped.ids, np.memmap)
    assert "".join(mapped.symbols[i] for i in mapped.ids) == file.read_text(encoding="utf-8")
    assert trained() == whole


def test_what_predict_says_a_live_text_says_in_the_same_bits(fitted, tmp_path) -> None:
    fitted.save(tmp_path / "m.recurra")
    live = recurra.open_model(tmp_path / "m.recurra").live()
    text = LINE + "to be or"
    whole = fitted.predict_proba([text])[0]
    for size in (1, 3, len(text)):
        other = live.fork()
        for at in range(0, len(text), size):
            other.feed(text[at : at + size])
        assert list(other.probabilities().values()) == whole.tolist()
        assert np.array(whole).sum() == pytest.approx(1, abs=1e-5)
    assert fitted.predict([text])[0] == max(other.probabilities(), key=other.probabilities().get)
    nats = fitted.evaluate(LINE)["nats"]
    one, said = live.fork(), []
    for c in LINE:
        said.append(-math.log(one.probabilities()[c]))
        one.feed(c)
    assert nats == pytest.approx(np.mean(said), rel=1e-6)
    assert fitted.evaluate(LINE)["bits_per_character"] == pytest.approx(nats / math.log(2))


def test_it_beats_guessing_and_reports_it(fitted) -> None:
    model, naive, grams = fitted.report_["table"]
    assert model["nats"] < 0.3 * naive["nats"]
    assert model["perplexity"] == pytest.approx(math.exp(model["nats"]))
    assert grams["name"].startswith("Kneser-Ney")
    assert fitted.report_["sections"][0]["rows"][0][1]


def test_words_have_one_table_and_bits_of_characters(of_words) -> None:
    table, *_, last = (op for op in of_words.model_.ops if op.kind in ("embedding", "linear"))
    assert (table.W == last.W).all()
    found = of_words.evaluate(LINE)
    characters = len(" ".join(Characters().tokens("") or of_words.transform_.tokenizer.tokens(LINE)))
    tokens = len(of_words.transform_.tokenizer.tokens(LINE))
    assert found["bits_per_character"] == pytest.approx(found["nats"] * tokens / characters / math.log(2))
    live = of_words.live()
    live.feed("to be, or n")  # "n" may go on
    waits = live.probabilities()
    live.feed("ot")
    assert live.probabilities() != waits
    assert live.generate(5, seed=2).count(" ") <= 5
    assert "\N{REPLACEMENT CHARACTER}" not in of_words.live().generate(60, temperature=100.0)


def test_a_seed_gives_the_same_text_and_forks_go_their_own_way(fitted) -> None:
    live = fitted.live()
    live.feed("to be")
    snapshot, fork = live.snapshot(), live.fork()
    first = live.generate(40, seed=7)
    assert fork.generate(40, seed=8) != first
    again = fitted.live()
    again.restore(snapshot)
    assert "".join(again.stream(40, seed=7)) == first
    assert len(first) == 40
    parts = fitted.live()
    parts.feed("to be")
    assert parts.generate(10, top_k=1) + parts.generate(10, top_k=1) == fitted_from(fitted, "to be").generate(
        20, top_k=1
    )


def fitted_from(model, prompt):
    live = model.live()
    live.feed(prompt)
    return live


def test_chance_is_the_same_on_every_machine_and_as_likely_as_it_says() -> None:
    output = np.log(np.array([0.3, 0.4, 0.2, 0.06, 0.04], np.float32))
    chance, drawn = Chance(5, 1.0, None, None, 1), []
    for _ in range(4000):
        chance.see(output)
        drawn.append(chance.draw())
    assert drawn[:24] == GOLDEN
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    want = np.array([0, 0.4, 0.2, 0.06, 0.04]) / 0.7
    assert np.abs(shares - want).max() < 4 * np.sqrt(0.25 / 4000)
    for settings, left in (((2, None), {1, 2}), ((None, 0.9), {1, 2, 3}), ((1, None), {1}), ((4, 0.5), {1})):
        chance = Chance(5, 2.0 if settings[0] == 2 else 1.0, *settings, 3)
        found = set()
        for _ in range(200):
            chance.see(output)
            found.add(chance.draw())
        assert found == left
    cold = Chance(5, 0.05, None, None, 3)
    cold.see(output)
    assert {cold.draw() for _ in range(100)} == {1}


GOLDEN = [1, 2, 1, 1, 3, 1, 2, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 3, 4, 2, 1, 1]


def test_constraints_and_stops(fitted) -> None:
    pytest.importorskip("regex")
    live = fitted.live()
    for seed in range(4):
        assert live.fork().generate(30, constraint=["to go", "to be", "not"], seed=seed) in ("to go", "to be", "not")
        found = live.fork().generate(30, constraint=r"[a-f]{3} [t-z]{2}", seed=seed)
        assert len(found) == 6
        assert set(found[:3]) <= set("abcdef")
    assert live.fork().generate(400, top_k=1, stop=["\n", "xyz"]).count("\n") == 1
    with pytest.raises(DataError, match="no symbol of the model fits the constraint"):
        live.fork().generate(9, constraint="to é+")
    with pytest.raises(SettingError, match="is no regular expression"):
        live.generate(9, constraint="(")
    with pytest.raises(SettingError, match="expected some texts"):
        live.generate(9, constraint=[])
    with pytest.raises(SettingError, match="expected a regular expression, or a set of texts"):
        live.generate(9, constraint=5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"temperature": 0}, "temperature=0, expected a number from 0.001 to 1000: top_k=1 takes"),
        ({"temperature": -1.0}, "temperature=-1.0, expected"),
        ({"temperature": float("nan")}, "temperature=nan, expected"),
        ({"top_k": 0}, "top_k=0, expected"),
        ({"top_p": 1.5}, "top_p=1.5, expected"),
        ({"seed": -1}, "seed=-1, expected"),
        ({"n": -1}, "n=-1, expected"),
    ],
)
def test_settings_out_of_range(fitted, how, message) -> None:
    live = fitted.live()
    with pytest.raises(SettingError, match=message):
        live.generate(**({"n": 3} | how))


def test_texts_that_are_none(fitted, tmp_path) -> None:
    live = fitted.live()
    with pytest.raises(DataError, match=r"prompt: none of its 3 tokens is known to the model \('é' and so on\)"):
        live.feed("éüö")
    with pytest.raises(DataError, match="UTF-8"):
        live.feed(b"\xff\xff\xff")
    assert live.series == []
    live.feed("to é")  # an unknown symbol among others
    empty, bad = tmp_path / "empty.txt", tmp_path / "bad.txt"
    empty.write_bytes(b"")
    bad.write_bytes(b"abc\xff\xfedef" * 99)
    for X, message in (
        (empty, "has no tokens"),
        (bad, "no UTF-8"),
        ("a\nb", "expected at least 30"),
        (tmp_path, "no UTF-8|has no"),
    ):
        with pytest.raises(DataError, match=message):
            recurra.Generator(epochs=1).fit(X)
    with pytest.raises(FileNotFoundError):
        recurra.Generator().fit(tmp_path / "none.txt")
    with pytest.raises(SettingError, match="embedding=0"):
        recurra.Generator(embedding=0).fit(LINE * 9)
    with pytest.raises(SettingError, match="tokens='bytes'"):
        recurra.Generator("bytes").fit(LINE * 9)


def test_the_command_line(tmp_path, monkeypatch) -> None:
    file, out = tmp_path / "t.txt", tmp_path / "m.recurra"
    file.write_text(LINE * 20)
    run = CliRunner().invoke
    done = run(app, ["fit", "generate", str(file), "--hidden", "8", "--epochs", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "Kneser-Ney" in done.output
    done = run(app, ["generate", str(out), "--prompt", "to be", "-n", "30", "--seed", "4"])
    live = fitted_from(recurra.open_model(out), "to be")
    assert done.stdout.startswith("to be" + live.generate(30, temperature=0.8, seed=4))
    assert "30 symbols in" in done.output
    classifier = recurra.Classifier(hidden=4, epochs=1).fit(
        np.zeros((20, 5, 1)) + np.arange(20)[:, None, None], ["a", "b"] * 10
    )
    classifier.save(tmp_path / "c.recurra")
    done = run(app, ["generate", str(tmp_path / "c.recurra")])
    assert isinstance(done.exception, ModelFileError)


def test_its_settings_are_in_its_file_and_go_to_other_processes(of_words, tmp_path) -> None:
    of_words.save(tmp_path / "m.recurra")
    task = recurra.open_model(tmp_path / "m.recurra").task_
    assert task.asked == of_words.task_.asked
    assert (task.asked["tied"], task.asked["min_count"]) == (True, 2)
    asked = Generate(tied=True, min_count=3, tokens="words")
    sequences = asked.examples(LINE * 9)
    splits = asked.split(sequences, (0.8, 0.1, 0.1), 0)
    bench = Bench(asked, sequences, splits, asked.transform(sequences, splits))
    assert Bench.from_bytes(bench.to_bytes()).task.asked == asked.asked
    assert Generate.from_dict({"roles": {}, "each": False}).asked == Generate().asked
    with pytest.raises(ValueError, match="taste"):
        Generate.from_dict({"asked": {"taste": 1}})


@pytest.mark.parametrize("which", ["fitted", "of_words"])
def test_what_is_asked_for_symbol_by_symbol_is_what_is_written_at_once(which, request) -> None:
    """As a server is asked: some symbols an observation, from a snapshot too, and after a piece of another's text."""
    model = request.getfixturevalue(which)
    how = {"temperature": 1.3, "top_k": 7, "seed": 11}
    live, whole = model.live(), model.live()
    for each in (live, whole):
        each.feed(LINE.split()[0])
    want = whole.generate(29, **how)
    said = ""
    for n in (1, 1, 3, 1, 8, 4, 11):
        said += live.step({"write": n, **how})["text"]
        snapshot, live = live.snapshot(), model.live()
        live.restore(snapshot)
    assert said == want
    one, other = live.step({"text": LINE[:9], "write": 5, **how}), live.step({"write": 2, **how})
    assert set(one) == {"text", "next", "probabilities"}
    assert one["text"] + other["text"] not in ("", want[:7])
    before = live.snapshot()
    numbers = [{"write": n} for n in (-1, "2", True, 5000)]
    for bad in (*numbers, {"write": 1, "temperature": 0}, {"write": 1, "seed": -1}):
        with pytest.raises((DataError, SettingError)):
            live.step({"text": LINE[:9], **bad})
        assert live.snapshot() == before
