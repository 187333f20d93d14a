"""The demos of what writes: dates in digits, which are made here, and Python's own documentation in a line."""

from __future__ import annotations

import ast
import datetime
import os
import re
import sysconfig
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from recurra.demos.written import written
from recurra.terminal import Terminal

DATES = 6_000
SHOWN, WRONG = 5, 3  # texts, chosen by chance: of all, and of those that are wrong
READ, LINE = 48, (3, 14)  # tokens of a text that are read, and of its line
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
}
_FORMS = {
    "en": ("{month} {day}, {year}", "{day} {short} {year}", "the {day}{th} of {month} {year}", "{short} {day} '{two}"),
    "de": ("{day}. {month} {year}", "am {day}. {short}. {two}"),
    "fr": ("le {day} {month} {year}", "{day} {short}. {year}"),
    "es": ("{day} de {month} de {year}", "el {day} de {month} del {two}"),
    "it": ("{day} {month} {year}", "il {day} {short} '{two}"),
}


def dates(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Days from 1950 to 2049 as people write them in five languages, and in digits, as ISO 8601 has them."""
    rng = np.random.default_rng(seed)
    said, digits = [], []
    for _ in range(count):
        day = datetime.date(1950, 1, 1) + datetime.timedelta(int(rng.integers(36_500)))
        language = list(_MONTHS)[int(rng.integers(len(_MONTHS)))]
        month = _MONTHS[language].split()[day.month - 1]
        ending = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day // 10 != 1 else 0, "th")
        form = _FORMS[language][int(rng.integers(len(_FORMS[language])))]
        parts = {"month": month, "short": month[:3], "day": day.day, "th": ending, "year": day.year}
        said.append(form.format(**parts, two=f"{day.year % 100:02}"))
        digits.append(day.isoformat())
    return said, digits


def documentation(most: int | None = None) -> tuple[list[str], list[str], list[str]]:
    """What follows the first line in the documentation of Python's standard library; that line; and the module.

    Args:
        most: so many at most; None: all.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(root.glob("*.py")) + sorted(root.glob("*/*.py"))
    found = islice((row for path in files for row in _documented(path)), most)
    texts, lines, modules = zip(*found, strict=True)
    return list(texts), list(lines), list(modules)


def _documented(path: Path) -> Iterator[tuple[str, str, str]]:
    if path.parent.name in ("site-packages", "test", "idlelib"):
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            continue
        line, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
        words, line = _words(rest)[:READ], " ".join(_words(line))
        if LINE[0] <= len(line.split()) <= LINE[1] and len(words) >= 2 * LINE[0]:
            yield " ".join(words), line, path.stem


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def run_translate_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, count: int = DATES, epochs: int = 14
) -> dict[str, Any]:
    """Learn to write dates in digits, letter by letter, and write some, live.

    Args:
        folder: for the model file and the report; made if it is not there.
        seed: of the data, the weights and of training.
        count: dates that are made.
        epochs: of training.
    """
    from recurra.tasks.translation.translator import Translator

    console = Terminal()
    said, digits = dates(count, seed)
    console.print(f"[bold]1[/]  {count:,} dates as people write them in five languages, such as {said[0]!r}.")
    model = Translator(
        hidden=96, epochs=epochs, batch=32, seed=seed, refit=False, reading={"tokens": "characters", "embedding": 48}
    ).fit(said, digits)
    fresh = dates(min(count, 1_000), seed + 1_000_003)
    return _shown(console, model, Path(folder), "dates that were made", *fresh)


def run_summarize_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, epochs: int = 12, most: int | None = None
) -> dict[str, Any]:
    """Learn to write the first line of a text of Python's documentation, and write some, live.

    Args:
        folder: for the model file and the report; made if it is not there.
        seed: of the split, the weights and of training.
        epochs: of training.
        most: texts; None: all.
    """
    from recurra.tasks.translation.translator import Summarizer

    console = Terminal()
    texts, lines, modules = documentation(most)
    console.print(f"[bold]1[/]  {len(texts):,} texts of Python's documentation, whose first line is taken away.")
    console.print("   No module is in two parts; what a name stands for must be copied.")
    model = Summarizer(
        hidden=96, epochs=epochs, batch=32, seed=seed, refit=False, reading={"embedding": 64, "min_count": 3}
    ).fit(texts, lines, modules)
    at = np.random.default_rng(seed).permutation(len(texts))
    held = [i for i in at if modules[i] in _tested(modules, seed)] or list(at)
    texts, lines = [texts[i] for i in held], [lines[i] for i in held]
    return _shown(console, model, Path(folder), "Python's documentation", texts, lines)


def _tested(modules: Sequence[str], seed: int) -> set[str]:
    """The modules of the test part."""
    from recurra.data.split import split_sequences

    splits = split_sequences([1] * len(modules), (0.70, 0.15, 0.15), groups=list(modules), seed=seed)
    return {m for m, split in zip(modules, splits, strict=True) if split.part("test")[0] < split.part("test")[1]}


def _shown(
    console: Terminal, model: Any, place: Path, source: str, texts: Sequence[str], wanted: Sequence[str]
) -> dict[str, Any]:
    """The table, the files, and what is written for some texts: good and bad, as chance has it."""
    from recurra.tasks.estimator import open_model

    place.mkdir(parents=True, exist_ok=True)
    file = written(model, place, model.task.name, source, console)
    again = open_model(file)
    some = [str(text) for text in texts[:500]]
    began = time.perf_counter()
    found = again.predict(some)
    took = time.perf_counter() - began
    right = [bool(a == b) for a, b in zip(found, wanted, strict=False)]
    rate, wrong = len(some) / took, [i for i, good in enumerate(right) if not good]
    exact = again.task.name == "translate"  # of a summary there is not one that is right
    console.print(
        f"[bold]4[/]  {f'Of {len(some)} others {np.mean(right):.1%} are right; ' * exact}{rate:,.0f} a second."
    )
    for words, chosen in (("By chance:", range(SHOWN)), ("Some that are wrong:", wrong[: WRONG * exact])):
        console.print(f"   {words}" * bool(chosen))
        for i in chosen:
            said = "[green]right[/]" if right[i] else f"{'[red]wrong[/], it is' if exact else 'for'} {wanted[i]!r}"
            console.print(f"   {some[i][:70]!r} -> {found[i]!r}  {said}", highlight=False)
    if not exact:
        console.print("   So few texts teach the form of a summary, and hardly its words: bring many more of your own.")
    said = again.live().step({"text": some[0], "end": True})["text"]
    console.print(f"   Live, the first one again: {'the same' if said == found[0] else 'another'}, to the last bit.")
    return dict(model.report_)
