"""A published streaming model with its real weights, silero-vad of PyPI, in a live session of ours."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
if find_spec("silero_vad") is None:
    pytest.skip("silero-vad is not installed: pip install --no-deps silero-vad", allow_module_level=True)

from recurra.onnx import LiveGraph

PATH = Path(find_spec("silero_vad").origin).parent / "data" / "silero_vad.onnx"
RATE = np.array(16000, np.int64)
WINDOW, CONTEXT, ROWS = 512, 64, 100


def windows() -> np.ndarray:
    """Noise, a buzz, noise: [T, 1, context and window], as silero-vad's own wrapper cuts them."""
    rng = np.random.default_rng(2)
    x = 0.003 * rng.standard_normal(CONTEXT + 12 * WINDOW)
    x[2000:4500] += 0.3 * ((np.arange(2500) * 130 / 16000) % 1 - 0.5)
    cuts = [x[at : at + CONTEXT + WINDOW] for at in range(0, 12 * WINDOW, WINDOW)]
    return np.stack(cuts)[:, None].astype(np.float32)


def test_it_is_onnxruntimes_goes_on_and_runs_a_hundred_streams() -> None:
    runtime = pytest.importorskip("onnxruntime")
    x = windows()
    live = LiveGraph(PATH, fixed={"sr": RATE})
    begun = live.fork()
    found = np.concatenate([live.step(one) for one in x])
    session, state, want = runtime.InferenceSession(str(PATH)), np.zeros((2, 1, 128), np.float32), []
    for one in x:
        output, state = session.run(None, {"input": one, "state": state, "sr": RATE})
        want.append(output)
    np.testing.assert_allclose(found, np.concatenate(want), atol=2e-6)
    assert np.ptp(found) > 1e-3
    for k, one in enumerate(x[:5]):  # forked, and restored in between
        assert begun.step(one).tobytes() == found[k].tobytes()
    other = LiveGraph(PATH, fixed={"sr": RATE})
    other.restore(begun.snapshot())
    assert other.step(x[5]).tobytes() == begun.fork().step(x[5]).tobytes() == found[5].tobytes()
    many = LiveGraph(PATH, fixed={"sr": RATE}, rows=ROWS)
    late = np.concatenate([x[:1].repeat(ROWS - 1, 1), x[3:4]], 1)[0]
    assert many.step(late)[:-1].tobytes() == found[:1].repeat(ROWS - 1).tobytes()
    for k in (1, 2):
        assert many.step(x[k].repeat(ROWS, 0))[0].tobytes() == found[k].tobytes()
