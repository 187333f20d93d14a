"""One exception tree. Every message says what failed, what it got, what it expected and the cure."""

from __future__ import annotations

from importlib.util import find_spec


class RecurraError(Exception):
    """The base of every error that Recurra raises on purpose."""


class CellError(RecurraError, ValueError):
    """The equations of a cell are ill-formed; the message names the line."""


class ShapeError(RecurraError, ValueError):
    """An array has the wrong shape, layout, length or value range."""


class DtypeError(RecurraError, TypeError):
    """An array has a dtype that the call does not take."""


class IsaError(RecurraError, RuntimeError):
    """`RECURRA_ISA` names an instruction set that is unknown or that this machine lacks."""


class GpuError(RecurraError, RuntimeError):
    """A cell's kernels cannot run on a GPU: there is none, it is too old, or its memory is too small."""


class ConversionError(RecurraError, RuntimeError):
    """A converted model does not compute what it computed before; nothing was changed."""


class MissingExtraError(RecurraError, ImportError):
    """An optional dependency is not installed; the message has the pip line that installs it."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs {package}, which is not installed: pip install 'recurra[{extra}]'")


# What packages are called where that is not the name of their module.
PACKAGES = {
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "matplotlib": "Matplotlib",
    "jinja2": "Jinja2",
    "scipy": "SciPy",
    "optuna": "Optuna",
    "kaldi_native_fbank": "kaldi-native-fbank",
    "PIL": "Pillow",
}


def need(what: str, *modules: str, extra: str) -> None:
    """Raise, before anything costs time, unless all these modules are installed; none is imported.

    Raises:
        MissingExtraError: one is not.

    >>> need("a table", "csv", extra="data")
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(what, PACKAGES.get(module, module), extra)


class ModelFileError(RecurraError, ValueError):
    """A model file cannot be read: truncated, foreign, newer than this program, or inconsistent."""


class ExportError(RecurraError, ValueError):
    """A module cannot be exported; the message names the layer."""


class SessionError(RecurraError, RuntimeError):
    """A session cannot do what was asked of it: a step of a network that reads whole sequences, a foreign snapshot."""


class DataError(RecurraError, ValueError):
    """A table, or a row of a stream, is not what was expected; the message names the file, the line or the column."""


class CompareError(RecurraError, ValueError):
    """A comparison cannot be done as asked: a setting, a candidate, or a folder of another comparison."""


class LeakageError(RecurraError, ValueError):
    """The data would tell a model what it is to predict: a target in disguise, or windows on both sides of a split."""


class OnnxError(RecurraError, ValueError):
    """An ONNX model is malformed, or has what Recurra does not know; the message names the node."""


class DrawError(RecurraError, ValueError):
    """A picture cannot be drawn as asked: an unknown thing, task, theme or file ending, or no steps."""


class TrainingError(RecurraError, RuntimeError):
    """Training cannot go on: the loss is no longer a number."""


class CheckpointError(RecurraError, ValueError):
    """A checkpoint cannot be read, or belongs to another run."""


class DoctorError(RecurraError, ValueError):
    """The doctor cannot examine this: no recurrent layer, no steps, a loss without a gradient, data that do not fit."""


class SettingError(RecurraError, ValueError):
    """A parameter of a task is out of range or unknown; the message names it."""


class ClusterError(RecurraError, RuntimeError):
    """A cluster cannot be reached, is too small, or has lost what it worked on."""


class NotFittedError(RecurraError, RuntimeError):
    """Something was asked of a task's model before `fit` or `load`."""
