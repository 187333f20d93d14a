"""Texts with their labels or tags from whatever holds them: lists, JSON Lines, tables, CoNLL files, folders."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recurra.data.readers import parse_csv
from recurra.data.table import Table, as_table, nearest
from recurra.data.text.normal import decoded
from recurra.errors import DataError

TEXT_COLUMNS = ("text", "sentence", "review", "utterance", "title", "content", "body", "query")  # found by name
TAG_COLUMNS = ("tags", "labels", "slots", "ner_tags", "pos_tags")
TOKEN_COLUMNS = ("tokens", "words")
CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
CONLL_ENDINGS = (".conll", ".conllu", ".iob", ".iob2", ".bio")
ENDINGS = (*JSON_ENDINGS, *CONLL_ENDINGS, ".txt")  # of files that are read here even where no column is named


@dataclass(frozen=True)
class Texts:
    """What was read: a text (a string) or its tokens (a list of strings) each, with what was given with it.

    Attributes:
        texts: of each, in Unicode's form as it was written.
        y: what belongs to each: a label, or a list of tags; None where nothing was given.
        names: of each, as a file or its number.
        groups: what each was taken from; None where nothing was given.
        times: when each was written; None where nothing was given.
        column: of the texts, where it was a table; and of y.
    """

    texts: list[str | list[str]]
    y: list[Any] | None = None
    names: list[str] | None = None
    groups: list[str] | None = None
    times: list[Any] | None = None
    column: str | None = None
    target: str | None = None

    def __len__(self) -> int:
        return len(self.texts)


def are_texts(X: Any) -> bool:
    """Whether X is a list (or a column) of strings, or of lists of strings.

    >>> are_texts(["good", "bad"]), are_texts([["a", "word"]]), are_texts([[1.0, 2.0]])
    (True, True, False)
    """
    if isinstance(X, (str, bytes, Path, Mapping, Table)) or hasattr(type(X), "columns") or not hasattr(X, "__len__"):
        return False
    if isinstance(X, np.ndarray) and (X.ndim != 1 or X.dtype.kind not in "OU"):
        return False
    first = next(iter(X), None)
    if isinstance(first, (str, bytes)):
        return True
    return len(X) > 0 and all(isinstance(t, (list, tuple)) and all(isinstance(w, str) for w in t) for t in X)


def read_texts(
    X: Any,
    y: Any = None,
    *,
    text: str | None = None,
    groups: Any = None,
    times: Any = None,
    tagged: bool = False,
) -> Texts:
    """Texts from whatever holds them.

    Args:
        X: a list of strings, or of lists of tokens; a table (a frame, a dict of columns, CSV or TSV with a header);
            JSON Lines, an object a line; a CoNLL file (a token a line, tags in the last column, a blank line after each
            sentence; of CoNLL-U the column FORM); or a folder, whose folders are the labels of the files in them.
        y: what belongs to each text; or the name of its column (of CoNLL-U, one of its columns, such as UPOS).
        text: the column of the texts, or of lists of tokens; found by its name where it is one of the usual ones.
        groups, times: of each, or the names of columns.
        tagged: whether each text has a list of tags, one for each of its tokens.

    Raises:
        DataError: there are none, one has no text, or y is of another length; the message says which.
        OSError: a file cannot be read.

    >>> read_texts({"review": ["good", "bad"], "stars": [5, 1]}, "stars").texts
    ['good', 'bad']
    """
    if isinstance(X, (str, os.PathLike)):
        found = _of_path(Path(X), y, text, groups, times, tagged)
    elif isinstance(X, (Mapping, Table)) or hasattr(type(X), "columns"):
        found = _of_table(as_table(X), y, text, groups, times, tagged)
    else:
        found = _of_list(X, y, groups, times)
    if not len(found):
        raise DataError("texts: there are none, expected at least one")
    return found


def _of_list(X: Any, y: Any, groups: Any, times: Any) -> Texts:
    try:
        given = list(X)
    except TypeError:
        raise DataError(f"texts: got a {type(X).__name__}, expected a list of strings, or of lists of tokens") from None
    texts = [_checked(i, one) for i, one in enumerate(given)]
    kept = {name: _values(name, v, len(texts)) for name, v in (("y", y), ("groups", groups), ("times", times))}
    names = None if kept["groups"] is None else [str(g) for g in kept["groups"]]
    return Texts(texts, kept["y"], None, names, kept["times"])


def _checked(i: int, one: Any) -> str | list[str]:
    """One text as a string or a list of tokens."""
    if isinstance(one, bytes):
        return decoded(one, f"texts, number {i}")
    if isinstance(one, str):
        return str(one)
    if isinstance(one, (list, tuple, np.ndarray)) and all(isinstance(t, str) for t in one):
        return [str(t) for t in one]
    shown = str(one)[:40]
    raise DataError(f"texts: number {i} is {shown!r}, expected a string, or a list of tokens: leave it out")


def _values(what: str, values: Any, count: int) -> list[Any] | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise DataError(f"{what}: got the text {values[:40]!r}, expected {count} values, one for each text")
    found = list(values.tolist() if isinstance(values, np.ndarray) and values.dtype != object else values)
    if len(found) != count:
        raise DataError(f"{what}: got {len(found)} for {count} texts, expected one for each")
    return found


def _of_path(path: Path, y: Any, text: str | None, groups: Any, times: Any, tagged: bool) -> Texts:
    if path.is_dir():
        return _of_folder(path)
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path.name}: the file is empty, expected texts")
    ending = path.suffix.lower()
    if ending in JSON_ENDINGS:
        table = json_lines(content, path.name)
        return _of_table(table, y, text, groups, times, tagged)
    if ending == ".txt" and not tagged:
        lines = decoded(content, path.name).splitlines()
        return _of_list([line for line in lines if line.strip()], y, groups, times)
    if ending in CONLL_ENDINGS or (tagged and not _has_header(content)):
        return _of_conll(content, path.name, y if isinstance(y, str) else None)
    if path.suffix.lower() in (".parquet", ".pq"):
        from recurra.data.readers import read_table

        return _of_table(read_table(path), y, text, groups, times, tagged)
    decoded(content, path.name)  # says which line is no UTF-8
    return _of_table(parse_csv(content, path.name, fast=False), y, text, groups, times, tagged)


def _has_header(content: bytes) -> bool:
    """Whether the first line names a column of tokens or tags."""
    first = content.split(b"\n", 1)[0].decode("utf-8-sig", "replace").lower()
    return any(
        name in first.replace('"', "").strip().replace(";", ",").replace("\t", ",").split(",")
        for name in (*TOKEN_COLUMNS, *TEXT_COLUMNS)
    )


def _of_folder(path: Path) -> Texts:
    """A file a text; the folders in it are labels."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    if not files:
        raise DataError(f"{path}: there is no file in the folder, expected texts")
    inner = [p.relative_to(path).parts for p in files]
    labels = None if any(len(parts) < 2 for parts in inner) else [parts[0] for parts in inner]
    texts: list[str | list[str]] = [decoded(p.read_bytes(), str(p.relative_to(path))) for p in files]
    return Texts(texts, labels, ["/".join(parts) for parts in inner])


def json_lines(content: bytes, source: str) -> Table:
    """Objects, one a line; or one list of them."""
    text = decoded(content, source)
    rows: list[Any] = []
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{source}: no JSON ({error}), expected a list of objects, or an object a line") from None
        lines = list(range(1, len(rows) + 1))
    else:
        lines = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{source}, line {number}: no JSON ({error}), expected an object") from None
                lines.append(number)
    odd = next((k for k, row in enumerate(rows) if not isinstance(row, dict)), None)
    if odd is not None:
        raise DataError(f"{source}, line {lines[odd]}: {str(rows[odd])[:40]!r}, expected an object such as {{...}}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        column = np.empty(len(rows), object)
        column[:] = [row.get(name) for row in rows]
        columns[name] = column
    return Table(columns, source, np.array(lines, np.int64))


def _of_table(table: Table, y: Any, text: str | None, groups: Any, times: Any, tagged: bool) -> Texts:
    usual = (*TOKEN_COLUMNS, *TEXT_COLUMNS) if tagged else (*TEXT_COLUMNS, *TOKEN_COLUMNS)
    column = text or next((name for name in usual if name in table.columns), None)
    if column is None:
        raise DataError(
            f"{table.source}: no column of texts is named, expected one of {', '.join(list(table.columns)[:12])}: "
            "give text"
        )
    texts: list[str | list[str]] = []
    for row, cell in enumerate(table.column(column, "column of texts")):
        if cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip()):
            raise DataError(f"{table.where(row)}: {column!r} is empty, expected a text: leave the row out")
        texts.append(_cell(table, row, column, cell, tagged))
    if y is None and tagged:
        y = next((name for name in TAG_COLUMNS if name in table.columns), None)
    kept: dict[str, list[Any] | None] = {}
    for role, given in (("y", y), ("groups", groups), ("times", times)):
        kept[role] = list(table.column(given, role)) if isinstance(given, str) else _values(role, given, len(texts))
    if tagged and isinstance(y, str) and kept["y"] is not None:
        kept["y"] = [_cell(table, row, y, cell, True) for row, cell in enumerate(kept["y"])]
    names = None if kept["groups"] is None else [str(g) for g in kept["groups"]]
    target = y if isinstance(y, str) else None
    return Texts(texts, kept["y"], None, names, kept["times"], column, target)


def _cell(table: Table, row: int, column: str, cell: Any, split: bool) -> str | list[str]:
    if isinstance(cell, str):
        return cell.split() if split else cell
    if isinstance(cell, (list, tuple, np.ndarray)) and all(isinstance(t, str) for t in cell):
        return [str(t) for t in cell]
    raise DataError(f"{table.where(row)}: {column!r} is {str(cell)[:40]!r}, expected a text, or a list of tokens")


def _of_conll(content: bytes, source: str, column: str | None) -> Texts:
    """A token a line, columns between tabs or blanks, the tag in the last one (or the named one of CoNLL-U)."""
    lines = decoded(content, source).split("\n")
    ten = any(line.count("\t") == len(CONLLU) - 1 for line in lines[:200])
    if column is not None and not (ten and column.upper() in CONLLU):
        known = ", ".join(CONLLU) if ten else "the last column"
        raise DataError(f"{source}: there is no column {column!r} of tags; {nearest(column, CONLLU) if ten else known}")
    token, tag = (1, CONLLU.index((column or "UPOS").upper())) if ten else (0, -1)
    texts: list[str | list[str]] = []
    tags: list[list[str]] = []
    width, words, marks = 0, list[str](), list[str]()
    for number, line in enumerate([*lines, ""], 1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                texts.append(words)
                tags.append(marks)
            words, marks = [], []
            continue
        if line.startswith("#") and (ten or "\t" not in line) and not words:
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if ten and ("-" in cells[0] or "." in cells[0]):  # several words in one, and words that are not written
            continue
        width = width or len(cells)
        if len(cells) != width or width < 2:
            raise DataError(
                f"{source}, line {number}: it has {len(cells)} columns, expected {max(width, 2)}: a token and its tag"
            )
        words.append(cells[token])
        marks.append(cells[tag])
    return Texts(texts, tags)


def without_targets(found: Texts) -> Texts:
    """The same with nothing but the texts."""
    return replace(found, y=None)
