"""The forecaster's report: real numbers in the text, and a page that a browser shows whole, on a phone too."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sample_report import sample_report

from recurra.draw.themes import PAGE
from recurra.report import write_report
from recurra.report.forecast import forecast_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(svg|style).*?</\1>", " ", page, flags=re.DOTALL)))


@pytest.fixture(scope="module")
def page() -> str:
    """Of the sample as it is."""
    return forecast_page(sample_report())


def test_the_numbers_are_in_the_text(page: str) -> None:
    text = text_of(page)
    for wanted in ("0.214", "0.252", "0.322", "79.3%", "0.0614", "23,456", "17,520", "12,264", "48 and 336", "3.1e-7"):
        assert wanted in text, wanted
    report = sample_report()
    errors = report["by_hour"]["values"]["GRU"]
    worst = max(range(24), key=lambda h: errors[h])
    assert f"largest at {worst} ({errors[worst]:.3g})" in text
    best = min(range(30), key=lambda e: report["history"][e]["valid_mae"])
    assert f"Least at epoch {best + 1} of 30" in text
    assert "Of these values 100%" in text
    report["example"]["low"] = [v + 0.1 if k % 4 == 0 else v - 1 for k, v in enumerate(report["example"]["truth"])]
    assert "Of these values 75%" in text_of(forecast_page(report))


def test_what_users_write_is_text_and_daily_steps_have_no_hours() -> None:
    daily = {"step": "1 day", "by_hour": {}, "by_weekday": {}}
    page = forecast_page(sample_report() | daily | {"target": "<script>alert(1)</script>"})
    assert "<script" not in page
    assert "r &lt; h" in page
    assert "have no hours" in page


def test_what_was_not_measured_is_left_out() -> None:
    report = sample_report()
    report["by_hour"]["values"]["GRU"][3] = report["example"]["truth"][5] = report["baseline_error"] = None
    report["table"][0]["mae"] = report["table"][0]["mase"] = None
    del report["example"]["naive"]
    page = forecast_page(
        report | {"by_weekday": {"labels": ["Mon"], "values": {"GRU": [None]}}, "levels": [0.05, 0.5, 0.95]}
    )
    assert "meant to hold 90%" in text_of(page)
    assert "None" not in text_of(page)
    assert "has no forecast" in forecast_page(report | {"example": {}})


def test_equal_reports_give_equal_pages(page: str) -> None:
    assert forecast_page(sample_report()) == page
    assert forecast_page(sample_report(1)) != page


def test_the_page_stands_alone_and_follows_the_theme(page: str) -> None:
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page.replace("http://www.w3.org", ""))
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) == set(), "a colour that does not follow the theme"
    assert {f"var(--{n})" for n in ("ink", "accent", "muted")} <= set(re.findall(r"var\(--\w+\)", drawn))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert all(f"--{name}: {dark};" in page for name, (_, dark) in PAGE.items())


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(sample_report(), path)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_report({k: v for k, v in sample_report().items() if k != "table"}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


PROBE = """<!doctype html><body>
<iframe id="page" style="width:%(width)dpx;height:900px;border:0" srcdoc="%(page)s"></iframe>
<script>
document.getElementById("page").onload = event => {
  const d = event.target.contentDocument, root = d.documentElement;
  const sizes = [...d.querySelectorAll("svg text")].map(t => t.getBoundingClientRect().height).filter(h => h > 0);
  document.body.innerHTML = "<pre>RESULT" + JSON.stringify({
    wide: root.scrollWidth, pictures: d.querySelectorAll("svg").length,
    headings: [...d.querySelectorAll("h2")].map(h => h.textContent), smallest: Math.min(...sizes),
    ink: getComputedStyle(d.body).color, paper: getComputedStyle(d.body).backgroundColor,
  }) + "END</pre>";
};
</script>"""


def browsed(page: str, width: int, folder: Path, *flags: str) -> dict[str, object]:
    """What a browser makes of a page in a window of that width."""
    probe = folder / "probe.html"
    probe.write_text(PROBE % {"width": width, "page": html.escape(page)})
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", *flags]
    command += [
        "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        probe.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"RESULT(.*?)END", html.unescape(done.stdout))
    assert found, done.stderr[-2000:]
    return dict(json.loads(found[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_it_whole(tmp_path: Path) -> None:
    page = forecast_page(sample_report(), "gru")
    for width in (400, 1100):
        seen = browsed(page, width, tmp_path)
        assert seen["wide"] <= width
        assert seen["pictures"] == 8
        assert seen["headings"][0] == "The forecast and the truth"
        assert seen["headings"][-1] == "Run it live"
        assert seen["smallest"] >= 8
        assert seen["ink"] != seen["paper"]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_light_and_dark_differ(page: str, tmp_path: Path) -> None:
    light = browsed(page, 800, tmp_path, "--blink-settings=preferredColorScheme=1")
    dark = browsed(page, 800, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert {light["paper"], dark["paper"]} == {"rgb(255, 255, 255)", "rgb(20, 24, 31)"}
