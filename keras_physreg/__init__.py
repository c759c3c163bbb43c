"""Known physics as named, weighted, scheduled and diagnosed loss terms of a Keras model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_physreg import residuals as residuals
from keras_physreg.callbacks import GradientMonitor as GradientMonitor
from keras_physreg.callbacks import TerminateOnNonFinite as TerminateOnNonFinite
from keras_physreg.callbacks import WeightScheduler as WeightScheduler
from keras_physreg.constants.constant import Constant as Constant
from keras_physreg.diagnosis import Diagnosis as Diagnosis
from keras_physreg.diagnosis import Finding as Finding
from keras_physreg.diagnosis import Thresholds as Thresholds
from keras_physreg.diagnosis import diagnose as diagnose
from keras_physreg.inspection import get_constants as get_constants
from keras_physreg.inspection import get_term_weights as get_term_weights
from keras_physreg.inspection import set_term_weights as set_term_weights
from keras_physreg.layers.physics_regularization import (
    PhysicsRegularization as PhysicsRegularization,
)
from keras_physreg.models.physics_model import PhysicsModel as PhysicsModel
from keras_physreg.models.strip import regularize as regularize
from keras_physreg.models.strip import strip_physics as strip_physics
from keras_physreg.plotting import plot_schedules as plot_schedules
from keras_physreg.schedules import Chain as Chain
from keras_physreg.schedules import CosineRamp as CosineRamp
from keras_physreg.schedules import GeometricRamp as GeometricRamp
from keras_physreg.schedules import GeometricStaircase as GeometricStaircase
from keras_physreg.schedules import LinearRamp as LinearRamp
from keras_physreg.schedules import Staircase as Staircase
from keras_physreg.sweep import ReplicaHistory as ReplicaHistory
from keras_physreg.sweep import ReplicaTrainer as ReplicaTrainer
from keras_physreg.sweep import SweepResult as SweepResult
from keras_physreg.sweep import TermVerdict as TermVerdict
from keras_physreg.sweep import sanity_sweep as sanity_sweep
from keras_physreg.terms.term import PhysicsTerm as PhysicsTerm
from keras_physreg.unlabelled import UniformSampler as UniformSampler

if TYPE_CHECKING:
    from keras_physreg.tuner.hypermodel import PhysicsHyperModel as PhysicsHyperModel
    from keras_physreg.tuner.pareto import ParetoFront as ParetoFront
    from keras_physreg.tuner.pareto import pareto_front as pareto_front
    from keras_physreg.tuner.replica_tuner import ReplicaTuner as ReplicaTuner

__version__ = "0.1.0"

# KerasTuner takes about as long to load as Keras, so that its part loads on first use.
_LOADED_ON_USE = {
    "ParetoFront": "keras_physreg.tuner.pareto",
    "PhysicsHyperModel": "keras_physreg.tuner.hypermodel",
    "ReplicaTuner": "keras_physreg.tuner.replica_tuner",
    "pareto_front": "keras_physreg.tuner.pareto",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_ON_USE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_ON_USE})
