"""The examples run and learn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def test_language_model(capsys: pytest.CaptureFixture[str]) -> None:
    import language_model

    result = language_model.main(steps=200)
    assert result.after < 0.6 * result.unigram < result.before
    assert "held out" in capsys.readouterr().out
    lstm = language_model.main(steps=20, cell="lstm", hidden_size=32)
    assert lstm.after < lstm.before


def test_regressor(capsys: pytest.CaptureFixture[str]) -> None:
    import regressor

    result = regressor.main(steps=600)
    assert result.error < 0.1 * result.baseline
    assert "always answering the mean" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["language_model", "regressor"])
def test_scripts_run_by_themselves(name: str) -> None:
    assert 'if __name__ == "__main__":\n    main()' in (EXAMPLES / f"{name}.py").read_text()
    assert name not in {n for n in sys.modules if n == "__main__"}
