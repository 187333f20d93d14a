"""What can be asked for, and what is refused in one line."""

import pytest

from recurra import cells, compare
from recurra.compare import candidates
from recurra.compare.candidates import CANDIDATES, choose
from recurra.compare.settings import Settings, cores, seconds_of
from recurra.errors import CellError, CompareError, DataError
from recurra.tasks.base import Task


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), (" 1.5h ", 5400), ("45", 45), (20, 20), (".5m", 30)]
)
def test_budgets(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "ten minutes", "-5m", "5d", "1e3", "nan", "3s", 0, None])
def test_budgets_that_are_none(text):
    with pytest.raises(CompareError, match="budget: got") as caught:
        seconds_of(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seeds": 0}, "seeds: got 0"),
        ({"trials": 1.5}, "trials: got 1.5"),
        ({"parameters": True}, "parameters: got True"),
        ({"workers": 0}, "workers: got 0"),
        ({"engine": "slurm"}, "engine: got 'slurm', expected one of: local, ray"),
        ({"resume": True}, "resume: there is no folder"),
    ],
)
def test_settings_that_cannot_be(changed, words):
    with pytest.raises(CompareError, match=words):
        Settings(**changed)


def test_the_cores_are_those_we_may_use():
    assert Settings().cores == cores() >= 1
    assert Settings(workers=7).cores == 7


def test_naive_candidates_are_always_there():
    assert [c.name for c in choose(Task.named("forecast"), ["gru"])[0]] == ["last", "seasonal", "gru"]
    assert [c.name for c in choose(Task.named("classify"), None)[0]][:2] == ["majority", "logistic"]


def test_two_directions_cannot_forecast_and_the_reason_is_given():
    candidates, refused = choose(Task.named("forecast"), None)
    assert set(refused) == {"bilstm", "bigru"}
    assert "not known then" in refused["bigru"]
    assert "bigru" not in [c.name for c in candidates]
    whole = {c.name: c for c in choose(Task.named("classify"), None)[0]}
    assert "no end yet" in whole["bigru"].refusal
    with pytest.raises(CompareError, match=r"none is left to compare .bilstm: it reads"):
        choose(Task.named("forecast"), ["bilstm"])


def test_cells_of_the_zoo_and_of_a_script(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from recurra.cells import cell, sigmoid, tanh\n\n\n@cell\ndef leaky(x, h):\n"
        "    f = sigmoid(x.f)\n    return f * h + (1 - f) * tanh(x.n + h.n)\n"
    )
    found = choose(Task.named("classify"), ["mgu", f"{script}:leaky", cells.indrnn])[0]
    assert [c.name for c in found] == ["majority", "mgu", "leaky", "indrnn"]
    assert "def leaky" in found[2].cell
    with pytest.raises(CellError, match="no such script"):
        choose(Task.named("classify"), [f"{tmp_path}/other.py:leaky"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["grue"], "'grue' is unknown, expected some of: last, seasonal"),
        (["gru", "gru"], "gru appears twice"),
        (["logistic"], "logistic does not forecast, expected some of"),
        (["last"], "none is left"),
        (["lstm_projected"], "one more thing to match"),
    ],
)
def test_candidates_that_cannot_be(names, words):
    with pytest.raises(CompareError, match=words):
        choose(Task.named("forecast"), names)


def test_every_candidate_says_what_it_is():
    for name, candidate in CANDIDATES.items():
        assert candidate.name == name
        assert candidate.words
        assert candidate.neural == (candidate.kind in ("feedforward", "cnn", "transformer", "recurrent"))


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(CompareError, match="holds an earlier comparison: use --resume"):
        Settings(out=tmp_path).check_out()
    (tmp_path / "a file").write_text("")
    with pytest.raises(CompareError, match="a file, expected a folder"):
        Settings(out=tmp_path / "a file").check_out()
    with pytest.raises(CompareError, match="no comparison to go on with"):
        Settings(out=tmp_path / "new", resume=True).check_out()


def test_the_package_can_be_called():
    with pytest.raises(CompareError, match="got neither labels nor target and horizon"):
        compare({"y": [1.0, 2.0]})
    with pytest.raises(DataError, match="9 rows are too few"):
        compare({"y": list(range(9))}, target="y", horizon=3)


def test_a_name_means_one_candidate_whatever_the_task() -> None:
    meant: dict[str, str] = {}
    for one in candidates.BASELINES:
        assert meant.setdefault(one.name, one.words) == one.words
