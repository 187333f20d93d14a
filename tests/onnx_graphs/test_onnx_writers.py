"""A translator in ONNX: its programs, run by ONNX Runtime alone, write what it writes."""

from __future__ import annotations

import numpy as np
import pytest

import recurra
from recurra.errors import ExportError
from recurra.onnx import export
from recurra.runtime.beam import Limits
from recurra.runtime.writer import Writer
from runtime.test_beam import BEGIN, END, WRITERS, WRITTEN, places_of, sources

F = np.float32


@pytest.mark.parametrize("kind", list(WRITERS))
def test_onnx_runtime_writes_the_same(kind, tmp_path) -> None:
    """Encoder, memory, start, and the decoder step by step, whose states and memory are inputs and outputs."""
    import onnxruntime

    made: Writer = WRITERS[kind][1]
    files, sessions = {n: tmp_path / f"{n}.onnx" for n in made.model.programs}, {}
    for name, path in files.items():
        report = export(made.model, path, program=name)
        assert report["difference"] < 1e-4
        sessions[name] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(name, x, state=()):
        names = [o.name for o in sessions[name].get_outputs()]
        wanted = {i.name: i.shape for i in sessions[name].get_inputs()}
        zeros = {n: np.zeros((1, shape[1]), F) for n, shape in wanted.items() if n != "x"}
        y, *states = sessions[name].run(names, {"x": x, **zeros, **dict(state)})
        return y, {n.removesuffix(".next"): a for n, a in zip(names[1:], states, strict=True)}

    for source, places in zip(sources(4, 11), places_of(sources(4, 11)), strict=True):
        y, _ = run("encoder", source[:, None, None])
        starts, _ = run("start", y[: made.wait or len(y)])
        memory, _ = run("memory", y)
        state = dict(zip(made.begins(source, places), [None] * 99, strict=False))
        want = made.begins(source, places)
        at = 0
        for name in state:
            if name.rpartition(".")[2] in ("h", "c"):
                state[name], at = starts[-1, :, at : at + want[name].size], at + want[name].size
        attend = next(op for op in made.decoder.ops if op.kind == "attend")
        place = made.decoder.ops.index(attend)
        held = attend.memory(np.ascontiguousarray(memory[:, 0]), f"layers.{place}.") | made.copied(places)
        state = {name: a if a is not None else held[name][None] for name, a in state.items()}
        found, last = [], BEGIN
        x = np.zeros((1, 1, made.decoder.input_size), F)
        for _ in range(9):
            x[..., 0] = last if last < WRITTEN else 0
            y, state = run("decoder", x, state)
            p, x[..., 1:] = (
                y[0, 0, : made.decoder.output_size - x.shape[-1] + 1].copy(),
                y[..., y.shape[-1] - x.shape[-1] + 1 :],
            )
            p[BEGIN] = 0
            last = int(p.argmax())
            if last == END:
                break
            found.append(last)
        ((best, *_),) = made.write([source], Limits(BEGIN, END, beam=1, most=9), [places])
        assert tuple(found) == best.symbols


def test_a_program_is_named(tmp_path) -> None:
    with pytest.raises(ExportError, match="the programs encoder, memory, start, decoder, expected the name of one"):
        export(WRITERS["plain"][1].model, tmp_path / "all.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(recurra.errors.RecurraError, match="program"):
        export(WRITERS["plain"][1].model, tmp_path / "none.onnx", program="none")
