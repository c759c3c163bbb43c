"""Unlabelled rows and point sets for `PhysicsModel.fit`: sources, order, pairing with batches."""

from keras_physreg.unlabelled.samplers import UniformSampler as UniformSampler
