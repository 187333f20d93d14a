"""Images with their captions, from whatever names both: a folder, a file of captions, a table, lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurra.data.images.picture import SUFFIXES, is_image
from recurra.data.readers import parse_csv, read_table
from recurra.data.table import Table, as_table
from recurra.data.text.normal import decoded
from recurra.data.text.reading import JSON_ENDINGS, json_lines, read_texts
from recurra.errors import DataError

IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "image_name", "path", "picture", "features")  # by name
CAPTION_COLUMNS = ("caption", "captions", "text", "sentence", "comment", "description", "name")
TABLES = (".txt", ".csv", ".tsv", ".parquet", *JSON_ENDINGS)
KINDS = (*SUFFIXES, ".npy")
_FLICKR = re.compile(r"(?P<image>[^\t]+?)#\d+\t(?P<caption>.*)")  # name.jpg#0<TAB>caption


@dataclass(frozen=True, eq=False)
class Captioned:
    """An image, and what is to be said of it.

    Attributes:
        name: of its file, or its number.
        source: what `read_picture` takes; or features, a path of a `.npy` file or floats [M, C] or [C].
        captions: texts, or lists of tokens; none where they are not known.
        group: what it was taken from; None where nothing was said.
    """

    name: str
    source: Any
    captions: tuple[Any, ...] = ()
    group: str | None = None


def read_captioned(
    X: Any, y: Any = None, *, image: str | None = None, groups: Any = None, features: str | None = None
) -> list[Captioned]:
    """The images that X names, in its order, each with all its captions.

    Args:
        X: a folder with images and a file of captions, or with images alone; such a file: as Flickr8k has it, a line
            `name.jpg#0<TAB>caption`, or CSV, TSV, Parquet or JSON Lines with a column of images and one of captions; a
            frame or a dict of columns; an image; or a list of paths, arrays, images of Pillow's or features.
        y: the captions of each, a text or a list of texts; of a table, the name of their column.
        image: the column of images.
        groups: what each was taken from, or the name of a column.
        features: a folder that has a file `name.npy` for each image `name.jpg`, taken in its place.

    Raises:
        DataError: there are none, one that is named is not there, or a caption is empty; the message says which.
        OSError: a file cannot be read.
    """
    if isinstance(X, (str, os.PathLike)):
        path = Path(X)
        X = _in_folder(path) if path.is_dir() else path
        X = [X] if isinstance(X, Path) and X.suffix.lower() in KINDS else X
    folders = _folders(X.parent) if isinstance(X, Path) else [Path()]
    if isinstance(X, (Path, Mapping, Table)) or hasattr(type(X), "columns"):
        found = _of_table(X, y, image, groups)
    else:
        found = _of_list(X, y, groups)
    if not found:
        raise DataError("images: there are none, expected at least one")
    return [_located(one, folders, features) for one in found]


def _in_folder(folder: Path) -> Any:
    """The file of captions in a folder; or, where there is none, its images."""
    tables = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in TABLES and p.is_file()]
    usual = [p for p in tables if "caption" in p.name.lower() or "token" in p.name.lower()]
    tables = usual or tables
    if len(tables) > 1:
        names = ", ".join(p.name for p in tables[:6])
        raise DataError(f"{folder}: which file has the captions, {names}? give its path in place of the folder's")
    images = tables or sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())
    if not images:
        raise DataError(f"{folder}: there is no image and no file of captions in this folder, expected some")
    return tables[0] if tables else images


def _of_table(X: Any, y: Any, image: str | None, groups: Any) -> list[Captioned]:
    """An image a row, or several rows with one image."""
    if isinstance(X, Path):
        if not X.is_file():
            raise DataError(f"{X}: there is no such file, expected an image, a folder, or a file of captions")
        lines = _flickr(X) if X.suffix.lower() in (".txt", ".token") else None
        if lines is not None:
            return _gathered(lines)
        if X.suffix.lower() == ".txt":
            X = parse_csv(X.read_bytes(), X.name, fast=False)
    table = _table_of(X)
    column = image or _named(table, IMAGE_COLUMNS, "images", "image")
    target = y if y is not None else next((name for name in CAPTION_COLUMNS if name in table.columns), None)
    texts = read_texts(table, target, text=column, groups=groups)
    captions: list[Any] = [None] * len(texts) if texts.y is None else texts.y
    groups = texts.groups or [None] * len(texts)
    rows = zip(range(len(texts)), texts.texts, captions, groups, strict=True)
    return _gathered((table.where(row), str(name), caption, group) for row, name, caption, group in rows)


def _table_of(X: Any) -> Table:
    """A file or a frame as a table; of JSON Lines too, where a cell may be a list."""
    if isinstance(X, Path):
        return json_lines(X.read_bytes(), X.name) if X.suffix.lower() in JSON_ENDINGS else read_table(X)
    return as_table(X)


def _named(table: Table, usual: Sequence[str], what: str, role: str) -> str:
    found = next((name for name in usual if name in table.columns), None)
    if found is None:
        known = ", ".join(list(table.columns)[:12])
        raise DataError(f"{table.source}: no column of {what} is named, expected one of {known}: give {role}")
    return found


def _flickr(path: Path) -> list[tuple[str, str, Any, str | None]] | None:
    """The lines `name.jpg#0<TAB>caption`; None where the first line is no such thing."""
    found: list[tuple[str, str, Any, str | None]] = []
    for number, line in enumerate(decoded(path.read_bytes(), path.name).splitlines(), 1):
        if not line.strip():
            continue
        parts = _FLICKR.fullmatch(line)
        if parts is None:
            if not found:
                return None
            raise DataError(f"{path.name}, line {number}: {line[:60]!r}, expected name.jpg#0, a tab, and a caption")
        found.append((f"{path.name}, line {number}", parts["image"], parts["caption"], None))
    return found or None


def _gathered(rows: Iterable[tuple[str, str, Any, str | None]]) -> list[Captioned]:
    """One for each image, in the order in which they come first."""
    found: dict[str, list[Any]] = {}
    groups: dict[str, str | None] = {}
    for where, name, caption, group in rows:
        found.setdefault(name, []).extend(() if caption is None else _captions(caption, where))
        groups.setdefault(name, group)
    return [Captioned(name, name, tuple(captions), groups[name]) for name, captions in found.items()]


def _of_list(X: Any, y: Any, groups: Any) -> list[Captioned]:
    try:
        given = list(X)
    except TypeError:
        raise DataError(f"images: got a {type(X).__name__}, expected a list of paths or arrays, or a folder") from None
    kept: dict[str, list[Any]] = {}
    for what, values in (("y", y), ("groups", groups)):
        if isinstance(values, str) or (values is not None and len(values) != len(given)):
            got = f"the text {values[:40]!r}" if isinstance(values, str) else f"{len(values)} values"
            raise DataError(f"{what}: got {got} for {len(given)} images, expected one for each")
        kept[what] = [None] * len(given) if values is None else list(values)
    found = []
    for i, (one, caption, group) in enumerate(zip(given, kept["y"], kept["groups"], strict=True)):
        name = str(one) if isinstance(one, (str, os.PathLike)) else str(i)
        captions = () if caption is None else tuple(_captions(caption, f"y: number {i}"))
        found.append(Captioned(name, one, captions, None if group is None else str(group)))
    return found


def _captions(given: Any, where: str) -> list[Any]:
    """One or several captions, each a text or a list of tokens.

    >>> _captions("a dog", ""), _captions(["a dog", "it runs"], ""), _captions([["a", "dog"]], "")
    (['a dog'], ['a dog', 'it runs'], [['a', 'dog']])
    """
    several = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
    for one in several:
        tokens = isinstance(one, (list, tuple)) and all(isinstance(t, str) for t in one)
        if not (isinstance(one, str) or tokens):
            raise DataError(f"{where}: the caption is {str(one)[:40]!r}, expected a text, or a list of texts")
        if not (one.strip() if isinstance(one, str) else one):
            raise DataError(f"{where}: the caption is empty: leave the row out")
    if not several:
        raise DataError(f"{where}: there is no caption: leave the row out")
    return several


def _folders(beside: Path) -> list[Path]:
    """Where the images of a file may be: beside it, or in one of the folders there."""
    return [beside, *sorted(p for p in beside.iterdir() if p.is_dir())] if beside.is_dir() else [beside]


def _located(one: Captioned, folders: Sequence[Path], features: str | None) -> Captioned:
    """With a path that is there in place of a name."""
    if not isinstance(one.source, (str, os.PathLike)):
        return one
    given = Path(one.source)
    if features is not None and given.suffix.lower() != ".npy":
        given, folders = Path(f"{given.stem}.npy"), [Path(features)]
    path = next((folder / given for folder in folders if os.path.isfile(folder / given)), None)  # of any length
    if path is None:
        told = "" if given.is_absolute() else " in " + ", ".join(str(folder) for folder in folders[:4])
        raise DataError(f"images: there is no file {str(given)!r}{told}: correct the name, or leave it out")
    if path.suffix.lower() != ".npy" and not is_image(path):
        raise DataError(f"{path}: got a file {path.suffix or 'without an ending'}, expected one of {', '.join(KINDS)}")
    return Captioned(one.name, path, one.captions, one.group)
