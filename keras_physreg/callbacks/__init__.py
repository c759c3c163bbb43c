"""Callbacks that steer, watch and stop the training of physics terms."""

from keras_physreg.callbacks.weight_scheduler import WeightScheduler as WeightScheduler
