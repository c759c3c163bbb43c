"""The tuner search: KerasTuner over term weights, ramps and the user's own hyperparameters."""

from keras_physreg.tuner.hypermodel import PhysicsHyperModel as PhysicsHyperModel
