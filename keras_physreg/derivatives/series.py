"""Taylor series of activation functions: f(x), f'(x), f''(x) / 2!, ... up to order 4.

The derivatives are in closed form: of tanh and the logistic function as polynomials of their own
values, of the others by the product rule. Each series can be checked by repeated differentiation.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from itertools import count, pairwise
from typing import Any

import keras
from keras import ops

from keras_physreg.derivatives.jet import Series


def tanh(x: Any) -> Iterator[Any]:
    """Yields the coefficients of tanh."""
    y = ops.tanh(x)
    yield y
    slope = 1 - y * y
    yield slope
    yield -y * slope
    yield slope * (y * y - 1 / 3)
    yield slope * y * (2 / 3 - y * y)


def sigmoid(x: Any) -> Iterator[Any]:
    """Yields the coefficients of the logistic function."""
    y = ops.sigmoid(x)
    yield y
    slope, odd = y * (1 - y), 1 - 2 * y
    yield slope
    yield slope * odd / 2
    yield slope * (1 - 6 * slope) / 6
    yield slope * odd * (1 - 12 * slope) / 24


def sine(x: Any) -> Iterator[Any]:
    """Yields the coefficients of sin."""
    sin, cos = ops.sin(x), ops.cos(x)
    yield from (sin, cos, -sin / 2, -cos / 6, sin / 24)


def cosine(x: Any) -> Iterator[Any]:
    """Yields the coefficients of cos."""
    sin, cos = ops.sin(x), ops.cos(x)
    yield from (cos, -sin, -cos / 2, sin / 6, cos / 24)


def exponential(x: Any) -> Iterator[Any]:
    """Yields the coefficients of exp."""
    y = ops.exp(x)
    yield from (y, y, y / 2, y / 6, y / 24)


def softplus(x: Any) -> Iterator[Any]:
    """Yields the coefficients of log(1 + exp(x)), whose derivative is the logistic function."""
    yield ops.softplus(x)
    for order, coefficient in enumerate(sigmoid(x), start=1):
        yield coefficient / order


def silu(x: Any) -> Iterator[Any]:
    """Yields the coefficients of x sigmoid(x)."""
    yield ops.silu(x)
    for lower, coefficient in pairwise(sigmoid(x)):
        yield lower + x * coefficient


def gelu(x: Any) -> Iterator[Any]:
    """Yields the coefficients of x Phi(x), with Phi the normal distribution function."""
    square = x * x
    share = (1 + ops.erf(x / math.sqrt(2))) / 2
    yield x * share  # `ops.gelu` of float64 divides by the root of 2 in float32.
    density = ops.exp(-square / 2) / math.sqrt(2 * math.pi)
    yield share + x * density
    yield density * (2 - square) / 2
    yield density * x * (square - 4) / 6
    yield density * (7 * square - square * square - 4) / 24


def elu(x: Any) -> Iterator[Any]:
    """Yields the coefficients of x for x > 0 and of exp(x) - 1 elsewhere."""
    yield ops.elu(x)
    y = ops.exp(ops.minimum(x, 0))
    yield y
    for factor in (2, 6, 24):
        yield ops.where(x > 0, ops.zeros_like(y), y / factor)


def relu(x: Any) -> Iterator[Any]:
    """Yields the coefficients of max(x, 0); those beyond the first derivative are 0."""
    yield ops.relu(x)
    yield ops.cast(x > 0, x.dtype)


def square(x: Any) -> Iterator[Any]:
    """Yields the coefficients of x squared."""
    yield x * x
    yield 2 * x
    yield ops.ones_like(x)


def reciprocal(x: Any) -> Iterator[Any]:
    """Yields the coefficients of 1 / x."""
    inverse = 1 / x
    power = inverse
    for _ in count():
        yield power
        power = -power * inverse


_SERIES: dict[Any, Series] = {
    keras.activations.elu: elu,
    keras.activations.exponential: exponential,
    keras.activations.gelu: gelu,
    keras.activations.relu: relu,
    keras.activations.sigmoid: sigmoid,
    keras.activations.silu: silu,
    keras.activations.softplus: softplus,
    keras.activations.tanh: tanh,
    ops.cos: cosine,
    ops.exp: exponential,
    ops.relu: relu,
    ops.sigmoid: sigmoid,
    ops.silu: silu,
    ops.sin: sine,
    ops.softplus: softplus,
    ops.square: square,
    ops.tanh: tanh,
}


def series_of(activation: Callable | None) -> Series | None:
    """Returns the series of an activation function; `None` if it has no rule."""
    return _SERIES.get(activation) if isinstance(activation, Hashable) else None


def is_linear(activation: Callable | None) -> bool:
    """Returns whether an activation function is the identity."""
    return activation is None or activation is keras.activations.linear
