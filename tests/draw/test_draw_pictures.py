"""Files, themes and pages; and that an overlap would be seen."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import matplotlib
import pytest
from PIL import Image

from helpers import printed
from recurra import draw
from recurra.draw.scene import Arrow, Box, Label, Scene
from recurra.draw.themes import THEMES, adaptive
from recurra.errors import DrawError

BOX = Box(0, 0, 40, 30, "op")


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (Scene("", labels=[Label(0, 0, "one"), Label(10, 3, "two")]), "'one' meets 'two'"),
        (Scene("", [BOX], labels=[Label(18, 0, "wide")]), "sticks out"),
        (Scene("", [BOX, Box(30, 10, 40, 30, "op")]), "boxes meet"),
        (Scene("", [BOX], [Arrow(((-50, 0), (50, 0)))]), "goes through the box"),
        (Scene("", arrows=[Arrow(((-50, 0), (50, 0)))], labels=[Label(0, 0, "word")]), "'word' is on a line"),
    ],
)
def test_an_overlap_is_seen(planted: Scene, message: str) -> None:
    assert any(message in found for found in planted.overlaps())


def test_a_label_may_interrupt_its_own_line() -> None:
    line = Arrow(((-50, 0), (50, 0)))
    assert Scene("", arrows=[line], labels=[Label(0, 0, "h", over=True)]).overlaps() == []


@pytest.mark.parametrize("name", ["network", "cell"])
def test_files(name: str, tmp_path) -> None:
    picture, again = (getattr(draw, name)("rnn") for _ in range(2))
    for kind, magic in {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}.items():
        path = picture.save(tmp_path / f"gru.{kind}")
        data = path.read_bytes()
        assert data.startswith(magic)
        assert again.data(kind) == data  # without dates or chance
        assert b"Date" not in data
    with Image.open(picture.save(tmp_path / "small.PNG", width=400)) as image:
        assert image.width == 400
    assert picture.svg().startswith("<svg")


def test_the_page_shows_everything() -> None:
    """No ink reaches the edge of the paper."""
    for picture in (draw.network("rnn"), draw.cell("lstm")):
        with Image.open(io.BytesIO(picture.data("png"))) as image:
            pixels = image.convert("RGB")
        assert (pixels.width, pixels.height) == pytest.approx(
            [2 * inches * 72 for inches in picture.figure().get_size_inches()], abs=1
        )
        frame = [pixels.crop(edge).getcolors() for edge in ((0, 0, pixels.width, 12), (0, 0, 12, pixels.height))]
        assert all(len(colours) == 1 for colours in frame)


def test_themes() -> None:
    light, dark, auto = (draw.cell("gru", theme=theme).svg() for theme in ("light", "dark", "auto"))
    assert THEMES["light"]["page"].fill in light
    assert THEMES["dark"]["page"].fill in dark
    body = auto[auto.index("</style>") :]
    assert not re.search(r"(fill|stroke): #(?!000000)", body)  # every colour follows the page
    assert 'class="recurra"' in auto
    assert "prefers-color-scheme: dark" in auto
    used = set(re.findall(r"var\((--[\w-]+)\)", body))
    for variable in used:
        assert auto.count(f"{variable}: #") == 4
    assert re.sub(r"var\(--recurra-page-fill\)", THEMES["light"]["page"].fill, body).count(THEMES["light"]["page"].fill)


def test_in_a_notebook_a_picture_follows_the_page() -> None:
    shown = {theme: draw.cell("rnn", theme=theme) for theme in (None, "auto", "light", "dark")}
    assert shown[None]._repr_html_() == shown["auto"]._repr_html_() == shown["auto"].svg()
    assert shown[None].svg() == shown["light"].svg() == shown["light"]._repr_html_()
    assert shown["dark"]._repr_html_() == shown["dark"].svg()


def test_settings_of_the_users_own_do_not_change_a_picture() -> None:
    """Nor does it warn."""
    before = [p.svg() for p in (draw.network("rnn"), draw.cell("rnn"))]
    with matplotlib.rc_context({"figure.constrained_layout.use": True, "font.size": 30, "axes.facecolor": "red"}):
        assert [p.svg() for p in (draw.network("rnn"), draw.cell("rnn"))] == before


def test_a_colour_has_one_meaning() -> None:
    """What the light theme paints alike, the dark one does too: colours are replaced by what they mean."""
    meant: dict[str, str] = {}
    for role, colours in THEMES["light"].items():
        for light, dark in zip(colours, THEMES["dark"][role], strict=True):
            assert meant.setdefault(light, dark) == dark


def test_letters_stand_out() -> None:
    """Contrast of texts to what is behind them, by WCAG's formula, is at least 4.5."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for theme in THEMES.values():
        for role, colours in theme.items():
            for ground in {colours.fill, theme["page"].fill} if role != "join" else {theme["page"].fill}:
                a, b = sorted((luminance(colours.text), luminance(ground)))
                assert (b + 0.05) / (a + 0.05) > 4.5, role


def test_adaptive_leaves_other_colours_alone() -> None:
    assert "#123456" in adaptive('<svg a="b"><path style="fill: #123456"/></svg>')


@pytest.mark.parametrize(
    ("file", "message"), [("a.sgv", "did you mean .svg"), ("a", "ends in nothing"), ("a.gif", "gif")]
)
def test_bad_endings(file: str, message: str, tmp_path) -> None:
    with pytest.raises(DrawError, match=message):
        draw.network("rnn").save(tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_bad_width_and_theme() -> None:
    with pytest.raises(DrawError, match="width is 0"):
        draw.network("rnn").data("png", 0)
    with pytest.raises(DrawError, match="expected one of light, dark, auto"):
        draw.cell("rnn", theme="blue")


def test_text_needs_no_matplotlib() -> None:
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["igraph"] = None
from recurra import draw
from recurra.errors import MissingExtraError
assert "h₅" in draw.network("lstm").text()
assert "σ" in draw.cell("lstm").text()
try:
    draw.network("lstm").svg()
except MissingExtraError as error:
    print(error)
"""
    assert "pip install 'recurra[draw]'" in printed(code)


def test_nothing_heavy_is_imported_for_text() -> None:
    code = "from recurra import draw; draw.network('gru').text(); import sys; "
    code += "print([n for n in ('torch', 'matplotlib', 'igraph', 'sympy') if n in sys.modules])"
    assert printed(code) == "[]"


def test_command(tmp_path) -> None:
    program = tmp_path / "mine.py"
    program.write_text("from recurra.cells import cell, tanh\n@cell\ndef mine(x, h):\n    return tanh(x.n + h.n)\n")
    text = draw.command(f"{program}:mine", unrolled=2)
    assert "[mine] →  [mine] → h₂" in text
    assert "h[t] = tanh" in text
    assert draw.command(f"{program}:mine", inside=True) == draw.cell("rnn").text().replace(
        "rnn: Elman 1990, Finding structure in time", "mine"
    )
    said = draw.command("gru", out=tmp_path / "gru.svg", inside=True, theme="dark")
    assert said == f"{tmp_path / 'gru.svg'}: inside gru: h before and after a step\n"
    assert (tmp_path / "gru.svg").exists()
    with pytest.raises(DrawError, match="nothing called 'mien': did you mean 'mine'"):
        draw.command(f"{program}:mien")
    with pytest.raises(DrawError, match="does not exist"):
        draw.command("missing.py:mine")


def test_command_line() -> None:
    code = "import typer; from recurra.cli.draw import draw; typer.run(draw)"
    done = subprocess.run(
        [sys.executable, "-c", code, "gru", "--unrolled", "2"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == draw.command("gru", unrolled=2)
