"""Rules by which jets pass through Keras layers."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import keras
from keras import ops

from keras_physreg.derivatives.jet import Jet
from keras_physreg.derivatives.series import elu, is_linear, relu, series_of

Rule = Callable[..., Jet]


def apply(layer: keras.layers.Layer, jets: list[Jet], transposed: bool = False) -> Jet:
    """Returns the jet of a layer's output, for the jets of its inputs.

    Args:
        layer: The layer.
        jets: The jets of its inputs.
        transposed: Whether tensors have the shape `(columns, rows)`.
    """
    if transposed and isinstance(layer, keras.layers.Dense):
        return _transposed_dense(layer, *jets)
    return _RULES[type(layer)](layer, *jets)


def has_rule(layer: Any) -> bool:
    """Returns whether jets can pass through a layer, in inference at least."""
    if type(layer) not in _RULES or layer.activity_regularizer is not None:
        return False
    if isinstance(layer, keras.layers.Dense):
        plain = getattr(layer, "quantization_mode", None) is None
        return plain and _has_series(layer.activation)
    if isinstance(layer, keras.layers.Activation):
        return _has_series(layer.activation)
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    if isinstance(layer, keras.layers.ELU):
        return layer.alpha == 1
    if isinstance(layer, keras.layers.Concatenate):
        return layer.axis in (-1, 1)
    return True


def is_transposable(layer: keras.layers.Layer) -> bool:
    """Returns whether the rule of a layer also holds for tensors of shape `(columns, rows)`."""
    return type(layer) in _TRANSPOSABLE


def is_random(layer: Any) -> bool:
    """Returns whether a layer with a rule is the identity in inference only."""
    return isinstance(layer, keras.layers.Dropout)


def concatenated(jets: list[Jet]) -> Jet:
    """Returns the jet of tensors of shape `(rows, columns)` joined along their columns."""
    zeros = [ops.zeros_like(jet.value) for jet in jets]

    def joined(index: str) -> Any:
        parts = [
            jet.coefficients[index] + zero if index in jet.coefficients else zero
            for jet, zero in zip(jets, zeros, strict=True)
        ]
        return ops.concatenate(parts, axis=-1)

    indices = {index for jet in jets for index in jet.coefficients}
    needed = frozenset().union(*(jet.needed for jet in jets))
    return Jet({index: joined(index) for index in sorted(indices)}, needed)


def _dense(layer: Any, jet: Jet) -> Jet:
    kernel = _like(layer.kernel, jet)
    result = jet.linear(lambda c: ops.matmul(c, kernel))
    if layer.use_bias:
        result = result + _like(layer.bias, jet)
    return _activated(layer, result)


def _transposed_dense(layer: Any, jet: Jet) -> Jet:
    kernel = ops.transpose(_like(layer.kernel, jet))
    result = jet.linear(lambda c: ops.matmul(kernel, c))
    if layer.use_bias:
        result = result + ops.expand_dims(_like(layer.bias, jet), -1)
    return _activated(layer, result)


def _activated(layer: Any, jet: Jet) -> Jet:
    return jet if is_linear(layer.activation) else jet.compose(_series(layer.activation))


def _series(activation: Any) -> Any:
    found = series_of(activation)
    assert found is not None  # By `has_rule`.
    return found


def _has_series(activation: Any) -> bool:
    return is_linear(activation) or series_of(activation) is not None


def _rescaling(layer: Any, jet: Jet) -> Jet:
    return jet * _like(layer.scale, jet) + _like(layer.offset, jet)


def _normalization(layer: Any, jet: Jet) -> Jet:
    mean = _like(layer.mean, jet)
    deviation = ops.maximum(ops.sqrt(_like(layer.variance, jet)), keras.config.epsilon())
    return jet * deviation + mean if layer.invert else (jet - mean) * (1 / deviation)


def _like(value: Any, jet: Jet) -> Any:
    return ops.cast(ops.convert_to_tensor(value), jet.value.dtype)


def _identity(layer: Any, jet: Jet) -> Jet:
    del layer
    return jet


def _sum(layer: Any, *jets: Jet) -> Jet:
    del layer
    return reduce(Jet.__add__, jets)


def _difference(layer: Any, first: Jet, second: Jet) -> Jet:
    del layer
    return first - second


def _product(layer: Any, *jets: Jet) -> Jet:
    del layer
    return reduce(Jet.__mul__, jets)


_RULES: dict[type, Rule] = {
    keras.layers.Activation: _activated,
    keras.layers.Add: _sum,
    keras.layers.Average: lambda layer, *jets: _sum(layer, *jets) * (1 / len(jets)),
    keras.layers.Concatenate: lambda layer, *jets: concatenated(list(jets)),
    keras.layers.Dense: _dense,
    keras.layers.Dropout: _identity,
    keras.layers.ELU: lambda layer, jet: jet.compose(elu),
    keras.layers.Identity: _identity,
    keras.layers.Multiply: _product,
    keras.layers.Normalization: _normalization,
    keras.layers.ReLU: lambda layer, jet: jet.compose(relu),
    keras.layers.Rescaling: _rescaling,
    keras.layers.Subtract: _difference,
}
# Dense has a rule of its own, the others treat all elements alike.
_TRANSPOSABLE = frozenset(
    {
        keras.layers.Activation,
        keras.layers.Add,
        keras.layers.Average,
        keras.layers.Dense,
        keras.layers.Dropout,
        keras.layers.ELU,
        keras.layers.Identity,
        keras.layers.Multiply,
        keras.layers.ReLU,
        keras.layers.Subtract,
    }
)
