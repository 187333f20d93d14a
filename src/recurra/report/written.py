"""Texts that a network wrote: beside what was wanted, and where it looked as it wrote each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recurra.report.page import Part, Table, Text

SHOWN = 3  # examples of which the attention is shown
WIDEST = 14  # tokens that fit a page beside one another


def written(one: Mapping[str, Any]) -> list[Part]:
    """Examples chosen by chance, some that have an error, and of the short ones what each token looked at."""
    examples = one["examples"]
    right = sum(list(e["written"]) == list(e["wanted"]) for e in examples)
    found: list[Part] = [
        Text(f"Chosen by chance from the test part; {right} of these {len(examples)} have no error."),
        _table(examples),
    ]
    if one.get("wrong"):
        found += [Text("Others that have an error:"), _table(one["wrong"])]
    short = [e for e in examples if e["looked"] and len(e["read"]) <= WIDEST][:SHOWN]
    if short:
        found.append(Text("What each token that was written looked at, of what was read, in per cent:"))
    for e in short:
        rows = [
            [token, *(f"{100 * share:.0f}" if share >= 0.005 else "" for share in row)]
            for token, row in zip(e["written"], e["looked"], strict=True)
        ]
        found.append(
            Table(["", *e["read"]], rows, unbroken=True, shades=[[0.75 * s for s in row] for row in e["looked"]])
        )
    return found


def _table(examples: Sequence[Mapping[str, Any]]) -> Table:
    sides = ("read", "wanted", "written")
    return Table([*sides], [[_text(e[side]) for side in sides] for e in examples], texts=True)


def _text(tokens: Sequence[str]) -> str:
    return " ".join(tokens)
