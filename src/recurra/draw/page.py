"""One self-contained HTML page: text, tables and charts that follow the reader's light or dark theme, on a phone too.

Charts are Matplotlib figures turned into inline SVG. They are drawn in `COLOURS`, and each of those becomes a variable
of the page's style, so one picture serves both themes; their text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from recurra.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What to draw a chart with, and what it is in the light and in the dark theme. Only these follow the theme.
INK = {
    "ink": ("#1b1f2a", "#e8eaf0"),
    "muted": ("#667085", "#98a2b3"),
    "line": ("#d9dde5", "#363c4a"),
    "paper": ("#fffffe", "#15181f"),
    "accent": ("#0b6e99", "#4cc2f1"),
    "second": ("#c2571a", "#f59e5b"),
    "third": ("#5b7f2b", "#a3cf62"),
    "fourth": ("#8a4fa3", "#d19be8"),
}
COLOURS = {name: light for name, (light, _) in INK.items()}

_STYLE = """
:root { color-scheme: light dark; %(light)s }
@media (prefers-color-scheme: dark) { :root { %(dark)s } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 54rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .6rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p { margin: .6rem 0; } .summary { font-size: 1.08rem; } .muted, figcaption { color: var(--muted); font-size: .9rem; }
figure { margin: .8rem 0; } figure svg { width: 100%%; height: auto; display: block; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%%, 21rem), 1fr)); gap: .4rem 1.4rem; }
.wide { overflow-x: auto; } .wide > svg { min-width: 38rem; }
table { border-collapse: collapse; width: 100%%; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 700; color: var(--accent); }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 6px; font-size: .86rem; }
code { font-family: ui-monospace, monospace; }
"""


def page(title: str, sections: Iterable[tuple[str, str]], summary: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        sections: (heading, HTML) pairs, from the top; a heading is plain text.
        summary: HTML below the title: what a reader who stops here should know.

    >>> "<h2>Data</h2>" in page("A report", [("Data", "<p>17,520 rows</p>")])
    True
    """
    light, dark = (" ".join(f"--{name}: {pair[theme]};" for name, pair in INK.items()) for theme in (0, 1))
    body = "".join(f"<section><h2>{escape(heading)}</h2>{html}</section>\n" for heading, html in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE % {'light': light, 'dark': dark}}</style></head>\n"
        f'<body><h1>{escape(title)}</h1><div class="summary">{summary}</div>\n{body}</body></html>\n'
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], best: str | None = None) -> str:
    """An HTML table: the first column is text, the others are numbers; the row whose first cell is `best` stands out.

    >>> table(["name", "MAE"], [["GRU", 0.2]], best="GRU").count("<td>")
    2
    """
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    lines = []
    for row in rows:
        kind = ' class="best"' if best is not None and row[0] == best else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def axes(width: float = 4.7, height: float = 2.5, **labels: str) -> tuple[Figure, Any]:
    """A figure of one chart in the house's style and its axes; sizes in inches, `labels` as `Axes.set` takes them.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("a chart", "Matplotlib", "draw") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.add_subplot()
    ax.set(**labels)
    ax.grid(axis="y", color=COLOURS["line"], linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(COLOURS["line"])
    ax.tick_params(length=0, labelsize=8.5, labelcolor=COLOURS["muted"])
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=COLOURS["muted"], fontsize=8.5)
    return figure, ax


def chart(figure: Figure, caption: str, wide: bool = False) -> str:
    """A figure as an HTML element with a caption (plain text); a `wide` one scrolls on a phone instead of shrinking."""
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend:
            legend.set(frame_on=False)
            for text in legend.get_texts():
                text.set(color=COLOURS["ink"], fontsize=8.5)
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{svg(figure)}<figcaption>{escape(caption)}</figcaption></figure>"


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element whose colours are the page's; equal figures give equal text."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "recurra", "font.family": "DejaVu Sans"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _own_ids(text)
    for name, (light, _) in INK.items():
        text = text.replace(light, f"var(--{name})")
    return text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")


def _own_ids(text: str) -> str:
    """Ids hold for a whole page, so those of one picture must not meet those of the next."""
    import hashlib

    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{own}-\1"', text)
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{own}-", text)
