"""Refinement of a trained model: quasi-Newton steps on all rows at once."""

from keras_physreg.refinement.refine import refine as refine
