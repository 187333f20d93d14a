"""Programs: several of them in a model and its file, with named inputs."""

from __future__ import annotations

import numpy as np
import pytest

from recurra import cells
from recurra.errors import ModelFileError, SessionError, ShapeError
from recurra.runtime import Forecast, Linear, Model, Program, check_parity, load
from recurra.runtime.parity import random_input
from runtime.networks import F, forecast_head, linear, recurrent, same, sample


def pair() -> Model:
    """An encoder, and a decoder of other widths."""
    encoder = [recurrent(cells.gru, 3, 9), linear(5, 9)]
    return Model(programs={"encoder": encoder, "decoder": Program([recurrent(cells.lstm, 2, 7), linear(4, 7)])})


def test_programs_run_by_themselves() -> None:
    model = pair()
    x, y = (np.ones((6, 2, n), F) for n in (3, 2))
    encoder, decoder = model.programs.values()
    assert same(encoder.run(x), Model(encoder.ops).run(x))
    assert same(model.session(batch=2, program="decoder").run(y), Model(decoder.ops).run(y))
    sessions = [decoder.session(), decoder.session()]
    assert same(decoder.step_many(sessions, y[0]), decoder.run(y)[0])
    assert not any(check_parity(decoder, y)["differing"].values())
    assert repr(model) == (
        "<model of encoder: <program of gru, linear: 3 in, 5 out>, decoder: <program of lstm, linear: 2 in, 4 out>>"
    )


def test_a_sample_that_is_too_large_is_not_made() -> None:
    with pytest.raises(ShapeError, match="a sample of 3 rows of 1180591620717411303424 steps of 3 numbers, expected"):
        random_input(Model(pair().programs["encoder"].ops), 1 << 70, 3)


def test_a_file_holds_all_programs(tmp_path) -> None:
    model = pair()
    assert next(iter(model.arrays())) == "encoder.layers.0.W"
    model.save(tmp_path / "m.recurra")
    again = load(tmp_path / "m.recurra")
    assert list(again.programs) == ["encoder", "decoder"]
    assert again.fingerprint == model.fingerprint
    assert again.fingerprint not in {p.fingerprint for p in again.programs.values()}
    x = np.ones((4, 2), F)
    assert same(again.program("decoder").run(x), model.program("decoder").run(x))


def test_a_changed_number_of_any_program_is_noticed(tmp_path) -> None:
    model = pair()
    other = Model(programs=pair().programs)
    ops = other.programs["decoder"].ops
    other.programs["decoder"] = Program([ops[0], Linear(ops[1].W * 2, ops[1].b)])
    assert other.fingerprint != model.fingerprint
    model.save(tmp_path / "m.recurra")
    content = bytearray((tmp_path / "m.recurra").read_bytes())
    content[-2] ^= 64
    (tmp_path / "m.recurra").write_bytes(content)
    with pytest.raises(ModelFileError, match="the file is damaged"):
        load(tmp_path / "m.recurra")


def test_a_snapshot_belongs_to_its_program() -> None:
    model = pair()
    saved = model.session(program="encoder").snapshot()
    pair().session(program="encoder").restore(saved)
    with pytest.raises(SessionError, match="restore: the snapshot is of another model"):
        model.session(program="decoder").restore(saved)
    decoder = model.program("decoder")
    with pytest.raises(SessionError, match=r"sessions\[0\] is a session of another model"):
        decoder.step_many([model.session(program="encoder")], np.ones((1, 2), F))


def test_what_is_no_model() -> None:
    model = pair()
    for call in (model.session, lambda: model.run(np.ones((2, 3), F)), lambda: model.input_size):
        with pytest.raises(ShapeError, match="a model has no program 'main', expected one of: encoder, decoder"):
            call()
    with pytest.raises(ShapeError, match="expected either its ops or its programs"):
        Model()
    with pytest.raises(ShapeError, match="expected either its ops or its programs"):
        Model([linear(1, 1)], programs={"main": [linear(1, 1)]})
    with pytest.raises(ShapeError, match="it has no program, expected at least one"):
        Model(programs={})
    with pytest.raises(ShapeError, match=r"a program is called 'a\.b', expected small letters"):
        Model(programs={"a.b": [linear(1, 1)]})


def test_inputs_by_name() -> None:
    head = forecast_head(5, N=4, F=2, S=1)
    main = Program([linear(5, 3), head], inputs={"x": 3, "future": 12})
    assert main.inputs == Program([linear(5, 3), head]).inputs
    assert main.input_size == 15
    x = sample(Model(programs={"main": main}), 6, 2)
    want = Program([head]).run(
        np.concatenate([Program([linear(5, 3)]).run(np.ascontiguousarray(x[..., :3])), x[..., 3:]], -1)
    )
    assert same(main.run(x), want)


class Late(Forecast):
    """A head that reads an input of another name."""

    kind = "late"

    @property
    def reads(self):
        return {"later": super().reads["future"]}

    def add_to(self, network, width, offsets) -> None:
        arrays = [getattr(self, name) for name in self.shapes]
        network.add("forecast", arrays, [self.middle, offsets["later"]], width)


def test_inputs_lie_in_a_row_in_their_order() -> None:
    """Two heads one after the other, each with an input of its own, given in either order."""
    first, last = forecast_head(5, N=4, F=2, S=1), forecast_head(16, N=3, F=1, S=2)
    late = Late(last.levels, *last.arrays().values())
    one = Program([first, late])
    assert one.inputs == {"x": 5, "future": 12, "later": 9}
    other = Program([first, late], {"x": 5, "later": 9, "future": 12})
    assert one.fingerprint != other.fingerprint
    x = sample(Model(programs={"main": one}), 6, 2)
    turned = np.concatenate([x[..., :5], x[..., 17:], x[..., 5:17]], -1)
    assert same(one.run(x), other.run(turned))
    assert np.abs(one.run(x) - other.run(x)).max() > 0.1
