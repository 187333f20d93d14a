"""Pages: every kind of part is there, words are text whatever is in them, and charts are the page's own."""

from __future__ import annotations

import html
import re
from typing import get_args

import pytest

from recurra.draw.themes import PAGE
from recurra.errors import MissingExtraError
from recurra.report import page as pages
from recurra.report.charts import Line, against, bars, histogram, lines
from recurra.report.page import Beside, Chart, Code, Pictures, Points, Section, Shown, Styled, Table, Text, render

EVIL = '<b onclick="x">&'
PARTS = {
    "text": Text([EVIL, Styled(EVIL, "code")]),
    "points": Points([EVIL, [Styled(EVIL, "strong"), EVIL]]),
    "code": Code(f"if a < b:\n    {EVIL}"),
    "table": Table(["", EVIL], [[EVIL, 1], ["other", EVIL]], best=EVIL),
    "chart": Chart("<svg><path/></svg>", EVIL),
    "pictures": Pictures([Shown(EVIL, "", EVIL, [EVIL], [(EVIL, "")])]),
    "beside": Beside([Text(EVIL)]),
}


@pytest.mark.parametrize("kind", PARTS)
def test_words_are_text(kind: str) -> None:
    page = render(EVIL, [Section(EVIL, [PARTS[kind]])], [EVIL])
    assert EVIL not in page
    body = page.partition("<section>")[2]
    assert len(re.findall(re.escape(html.escape(EVIL).replace("&quot;", "&#34;")), body)) > 1, "the part is not there"


def test_every_kind_of_part_is_tried_above() -> None:
    # The alias is text, so that a part may hold parts.
    named = (
        {name.strip() for name in pages.Part.split("|")} if isinstance(pages.Part, str) else set(get_args(pages.Part))
    )
    assert {type(part).__name__ for part in PARTS.values()} == named


def test_the_best_row_stands_out_and_an_unbroken_cell_does_not_break() -> None:
    page = render("t", [Section("s", [Table(["", "MAE"], [["a b", "-1.5"], ["c", "2"]], best="a b", unbroken=True)])])
    assert page.count('<tr class="best">') == 1
    assert re.search(r'<tr class="best">\s*<td>a\u00a0b</td><td>\u20111.5</td>', page)


def test_charts_follow_the_theme_and_keep_their_ids_apart() -> None:
    drawn = [
        lines("", [Line("one", [1, 2], [3.0, 4.0]), Line("two", [1, 2], [4.0, 3.0], "second")], x="x", y="y", log=True),
        bars("", ["a", "b"], {"one": [1, 2], "two": [2, 1]}, x="x", y="y"),
        histogram("", [-1, 0, 1], [3, 4], x="x", y="y"),
        against("", [1.0, 2.0], [1.5, 1.8], x="x", y="y"),
    ]
    page = render("t", [Section("s", drawn)])
    inside = "".join(chart.svg for chart in drawn)
    assert not re.findall(r"#[0-9a-f]{6}\b", inside)
    assert {"var(--accent)", "var(--second)", "var(--ink)", "var(--muted)"} <= set(re.findall(r"var\(--\w+\)", inside))
    ids = re.findall(r'\bid="([^"]+)"', inside)
    assert len(ids) == len(set(ids)) > 20
    assert all(f"--{name}: {light};" in page and f"--{name}: {dark};" in page for name, (light, dark) in PAGE.items())
    assert page == render("t", [Section("s", drawn)])


def test_without_jinja2_the_pip_line_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    pages._templates.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"Jinja2.*recurra\[draw\]"):
        render("t", [])
    pages._templates.cache_clear()


def test_a_table_whose_words_stay_whole_may_be_broader_than_the_text() -> None:
    rows = [["a", "1 b"]]
    assert 'class="wide broad"' in render("t", [Section("s", [Table(["", "x"], rows, unbroken=True)])])
    assert 'class="wide broad"' not in render("t", [Section("s", [Table(["", "x"], rows)])])
