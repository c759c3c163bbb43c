"""Callbacks that set term weights, log term gradients, and stop at losses that are not finite."""

from keras_physreg.callbacks.gradient_monitor import GradientMonitor as GradientMonitor
from keras_physreg.callbacks.terminate_on_non_finite import (
    TerminateOnNonFinite as TerminateOnNonFinite,
)
from keras_physreg.callbacks.weight_scheduler import WeightScheduler as WeightScheduler
