"""Adds known physics to a Keras model as named, weighted, scheduled and diagnosed loss terms."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_physreg import residuals
from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg.callbacks import GradientMonitor, TerminateOnNonFinite, WeightScheduler
from keras_physreg.constants.constant import Constant
from keras_physreg.derivatives import Derivatives
from keras_physreg.diagnosis import Diagnosis, Finding, Thresholds, diagnose
from keras_physreg.inspection import get_constants, get_term_weights, set_term_weights
from keras_physreg.layers import PhysicsRegularization
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.models.regularize import regularize
from keras_physreg.models.strip import strip_physics
from keras_physreg.plotting import plot_schedules
from keras_physreg.refinement import refine
from keras_physreg.schedules import (
    Chain,
    CosineRamp,
    GeometricRamp,
    GeometricStaircase,
    LinearRamp,
    Staircase,
)
from keras_physreg.sweep import (
    ReplicaHistory,
    ReplicaTrainer,
    SweepResult,
    TermVerdict,
    sanity_sweep,
)
from keras_physreg.terms.on_rows import on_rows
from keras_physreg.terms.scaled_loss import ScaledLoss
from keras_physreg.terms.term import PhysicsTerm
from keras_physreg.unlabelled import UniformSampler

if TYPE_CHECKING:
    from keras_physreg.tuner.hypermodel import PhysicsHyperModel
    from keras_physreg.tuner.pareto import ParetoFront, pareto_front
    from keras_physreg.tuner.replica_tuner import ReplicaTuner

__version__ = "0.2.0"

__all__ = [
    "Chain",
    "Constant",
    "CosineRamp",
    "Derivatives",
    "Diagnosis",
    "Finding",
    "GeometricRamp",
    "GeometricStaircase",
    "GradientMonitor",
    "LinearRamp",
    "ParetoFront",
    "PhysicsHyperModel",
    "PhysicsModel",
    "PhysicsRegularization",
    "PhysicsTerm",
    "ReplicaHistory",
    "ReplicaTrainer",
    "ReplicaTuner",
    "ScaledLoss",
    "Staircase",
    "SweepResult",
    "TermVerdict",
    "TerminateOnNonFinite",
    "Thresholds",
    "UniformSampler",
    "WeightScheduler",
    "diagnose",
    "get_constants",
    "get_term_weights",
    "on_rows",
    "pareto_front",
    "plot_schedules",
    "refine",
    "regularize",
    "residuals",
    "sanity_sweep",
    "set_term_weights",
    "strip_physics",
]

# These load on first use, because importing KerasTuner takes about as long as importing Keras.
_LOADED_ON_USE = {
    "ParetoFront": "keras_physreg.tuner.pareto",
    "PhysicsHyperModel": "keras_physreg.tuner.hypermodel",
    "ReplicaTuner": "keras_physreg.tuner.replica_tuner",
    "pareto_front": "keras_physreg.tuner.pareto",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "ReplicaTuner":
        needs_tensorflow("`ReplicaTuner`")
    return getattr(import_module(_LOADED_ON_USE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
