"""Events at irregular times: read and counted, made rows of without looking ahead, learned from, and answered live."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from typer.testing import CliRunner

from helpers import generator
from recurra import Classifier, Regressor, open_model
from recurra.cli import app
from recurra.data.irregular import (
    Histories,
    IrregularRows,
    first_hours,
    read_event_table,
    read_events,
    risk_within,
)
from recurra.data.split import Split
from recurra.errors import DataError, LeakageError
from recurra.tasks.calibration import reliability

SMALL = {"hidden": 6, "epochs": 2}
NAMES = ("HR", "pH", "urine")


def histories(count: int = 40, key: str = "histories") -> Histories:
    """Of one to twelve steps of three variables, of which at least one is there in each."""
    rng = generator(key, count)
    events: dict[str, list[Any]] = {"stay": [], "t": [], "what": [], "value": []}
    for i in range(count):
        for t in np.cumsum(rng.exponential(2.0, rng.integers(1, 13))):
            for k in np.flatnonzero([rng.random() < 0.4, True, rng.random() < 0.3]):
                row = (f"s{i}", float(t), NAMES[k], float(rng.normal(10.0 * k, 1 + k)))
                for column, cell in zip(events.values(), row, strict=True):
                    column.append(cell)
    return read_events(events, series="stay", time="t", variable="what", value="value")


LABELS = np.arange(40) % 2


# Reading.

ODD = """Time,Parameter,Value
00:00,RecordID,7
00:00,Age,54
00:00,Height,-1
00:00,Weight,70
00:00,Weight,80
00:30,,12
01:30,SysABP,0
01:30,HR,oops
01:30,HR,88
48:00,HR,90
"""


def test_what_is_odd_is_counted(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text(ODD)
    (tmp_path / "b.txt").write_text("Time,Parameter,Value\n00:00,Age,60\n")
    (tmp_path / "c.txt").write_text("Time,Parameter,Value\n00:00,Age,-1\n")
    (tmp_path / "d.txt").write_text("")
    (tmp_path / "notes.md").write_text("none")
    how = {
        "leave_out": ["RecordID"],
        "unknown": [-1],
        "positive": ["SysABP"],
        "variables": ["Age", "HR", "SysABP", "Weight"],
    }
    found = read_events(tmp_path, **how)
    assert found.names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(
        found.x[0], [[0, 54, np.nan, np.nan, 80], [1.5, np.nan, 88, np.nan, np.nan], [48, np.nan, 90, np.nan, np.nan]]
    )
    assert [len(x) for x in found.x] == [3, 1, 1, 1]
    assert np.isnan(found.x[2][0, 1:]).all()
    wanted = {"unknown": 2, "unnamed": 1, "unreadable": 1, "impossible": 1, "repeated": 1, "unmeasured": 1, "empty": 2}
    assert found.met == {"events": 6, "other": 0, **wanted}
    assert "1 lines with an empty variable name: left out" in found.notes
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        for name in "abcd":
            content = (tmp_path / f"{name}.txt").read_bytes()
            info = tarfile.TarInfo(f"set/{name}.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    again = read_events(tmp_path / "all.tar.gz", **how)
    assert again.met == found.met
    assert [x.tobytes() for x in again.x] == [x.tobytes() for x in found.x]
    assert read_events(tmp_path, **{**how, "variables": ["Age"]}).met["other"] == 4


def test_events_in_any_order_are_steps_in_the_order_of_time() -> None:
    rng = generator("shuffled")
    t, what, value = rng.integers(0, 20, 60).astype(float), rng.choice(NAMES, 60), rng.normal(size=60)
    _, first = np.unique([f"{a} {b}" for a, b in zip(t, what, strict=True)], return_index=True)
    t, what, value = t[first], what[first], value[first]  # once for each time
    found = read_events({"t": t, "w": what, "v": value}, time="t", variable="w", value="v")
    assert found.x[0][:, 0].tolist() == sorted(set(t))
    for when, name, one in zip(t, what, value, strict=True):
        assert found.x[0][found.x[0][:, 0] == when, 1 + found.variables.index(name)] == [one]
    assert np.isfinite(found.x[0][:, 1:]).sum() == len(t)
    assert first_hours(found, 9.5).x[0][-1, 0] <= 9.5 < found.x[0][-1, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": ["noon"]}, "the time is 'noon', expected a number, or hours as 07:30"),
        ({"variable": "drug"}, "there is no column of events 'drug'; expected one of: t, w, v"),
        ({"positive": ["HP"]}, "there is no variable 'HP'.*HR"),
        ({"v": [-1.0], "unknown": [-1]}, "there is no value in any history"),
    ],
)
def test_events_that_cannot_be_used(change: dict[str, Any], words: str) -> None:
    table = {"t": [0.0], "w": ["HR"], "v": [1.0]} | {k: change[k] for k in change if k in "tv"}
    how = {"time": "t", "variable": "w", "value": "v"} | {k: change[k] for k in change if k not in "tv"}
    with pytest.raises(DataError, match=words) as caught:
        read_events(table, **how)
    assert "\n" not in str(caught.value)


# Rows.


def slow_rows(rows: IrregularRows, x: np.ndarray) -> np.ndarray:
    """What the class says a row has, by plain loops."""
    found = []
    for t in range(len(x)):
        last, now, since, mean, least, most, count = ([] for _ in range(7))
        for k, scaler in enumerate(rows.scalers, 1):
            at = [s for s in range(t + 1) if np.isfinite(x[s, k])]
            z = [(x[s, k] - scaler.center) / scaler.scale for s in at]
            z = [v / (1 + abs(v) / 4) for v in z]
            d = x[t, 0] - x[at[-1], 0] if at else np.inf
            last.append(z[-1] if at else 0)
            now.append(float(t in at))
            since.append(d / (d + rows.pace) if at else 1)
            mean.append(np.mean(z) if at else 0)
            least.append(min(z, default=0))
            most.append(max(z, default=0))
            count.append(len(at) / (len(at) + 8))
        gap, age = x[t, 0] - x[max(0, t - 1), 0], x[t, 0] - x[0, 0]
        summaries = [*mean, *least, *most, *count]
        found.append([*last, *now, *since, *summaries, gap / (gap + rows.pace), age / (age + rows.span)])
    return np.array(found)


def learned(found: Histories) -> tuple[list[Any], IrregularRows]:
    steps = found.with_targets(None)
    return steps, IrregularRows.fit(steps, [Split(len(s), len(s), len(s)) for s in steps], found.columns)


def test_rows_are_what_the_definition_says_whole_and_live() -> None:
    steps, rows = learned(histories())
    for s in steps:
        whole = rows.rows(s, 0, len(s))
        np.testing.assert_allclose(whole, slow_rows(rows, s.x), atol=1e-6)
        live = rows.live()
        assert np.stack([live.push(x) for x in s.x]).tobytes() == whole.tobytes()
    assert IrregularRows.from_dict(rows.to_dict()) == rows


def test_no_row_looks_ahead() -> None:
    """A planted change of what comes later changes nothing before it."""
    steps, rows = learned(histories())
    long = max(steps, key=len)
    before = rows.rows(long, 0, len(long))
    for cut in range(1, len(long)):
        x = long.x.copy()
        x[cut:, 1:] = 99.0
        after = rows.many(x, rows.nothing())[0]
        assert after[:cut].tobytes() == before[:cut].tobytes()
        assert (after[cut] != before[cut]).any()


def test_scales_are_of_training_alone() -> None:
    found = histories()
    steps = found.with_targets(None)
    splits = [Split(len(s), len(s), len(s)) if i < 30 else Split(0, 0, len(s)) for i, s in enumerate(steps)]
    one = IrregularRows.fit(steps, splits, found.columns)
    for s in steps[30:]:
        s.x[:, 1:] = 1e6
    assert IrregularRows.fit(steps, splits, found.columns) == one
    steps[3].x[:, 1:] = 1e6
    assert IrregularRows.fit(steps, splits, found.columns) != one


def test_the_row_without_a_variable_is_that_of_a_history_that_never_had_it() -> None:
    steps, rows = learned(histories())
    s = max(steps, key=len)
    whole = rows.rows(s, 0, len(s))
    for k in range(3):
        x = s.x.copy()
        x[:, 1 + k] = np.nan
        never = rows.many(x, rows.nothing())[0]
        for t in range(len(s)):
            assert rows.without(whole[t])[1 + k].tobytes() == never[t].tobytes()


def test_variables_that_are_forgotten_are_as_if_never_measured() -> None:
    steps, rows = learned(histories())
    s, seen = max(steps, key=len), set()
    forgetful = replace(rows, forgotten=0.4)
    for seed in range(30):
        varied = forgetful.varied(s, len(s), np.random.default_rng(seed))
        lost = np.flatnonzero(np.random.default_rng(seed).random(3) < 0.4)
        seen.add(tuple(lost))
        x = s.x.copy()
        x[:, 1 + lost] = np.nan
        if varied is None:
            assert not len(lost)
        else:
            assert varied[0].tobytes() == rows.many(x, rows.nothing())[0].tobytes()
    assert len(seen) > 4
    assert rows.varied(s, len(s), np.random.default_rng(0)) is None


# Guards.


def test_the_outcome_among_the_variables_is_refused() -> None:
    found = histories()
    x = tuple(
        np.concatenate([one, np.full((len(one), 1), 3.0 + label)], 1)
        for one, label in zip(found.x, LABELS, strict=True)
    )
    leaky = Histories(found.names, x, (*found.columns, "discharge"), None, None, None, {})
    with pytest.raises(LeakageError, match=r"the variable 'discharge' tells the label .*: leave it out"):
        Classifier(**SMALL).fit(leaky, LABELS)
    each = [np.full(len(one), label) for one, label in zip(found.x, LABELS, strict=True)]
    with pytest.raises(LeakageError, match=r"the variable 'discharge' tells the label"):
        Classifier(**SMALL).fit(leaky, each)


def test_one_patient_is_in_one_part() -> None:
    found = histories()
    parts = ["train"] * 25 + ["valid"] * 8 + ["test"] * 7
    with pytest.raises(DataError, match=r"the group 'p' is in the train part .* and in the test part"):
        Classifier(parts=parts, **SMALL).fit(found, LABELS, groups=["p", *map(str, range(38)), "p"])


def test_risk_within_hours_and_censoring() -> None:
    rng = generator("risk")
    found = histories()
    until = np.array([x[-1, 0] + rng.exponential(4.0) for x in found.x])
    when = np.where(rng.random(len(found)) < 0.5, until, np.nan)
    when[3] = found.x[3][0, 0] * 0.5  # before anything was measured
    cut, targets = risk_within(found, when, until, 3.0)
    at = {name: i for i, name in enumerate(found.names)}
    assert "s3" not in cut.names
    kinds = set()
    for name, x, y in zip(cut.names, cut.x, targets, strict=True):
        i = at[name]
        assert (x[:, 0] < when[i]).all() if np.isfinite(when[i]) else (x[:, 0] <= until[i]).all()
        for t, one in zip(x[:, 0], y, strict=True):
            if np.isfinite(when[i]):
                want = 1.0 if when[i] - t <= 3.0 else 0.0
            else:
                want = 0.0 if until[i] - t >= 3.0 else np.nan
            assert one == want or (one != one and want != want)
            kinds.add(str(want))
    assert kinds == {"0.0", "1.0", "nan"}
    model = Classifier(**SMALL).fit(cut, targets, evaluate=False)
    assert all(len(p) == len(x) for p, x in zip(model.predict_proba(cut), cut.x, strict=True))
    with pytest.raises(DataError, match="when: got 2 times for 40 histories"):
        risk_within(found, [1.0, 2.0], until, 3.0)
    with pytest.raises(DataError, match="each `until` no earlier than its `when`"):
        risk_within(found, until + 1, until, 3.0)


# Estimators.


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier(**SMALL).fit(histories(), LABELS)


def one_by_one(live: Any, name: str, x: np.ndarray) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for row in x:
        for k in np.flatnonzero(np.isfinite(row[1:])):
            answer = live.step({"series": name, "time": row[0], "variable": NAMES[k], "value": row[1 + k]})
    return answer


def test_gru_d_on_histories_ends_live_with_the_bits_of_predict(tmp_path: Any) -> None:
    found = histories()
    fitted = Classifier(cell="gru_d", **SMALL, seed=1).fit(found, LABELS)
    fitted.save(tmp_path / "m.recurra")
    loaded = open_model(tmp_path / "m.recurra")
    assert [op.kind for op in loaded.model_.ops[:2]] == ["fields", "recurrent"]
    live = loaded.live()
    for i in (0, 3, 8):
        for row in found.x[i]:
            said = live.step(dict(zip(found.columns, row.tolist(), strict=True)), series=str(i))
        assert list(said["probabilities"].values()) == fitted.predict_proba(found.only([i]))[0].tolist()


def test_a_live_patient_ends_with_the_bits_of_predict(model: Classifier, tmp_path: Any) -> None:
    new = histories(7, "new")
    want = model.predict_proba(new)
    model.save(tmp_path / "m.recurra")
    again = open_model(tmp_path / "m.recurra")
    assert again.predict_proba(new).tobytes() == want.tobytes()
    live, other = model.live(), again.live()
    for i, x in enumerate(new.x):
        cut = len(x) // 2
        one_by_one(live, new.names[i], x[:cut])
        other.restore(live.snapshot())
        for session in (live, other):
            answer = one_by_one(session, new.names[i], x[cut:])
            assert list(answer["probabilities"].values()) == want[i].tolist()
    whole = model.live()
    said = [whole.step({"time": t, **dict(zip(NAMES, row, strict=True))}) for t, *row in new.x[0].tolist()]
    assert [list(one["probabilities"].values()) for one in said] == model.predict_proba(new, steps="all")[0].tolist()
    assert len(live.cells(said[-1])) == len(live.fields)


def test_evidence_is_the_answer_without_a_variable(model: Classifier) -> None:
    new = histories(7, "new")
    answer = one_by_one(model.live(), "", max(new.x, key=len))
    i = int(np.argmax([len(x) for x in new.x]))
    with_all = model.predict_proba(new)[i, -1]
    for name, moved in answer["evidence"].items():
        x = new.x[i].copy()
        x[:, new.columns.index(name)] = np.nan
        without = model.predict_proba(Histories(("a",), (x,), new.columns, None, None, None, {}))[0, -1]
        assert moved == float(with_all) - float(without) or moved == float(with_all - without)
    sizes = np.abs(list(answer["evidence"].values()))
    assert len(sizes) == 3
    assert (np.diff(sizes) <= 0).all()


def test_live_events_that_cannot_be_taken(model: Classifier) -> None:
    live = model.live()
    live.step({"time": 3.0, "variable": "HR", "value": 90})
    before = live.snapshot()
    for event, words in [
        ({"time": 2.0, "variable": "HR", "value": 90}, "an event is of 2, before the last one, of 3"),
        ({"variable": "HR", "value": 90}, "an event has no time"),
        ({"time": 4.0, "variable": "HR", "value": "high"}, "'value' is 'high', expected a number"),
        ([4.0, 1.0], "expected a mapping with time, variable and value"),
    ]:
        with pytest.raises(DataError, match=words):
            live.step(event)
    assert live.snapshot() == before
    assert live.step({"time": 4.0, "variable": "mood", "value": 1}) is None
    assert live.step({"time": 4.0, "variable": "HR", "value": None}) is None
    assert live.notes == ["there is no variable 'mood' in the model: it is passed over"]
    with pytest.raises(DataError, match="but the model was fitted to events"):
        model.predict([np.zeros((3, 4))])


def test_numbers_of_histories() -> None:
    found = histories(60)
    y = np.array([np.nanmean(x[:, 2]) for x in found.x])
    model = Regressor(hidden=12, epochs=30, noise=0.0, dropout=0.0, learning_rate=0.02).fit(found, y, evaluate=False)
    assert model.score(found, y) > 0.5
    live = model.live()
    assert one_by_one(live, "", found.x[0])["value"] == model.predict(found)[0]


def test_calibration_is_measured_as_elsewhere() -> None:
    rng = generator("calibration")
    said = rng.random(400)
    happened = rng.random(400) < said**2
    found = reliability(said, happened)
    assert found["brier"] == pytest.approx(brier_score_loss(happened, said))
    true, mean = calibration_curve(happened, said, n_bins=10, strategy="quantile")
    np.testing.assert_allclose([row[:2] for row in found["rows"]], np.stack([mean, true], 1), atol=0.03)
    assert found["ece"] == pytest.approx(np.mean(np.abs(mean - true)), abs=0.02)
    assert found["ece"] > 0.1


# Tables of events.

HOW = {"time": "hour", "variable": "what", "value": "value"}


def table_of(found: Histories, **columns: Any) -> dict[str, list[Any]]:
    """The events of histories in long form, and columns of a value for each history, or for each of its steps."""
    table: dict[str, list[Any]] = {name: [] for name in ("stay", "hour", "what", "value", *columns)}
    for i, x in enumerate(found.x):
        for t, row in enumerate(x):
            for what, value in zip(found.variables, row[1:], strict=True):
                if value == value:
                    more = [column[i] if np.ndim(column[i]) == 0 else column[i][t] for column in columns.values()]
                    for cells, cell in zip(
                        table.values(), (found.names[i], float(row[0]), what, float(value), *more), strict=True
                    ):
                        cells.append(cell)
    return table


def test_a_table_of_events_has_labels_and_groups() -> None:
    found, groups = histories(9), [f"p{i // 2}" for i in range(9)]
    again = read_event_table(
        table_of(found, died=LABELS[:9], patient=groups), series="stay", y="died", groups="patient", **HOW
    )
    assert again.names == found.names
    assert (again.y, again.groups) == (LABELS[:9].tolist(), groups)
    for one, other in zip(again.x, found.x, strict=True):
        np.testing.assert_array_equal(one, other)
    each = [np.arange(len(x)) % 3 for x in found.x]
    steps = read_event_table(table_of(found, state=each), series="stay", y="state", **HOW)
    assert [one.tolist() for one in steps.y] == [one.tolist() for one in each]
    named = read_event_table(
        table_of(found), series="stay", y=dict(zip(found.names, LABELS.tolist(), strict=False)), **HOW
    )
    assert named.y == LABELS[:9].tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": "dead"}, "there is no column of y 'dead'"),
        ({"groups": "dead"}, "there is no column of groups 'dead'"),
        ({"y": [1]}, "y: got 1 for 9 histories"),
        ({"y": {"s0": 1}}, "y: there is none of the history 's1'"),
        ({"variable": "whats"}, "there is no column of events 'whats'; .*'what'"),
    ],
)
def test_tables_of_events_that_cannot_be_used(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_event_table(table_of(histories(9)), series="stay", **{**HOW, **given})
    assert "\n" not in str(caught.value)


def test_what_is_said_of_events_in_fit() -> None:
    table = table_of(histories(9), died=LABELS[:9])
    for events, words in ((("what",), "expected the columns of an event's variable"), ("what", "events='what'")):
        with pytest.raises(DataError, match=words):
            Classifier(**SMALL).fit(table, "died", events=events, series="stay", time="hour")
    with pytest.raises(DataError, match=r"times: a table of events has its times in a column"):
        Classifier(**SMALL).fit(table, "died", events=("what", "value"), times=[1.0], series="stay", time="hour")


def test_events_in_a_shell(tmp_path: Any) -> None:
    """From a table of events to a model, and its answers to the same table, whole and streamed, in both formats."""
    found, out, path = histories(), tmp_path / "m.recurra", tmp_path / "events.csv"
    table = table_of(found, died=LABELS.tolist())
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    odd = [{**rows[0], "what": ""}, {**rows[0], "value": -1}, {**rows[0], "what": "mood"}]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table))
        writer.writeheader()
        writer.writerows([rows[0], *odd, *rows[1:]])

    def run(*words: Any, text: str = "", code: int = 0) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words], input=text)
        assert done.exit_code == code, done.output
        return done.output

    how = ["--events", "what,value", "--series", "stay", "--time", "hour", "--y", "died", "--unknown", "-1"]
    how += ["--leave-out", "mood", "--hidden", 4, "--epochs", 1, "--out", out]
    run("fit", "classify", path, *how)
    model = open_model(out)
    assert model.transform_.variables == NAMES
    want = model.predict_proba(found)[:, 1].tolist()
    run("predict", out, path, "--out", tmp_path / "said.csv")
    with (tmp_path / "said.csv").open() as file:
        assert [float(row["p(1)"]) for row in csv.DictReader(file)] == want
    assert "accuracy" in run("evaluate", out, path)
    answers = run("stream", out, text=path.read_text()).splitlines()
    lines = list(csv.DictReader(line for line in answers if line.count(",") > 3))
    ends = {row["stay"]: float(row["probabilities.1"]) for row in lines}
    assert [ends[name] for name in found.names] == want
    text = "\n".join(map(json.dumps, [rows[0], *odd, *rows[1:]]))
    said = [json.loads(line) for line in run("stream", out, text=text).splitlines() if line[:1] == "{"]
    assert len(said) == len(rows)
    assert [one["probabilities"]["1"] for one in said if one["stay"] == "s7"][-1] == want[7]
    words = run("fit", "classify", path, "--unknown=-1", code=1)
    assert words == "" or "expected --events" in words


def test_what_cannot_be_live_is_not_there_in_training_either(tmp_path: Any) -> None:
    table = table_of(histories(), died=LABELS.tolist())
    reading = {"unknown": [-1.0], "positive": ["HR"]}
    model = Classifier(**SMALL, reading=reading).fit(
        table, "died", events=("what", "value"), series="stay", time="hour"
    )
    live = model.live()
    first = live.step({"stay": "a", "hour": 1.0, "what": "HR", "value": 4.0})
    for value in (-1.0, 0.0, -3.0):
        assert live.step({"stay": "a", "hour": 2.0, "what": "HR", "value": value}) is None
    assert live.step({"stay": "b", "hour": 1.0, "what": "HR", "value": 4.0})["probabilities"] == first["probabilities"]
