"""Partial derivatives of a network by its inputs, for differential equations."""

from keras_physreg.derivatives.layer import Derivatives as Derivatives
