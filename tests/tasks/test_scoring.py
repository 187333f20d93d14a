"""`recurra predict` of many series, row group by row group, against a live session of each series alone."""

import itertools

import numpy as np
import pytest
from typer.testing import CliRunner

import recurra
from recurra import cells, runtime
from recurra.cli import app
from recurra.data.forecasting.anchor import Anchor
from recurra.runtime.ends import Ends
from recurra.tasks import scoring
from recurra.tasks.bench import ModelPredictor
from recurra.tasks.estimator import open_model
from recurra.weights import Weights

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def long_table(lengths, seed):
    """Series of some lengths one after the other, with values missing; their names tell nothing of their order."""
    rng = np.random.default_rng(seed)
    names = np.array([f"s{(7 * k) % len(lengths)}" for k in range(len(lengths))], object)
    y = np.concatenate([rng.normal(size=T).cumsum() + 10 * rng.random() for T in lengths])
    y[rng.random(len(y)) < 0.05] = np.nan
    start = np.datetime64("2024-03-01T00", "h")
    times = np.concatenate([start + k + np.arange(T) for k, T in enumerate(lengths)])
    return {"who": np.repeat(names, lengths), "time": times.astype("M8[us]"), "y": y, "x": rng.normal(size=len(y))}


LENGTHS = [37, 61, 5, 61, 1, 90, 61, 23, 44, 37, 12]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    train = long_table([150] * 4, 1)
    model = recurra.Forecaster(horizon=3, hidden=5, epochs=1)
    model.fit(train, "y", time="time", series="who", past="x", evaluate=False).save(folder / "forecast.recurra")
    labelled = long_table([30] * 20, 3)
    labelled["label"] = np.repeat(np.array(["up", "down"] * 10, object), 30)
    kinds = recurra.Classifier(hidden=5, epochs=1)
    kinds.fit(labelled, "label", series="who", inputs=["y", "x"], evaluate=False).save(folder / "label.recurra")
    return folder


@pytest.fixture
def table(tmp_path, monkeypatch):
    """In row groups of 50 rows, which cut series, and so small that few series are answered at once."""
    monkeypatch.setattr(scoring, "ROWS", 70)
    monkeypatch.setattr(scoring, "BATCH", 16)
    monkeypatch.setattr("recurra.tasks.bench.TOGETHER", 3)
    columns = long_table(LENGTHS, 2)
    pq.write_table(pa.table(columns), tmp_path / "data.parquet", row_group_size=50)
    return columns, tmp_path


def predicted(folder, *arguments):
    out = folder / "out.parquet"
    result = CliRunner().invoke(app, ["predict", *map(str, arguments), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return pq.read_table(out).to_pydict()


def rows_of(columns):
    """Each series' rows, as dicts."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["who"])]


def test_forecasts_are_those_of_a_live_session_of_each_series(fitted, table):
    columns, folder = table
    found = predicted(folder, fitted / "forecast.recurra", folder / "data.parquet")
    model, wanted = open_model(fitted / "forecast.recurra"), []
    for rows in rows_of(columns):
        live = model.live()
        for row in rows:
            said = live.step(row)
        wanted += said.quantiles.tolist()
    assert np.array_equal(np.stack([found[q] for q in ("q0.1", "q0.5", "q0.9")], 1), wanted)
    assert list(dict.fromkeys(found["series"])) == list(dict.fromkeys(columns["who"]))


def test_labels_are_those_of_a_live_session_of_each_sequence(fitted, table):
    columns, folder = table
    found = predicted(folder, fitted / "label.recurra", folder / "data.parquet")
    model = open_model(fitted / "label.recurra")
    wanted = []
    for rows in rows_of(columns):
        live = model.live()
        for row in rows:
            answer = live.step({name: row[name] for name in ("who", "y", "x")})
        wanted.append(live.to_dict(answer)["probabilities"]["up"])
    assert found["p(up)"] == wanted
    assert len(set(wanted)) == len(wanted) == len(found["series"])


def test_of_all_rows_and_of_another_order_it_is_as_predict_says(fitted, table):
    columns, folder = table
    model = open_model(fitted / "forecast.recurra")
    every = predicted(folder, fitted / "forecast.recurra", folder / "data.parquet", "--origins", "all")
    assert np.array_equal(every["q0.5"], model.predict(columns, "all")["q0.5"])
    by_time = np.argsort(columns["time"], kind="stable")  # the rows of a series are no longer together
    mixed = {name: column[by_time] for name, column in columns.items()}
    pq.write_table(pa.table(mixed), folder / "mixed.parquet")
    assert scoring.Scored.open(folder / "mixed.parquet", model) is None
    found = predicted(folder, fitted / "forecast.recurra", folder / "mixed.parquet")
    assert np.array_equal(found["q0.9"], model.predict(mixed)["q0.9"])


def test_a_folder_is_one_table_and_parts_are_whole_series(fitted, table):
    columns, folder = table
    (folder / "many").mkdir()
    for k, at in enumerate(range(0, len(columns["y"]), 120)):
        some = pa.table({name: column[at : at + 120] for name, column in columns.items()})
        names = some["who"].dictionary_encode() if k % 2 else some["who"]
        pq.write_table(some.set_column(0, "who", names), folder / "many" / f"{k}.parquet", row_group_size=45)
    whole = predicted(folder, fitted / "forecast.recurra", folder / "data.parquet")
    assert predicted(folder, fitted / "forecast.recurra", folder / "many") == whole
    scored = scoring.Scored.open(folder / "many", open_model(fitted / "forecast.recurra"))
    assert scored.starts.tolist() == np.cumsum([0, *LENGTHS]).tolist()
    parts = scored.parts()
    assert len(parts) > 2
    assert parts[0][0] == 0
    assert [stop for _, stop in parts[:-1]] == [start for start, _ in parts[1:]]
    assert {start for start, _ in parts} <= {*scored.starts.tolist()}


def test_a_folder_is_the_model_s_own_where_it_knows_no_series(fitted, tmp_path):
    model = open_model(fitted / "label.recurra")
    model.task_.roles = {}
    assert scoring.Scored.open(tmp_path, model) is None
    model.task_.roles = {"series": "who"}
    with pytest.raises(recurra.errors.DataError, match=r"no \.parquet file"):
        scoring.Scored.open(tmp_path, model)
    pq.write_table(pa.table({"who": ["a"], "y": [1.0], "x": [2.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"who": ["b"], "y": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(recurra.errors.DataError, match=r"b\.parquet: its columns are who, y"):
        scoring.Scored.open(tmp_path, model)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(recurra.errors.DataError, match=r"b\.parquet: no Parquet file"):
        scoring.Scored.open(tmp_path, model)


@pytest.mark.parametrize("numbers", [np.int64, np.uint8])
def test_series_may_have_numbers_for_names(fitted, table, numbers):
    columns, folder = table
    numbered = columns | {"who": np.repeat(np.arange(len(LENGTHS))[::-1] + 3, LENGTHS).astype(numbers)}
    pq.write_table(pa.table(numbered), folder / "numbered.parquet", row_group_size=33)
    found = predicted(folder, fitted / "forecast.recurra", folder / "numbered.parquet")
    whole = open_model(fitted / "forecast.recurra").predict(numbered)
    assert found["series"] == whole["series"].astype(str).tolist()
    assert np.array_equal(found["q0.1"], whole["q0.1"])


def test_what_is_wrong_is_one_line_and_nothing_is_written(fitted, table):
    columns, folder = table
    out = folder / "out.parquet"
    out.write_bytes(b"as it was")
    bad = columns["y"].copy()
    bad[300] = np.inf
    twice = columns["time"].copy()
    twice[200] = twice[199]
    cases = [
        (columns | {"y": bad}, "row 300: the target 'y' is infinite"),
        (columns | {"time": twice}, "row 200: the time"),
        ({n: c for n, c in columns.items() if n != "x"}, "there is no past column 'x'"),
        ({n: c[:0] for n, c in columns.items()}, "no rows"),
        (columns | {"y": bad * np.nan, "x": bad * np.nan}, None),
    ]
    for content, said in cases:
        pq.write_table(pa.table(content), folder / "bad.parquet", row_group_size=64)
        arguments = ["predict", str(fitted / "forecast.recurra"), str(folder / "bad.parquet"), "--out", str(out)]
        result = CliRunner().invoke(app, arguments)
        if said is None:  # forecasts go on from rows without any value
            assert result.exit_code == 0
            continue
        assert said in str(result.exception)
        assert out.read_bytes() == b"as it was"
    assert not [name for name in folder.iterdir() if name.name.endswith(".partial")]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_ends_are_those_of_sequences_alone(cell):
    rng = np.random.default_rng(3)
    some = cells.get(cell)
    ops = [
        runtime.Recurrent(some, [Weights.random(some, 3, 7, rng=rng)]),
        runtime.Pool("mean"),
        runtime.Linear(rng.normal(size=(2, 7)).astype(np.float32)),
    ]
    program = runtime.Program(ops)
    xs = [rng.normal(size=(T, 3)).astype(np.float32) for T in (5, 130, 1, 77, 130, 2)]
    found = Ends(program).run([x[:-1] for x in xs], np.stack([x[-1] for x in xs]))
    for x, y in zip(xs, found, strict=True):
        assert np.array_equal(program.run(x)[-1], y)


def test_spreads_side_by_side_are_those_of_one_by_one():
    rng = np.random.default_rng(4)
    targets = [rng.normal(size=T).astype(np.float32) for T in (40, 7, 3, 91, 1, 30, 30, 12, 60, 5)]
    for target in targets:
        target[rng.random(len(target)) < 0.2] = np.nan
    names = [f"{k}" for k in range(len(targets))]
    anchor = Anchor(3, 10, 0.7, {"0": 0.2, "3": 1.5})
    together = anchor.spreads_of(names, targets)
    for name, target, spread in zip(names, targets, together, strict=True):
        assert np.array_equal(anchor.spreads_of([name], [target])[0], spread)
        live = anchor.live(name)
        for t, z in enumerate(target):
            live.push(t, z)
        assert live.spread == spread[-1]


def test_a_predictor_of_its_own_kind_is_asked_one_by_one(fitted):
    model = open_model(fitted / "label.recurra")
    asked = []

    class Own(ModelPredictor):
        def predict(self, sequence, start, stop):
            asked.append(sequence.name)
            return np.full((1, 2), 0.5)

    own = Own(model.task_, model.transform_, model.model_)
    given = long_table(LENGTHS, 5)
    pieces = [model._piece(s) for s in model._read(given, None, "who")]
    assert all((answer == 0.5).all() for _, answer in own.many(pieces))
    assert len(asked) == len(pieces)
