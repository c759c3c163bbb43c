"""Derivatives of activation functions, and of a network of one layer, in NumPy."""

import math

import numpy as np
from keras import ops
from numpy.polynomial import Polynomial, hermite_e


def _of_own_value(value, slope):
    """Derivatives of a function y whose slope is the polynomial `slope` of y, by the chain rule."""

    def derivative(x, order):
        polynomial = Polynomial([0.0, 1.0])
        for _ in range(order):
            polynomial = polynomial.deriv() * Polynomial(slope)
        return polynomial(value(x))

    return derivative


def _logistic(x):
    return 1 / (1 + np.exp(-x))


tanh = _of_own_value(np.tanh, [1.0, 0.0, -1.0])
sigmoid = _of_own_value(_logistic, [0.0, 1.0, -1.0])


def normal(x, order):
    """The normal distribution function and its derivatives, by Hermite polynomials."""
    if not order:
        return np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2)(x)
    hermite = hermite_e.hermeval(x, [0.0] * (order - 1) + [1.0])
    return (-1) ** (order - 1) * hermite * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _times_x(function):
    """Derivatives of x times a function, by Leibniz' rule."""
    return lambda x, order: (
        x * function(x, order) + (order * function(x, order - 1) if order else 0.0)
    )


def softplus(x, order):
    return sigmoid(x, order - 1) if order else np.log1p(np.exp(x))


def elu(x, order):
    above = [x, np.ones_like(x), *[np.zeros_like(x)] * 3][order]
    return np.where(x > 0, above, np.exp(x) - (order == 0))


def relu(x, order):
    return [np.maximum(x, 0), (x > 0) * 1.0, *[np.zeros_like(x)] * 3][order]


# By what a user gives as `activation`.
ACTIVATIONS = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "silu": _times_x(sigmoid),
    "gelu": _times_x(normal),
    "exponential": lambda x, order: np.exp(x),
    "elu": elu,
    "relu": relu,
    ops.sin: lambda x, order: np.sin(x + order * math.pi / 2),
    ops.cos: lambda x, order: np.cos(x + order * math.pi / 2),
    ops.square: lambda x, order: [x * x, 2 * x, 2 + 0 * x, 0 * x, 0 * x][order],
}


def derivative(activation, weights, z, letters):
    """A derivative of a network of one hidden layer with inputs (x, t).

    Args:
        activation: Function `(x, order)`.
        weights: Kernel and bias of the hidden layer and of the linear output layer.
        z: The points, of shape `(rows, 2)`.
        letters: The derivative, "" for the output.
    """
    kernel, bias, kernel_out, bias_out = weights
    factors = np.prod([kernel["xt".index(letter)] for letter in letters], axis=0)
    hidden = activation(z @ kernel + bias, len(letters)) * factors
    return hidden @ kernel_out + (0 if letters else bias_out)
