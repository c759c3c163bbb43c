"""Unlabelled rows beside the labelled ones of `PhysicsModel.fit`."""

from keras_physreg.unlabelled.samplers import UniformSampler as UniformSampler
