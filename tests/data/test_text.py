"""Text: whole and in pieces the same tokens, vocabularies, and readers of files with what is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from recurra.data.text import (
    Arriving,
    Characters,
    Subwords,
    Symbols,
    Tokens,
    Vocabulary,
    Words,
    are_texts,
    normal,
    read_texts,
)
from recurra.data.text.normal import MOST_MARKS
from recurra.data.text.tokens import LONGEST, Tokenizer, tokenizer_of
from recurra.errors import DataError, SettingError

# Letters with marks apart and together, Hangul by letters, Japanese, a compatibility sign, emoji, blanks of all kinds.
ALPHABET = [
    "a",
    "e",
    "Z",
    " ",
    " ",
    "\n",
    "\t",
    "\u3000",
    "'",
    ".",
    "é",
    "\u0301",
    "\u0323",
    "o\u0302\u0301",
    "\u1112",
    "\u1161",
    "\u11ab",
    "각",
    "日",
    "か\u3099",
    "\u2126",
    "👍",
    "9",
    "ß",
    "Σ",
    "\u0344",
    "\u0f73",
]
SAMPLES = ["".join(np.random.default_rng(seed).choice(ALPHABET, size=60)) for seed in range(30)]
SAMPLES += ["e" + "\u0301" * 300 + " x", "word" * 200 + " end ", "", " ", "\u0301a", "ab  cd"]


@pytest.fixture(scope="module")
def subwords():
    return Subwords.learn(["the news of the new newspaper 日本 각 " * 20, "e\u0301te\u0301"], size=300)


def cut(content, rng):
    places = np.sort(rng.integers(0, len(content) + 1, size=rng.integers(0, 40)))
    return [content[a:b] for a, b in zip([0, *places], [*places, len(content)], strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_pieces_cut_anywhere_have_the_tokens_of_the_whole(seed, subwords):
    rng = np.random.default_rng(seed)
    for tokenizer in (Characters(), Characters(lower=True), Words(), Words(lower=True), Words(signs=False), subwords):
        for text in SAMPLES:
            whole = tokenizer.tokens(text)
            for content in (text, text.encode()):
                live, found = tokenizer.live(), []
                for at, piece in enumerate(cut(content, rng)):
                    found += live.push(piece)
                    assert sum(map(len, live.state()[:2])) <= LONGEST + MOST_MARKS + 1
                    if at % 7 == 0:  # whoever goes on from its state goes on as it does
                        other = tokenizer.live()
                        other.restore(live.state())
                        live = other
                assert found + live.pending() == whole
                assert found + live.end() == whole


def test_what_is_pending_is_what_the_text_so_far_ends_with():
    for tokenizer in (Characters(), Words()):
        for text in SAMPLES[:12]:
            live, found = tokenizer.live(), []
            for k, c in enumerate(text, 1):
                found += live.push(c)
                assert found + live.pending() == tokenizer.tokens(text[:k])


def test_normal_form_is_that_of_unicode():
    for text in SAMPLES[:-6]:
        assert normal(text) == unicodedata.normalize("NFC", text)
    assert normal("e" + "\u0301" * 1000).count("\u0301") == 999  # and of bounded memory where marks never end


def test_no_token_is_lost_but_blanks():
    for text in SAMPLES:
        assert "".join(Characters().tokens(text)) == normal(text)
        assert "".join(Words().tokens(text)) == "".join(normal(text).split())


def test_subwords_give_the_text_back_and_travel_as_json(subwords):
    again = Tokenizer.from_dict(json.loads(json.dumps(subwords.to_dict())))
    for text in SAMPLES[:20]:
        assert again.tokens(text) == subwords.tokens(text)
        assert subwords.join(subwords.tokens(text)) == normal(text)
    assert len(subwords.tokens("newspaper")) < 9
    with pytest.raises(SettingError, match="size=99"):
        Subwords.learn(["a"], 99)
    with pytest.raises(SettingError, match="tokens='lines', expected one of characters, words, subwords"):
        tokenizer_of("lines", [])


def test_a_process_without_subwords_does_not_need_the_library():
    code = "import sys; sys.modules['tokenizers'] = None; from recurra.data.text import *; print(Words().tokens('a b'))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "['a', 'b']\n"
    )


def test_bytes_that_are_no_text_change_nothing():
    arriving = Arriving()
    assert arriving.push(b"ab\xc3") == "a"
    for bad in (b"\xff", "x"):
        with pytest.raises(DataError, match=r"no UTF-8|expected its other bytes"):
            arriving.push(bad)
    with pytest.raises(DataError, match="1 bytes of a character"):
        arriving.end()
    assert arriving.push(b"\xa9") + arriving.end() == "bé"


def test_a_vocabulary_has_the_frequent_and_travels():
    learned = Vocabulary.learn(["c", "a", "b", "a", "b", "a"], min_count=2)
    assert learned.symbols[1:] == ("a", "b")
    assert learned.ids(["b", "c", "a", "\ufffd"]).tolist() == [2, 0, 1, 0]
    assert Vocabulary.from_dict(json.loads(json.dumps(learned.to_dict()))) == learned
    for bad in ({}, {"symbols": ["a", "a"]}, {"symbols": [1]}, {"symbols": ["\ufffd"]}, None):
        with pytest.raises(DataError, match="vocabulary"):
            Vocabulary.from_dict(bad)
    with pytest.raises(DataError, match="no symbol 3, expected 0 to 2"):
        learned.named([1, 3])


FEATURES = ("small", "prefix2", "suffix3", "shape", "pair")


def test_rows_one_at_a_time_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    words = ["Paris", "in", "the", "Spring", "of", "1999", "O'Neill", "unseen"]
    texts = [Tokens(str(i), tuple(rng.choice(words[:-1], size=30)), np.array(0.0), "", np.nan) for i in range(20)]
    learned = Symbols.learn(Words(), texts, FEATURES)
    learned = Symbols.from_dict(json.loads(json.dumps(learned.to_dict())))
    text = "Paris in  the unseen Spring of 1999"
    one = Tokens("", tuple(learned.tokenizer.tokens(text)), np.array(0.0), "", np.nan)
    whole = learned.rows(one, 0, 7)
    assert whole.dtype == np.float32
    assert (whole < learned.tables).all()
    assert [learned.vocabularies[0].named([k])[0] for k in whole[:, 0]] == [
        "paris",
        "in",
        "the",
        "\ufffd",
        "spring",
        "of",
        "1999",
    ]
    assert learned.vocabularies[4].named([whole[1, 4]]) == ["paris in"]
    assert (np.concatenate([learned.rows(one, 0, 4), learned.rows(one, 4, 7)]) == whole).all()
    live = learned.live()
    assert (np.stack([live.push(t) for t in one.tokens]) == whole).all()
    live, rows = learned.live(), []
    for piece in cut(text.encode(), rng):
        rows += live.typed(piece)
        state, live = live.state(), learned.live()
        live.restore(state)
    assert (np.stack([row for _, row in rows + live.pending()]) == whole).all()
    with pytest.raises(DataError, match="expected a token"):
        live.push(3.0)


def written(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_readers(tmp_path):
    expected = (["so good", "bad, really"], ["pos", "neg"])
    table = written(tmp_path, "a.csv", 'text,label\nso good,pos\n"bad, really",neg\n')
    tabs = written(tmp_path, "a.tsv", "review\tlabel\nso good\tpos\nbad, really\tneg\n")
    lines = written(
        tmp_path, "a.jsonl", '{"text": "so good", "label": "pos"}\n\n{"text": "bad, really", "label": "neg"}'
    )
    for path in (table, tabs, lines):
        found = read_texts(path, "label")
        assert (found.texts, found.y) == expected
    for i, (text, label) in enumerate(zip(*expected, strict=True)):
        (tmp_path / "films" / label).mkdir(parents=True)
        written(tmp_path / "films" / label, f"{i}.txt", text)
    found = read_texts(tmp_path / "films")
    assert sorted(zip(found.texts, found.y, strict=True)) == sorted(zip(*expected, strict=True))
    assert read_texts(written(tmp_path, "l.txt", "one\n\ntwo\n")).texts == ["one", "two"]


def test_readers_of_tags(tmp_path):
    words, tags = [["Paris", "sleeps"], ["ok"]], [["B-LOC", "O"], ["O"]]
    conll = "-DOCSTART- -X- O\n\nParis NNP B-LOC\nsleeps VBZ O\n\nok UH O\n"
    universal = (
        "# sent_id = 1\n1-2\tParis's\t_\t_\t_\t_\t_\t_\t_\t_\n1\tParis\tp\tPROPN\tB-LOC\t_\t0\t_\t_\t_\n"
        "2\tsleeps\ts\tVERB\tO\t_\t0\t_\t_\t_\n\n1\tok\tok\tINTJ\tO\t_\t0\t_\t_\t_\n"
    )
    lines = '{"tokens": ["Paris", "sleeps"], "tags": ["B-LOC", "O"]}\n{"tokens": ["ok"], "tags": ["O"]}\n'
    table = "tokens,tags\nParis sleeps,B-LOC O\nok,O\n"
    for name, text, y in (
        ("a.conll", conll, None),
        ("b.txt", conll, None),
        ("a.conllu", universal, "XPOS"),
        ("a.jsonl", lines, "tags"),
        ("a.csv", table, None),
    ):
        found = read_texts(written(tmp_path, name, text), y, tagged=True)
        assert (found.texts, found.y) == (words, tags), name
    assert read_texts(tmp_path / "a.conllu", tagged=True).y == [["PROPN", "VERB"], ["INTJ"]]


def test_what_cannot_be_read_is_said(tmp_path):
    for name, text, message in (
        ("e.csv", "", "e.csv: the file is empty"),
        ("e.jsonl", '{"text": "a"}\n{oops', "e.jsonl, line 2: no JSON"),
        ("b.csv", b"text,y\ngood,1\nb\xffd,0\n", "b.csv, line 3: byte 0xff is no UTF-8"),
        ("h.csv", "text,y\ngood,1\n,0\n", "h.csv, line 3: 'text' is empty"),
        ("c.conll", "Paris B\nsleeps\n", "c.conll, line 2: it has 1 columns, expected 2"),
        ("n.csv", "a,b\n1,2\n", "no column of texts is named"),
    ):
        with pytest.raises(DataError, match=message):
            read_texts(written(tmp_path, name, text))
    with pytest.raises(DataError, match="y: got 1 for 2 texts"):
        read_texts(["a", "b"], ["x"])
    with pytest.raises(DataError, match="number 1 is '3'"):
        read_texts(["a", 3])
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="there is no file in the folder"):
        read_texts(tmp_path / "none")
    assert not are_texts([[1.0], [2.0]])
    assert not are_texts("text")
