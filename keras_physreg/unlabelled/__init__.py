"""Unlabelled rows for `PhysicsModel.fit`: sources, order, and pairing with labelled batches."""

from keras_physreg.unlabelled.samplers import UniformSampler as UniformSampler
