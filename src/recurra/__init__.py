"""Recurra: recurrent networks written as equations, trained fast on a CPU, understood, run live.

>>> import recurra
>>> recurra.cells.get("gru").gates
('r', 'z', 'n')
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recurra.imports import when_imported

if TYPE_CHECKING:
    from recurra import cells, compare, doctor, draw, engine, errors, keras, onnx, reference, runtime, torch
    from recurra.cells import Cell, cell
    from recurra.conversion import convert
    from recurra.engine import get_num_threads, set_num_threads
    from recurra.runtime import load, save_model
    from recurra.serve.client import connect, connect_async
    from recurra.tasks.captioning.captioner import Captioner
    from recurra.tasks.classification.classifier import Classifier
    from recurra.tasks.composition.composer import Composer
    from recurra.tasks.detection.detector import Detector
    from recurra.tasks.estimator import open_model
    from recurra.tasks.forecasting.forecaster import Forecaster
    from recurra.tasks.generation.generator import Generator
    from recurra.tasks.recommendation.recommender import Recommender
    from recurra.tasks.regression.regressor import Regressor
    from recurra.tasks.tagging.tagger import Tagger
    from recurra.tasks.trading.trader import Trader
    from recurra.tasks.translation.translator import Summarizer, Translator
    from recurra.weights import Weights

__version__ = "0.2.0"

# The public names and where they live; each is imported when it is first used.
_NAMES = {
    "Captioner": "recurra.tasks.captioning.captioner",
    "Cell": "recurra.cells",
    "Classifier": "recurra.tasks.classification.classifier",
    "Composer": "recurra.tasks.composition.composer",
    "Detector": "recurra.tasks.detection.detector",
    "Forecaster": "recurra.tasks.forecasting.forecaster",
    "Generator": "recurra.tasks.generation.generator",
    "Recommender": "recurra.tasks.recommendation.recommender",
    "Regressor": "recurra.tasks.regression.regressor",
    "Summarizer": "recurra.tasks.translation.translator",
    "Tagger": "recurra.tasks.tagging.tagger",
    "Trader": "recurra.tasks.trading.trader",
    "Transcriber": "recurra.tasks.transcription.transcriber",
    "Transducer": "recurra.tasks.transcription.transducer",
    "Translator": "recurra.tasks.translation.translator",
    "Weights": "recurra.weights",
    "cell": "recurra.cells",
    "cells": None,
    "compare": None,
    "connect": "recurra.serve.client",
    "connect_async": "recurra.serve.client",
    "convert": "recurra.conversion",
    "doctor": None,
    "draw": None,
    "engine": None,
    "errors": None,
    "get_num_threads": "recurra.engine",
    "keras": None,
    "load": "recurra.runtime",
    "onnx": None,
    "open_model": "recurra.tasks.estimator",
    "reference": None,
    "runtime": None,
    "save_model": "recurra.runtime",
    "set_num_threads": "recurra.engine",
    "torch": None,
}
__all__ = [
    "Captioner",
    "Cell",
    "Classifier",
    "Composer",
    "Detector",
    "Forecaster",
    "Generator",
    "Recommender",
    "Regressor",
    "Summarizer",
    "Tagger",
    "Trader",
    "Transcriber",
    "Transducer",
    "Translator",
    "Weights",
    "cell",
    "cells",
    "compare",
    "connect",
    "connect_async",
    "convert",
    "doctor",
    "draw",
    "engine",
    "errors",
    "get_num_threads",
    "keras",
    "load",
    "onnx",
    "open_model",
    "reference",
    "runtime",
    "save_model",
    "set_num_threads",
    "torch",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'recurra' has no attribute {name!r}; it has {', '.join(_NAMES)}")
    home = _NAMES[name]
    return importlib.import_module(f"recurra.{name}") if home is None else getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*_NAMES, "__version__"]


def _register(torch: ModuleType) -> None:
    """What torch saved with our operator in it, a trace or a compiled package, opens where recurra is imported."""
    importlib.import_module("recurra.torch.operator")


when_imported("torch", _register)
