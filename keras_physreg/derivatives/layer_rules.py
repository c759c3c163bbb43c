"""Rules by which jets pass through Keras layers."""

from collections.abc import Callable
from functools import partial, reduce
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
    return (_TRANSPOSED_RULES if transposed else _RULES)[type(layer)](layer, *jets)


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
    return type(layer) in _TRANSPOSED_RULES


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
        result = result + _column_like(layer.bias, jet)
    return _activated(layer, result)


def _activated(layer: Any, jet: Jet) -> Jet:
    return jet if is_linear(layer.activation) else jet.compose(_series(layer.activation))


def _series(activation: Any) -> Any:
    found = series_of(activation)
    assert found is not None  # By `has_rule`.
    return found


def _has_series(activation: Any) -> bool:
    return is_linear(activation) or series_of(activation) is not None


def _rescaling(layer: Any, jet: Jet, like: Callable[[Any, Jet], Any]) -> Jet:
    return jet * like(layer.scale, jet) + like(layer.offset, jet)


def _normalization(layer: Any, jet: Jet, like: Callable[[Any, Jet], Any]) -> Jet:
    mean = like(layer.mean, jet)
    deviation = ops.maximum(ops.sqrt(like(layer.variance, jet)), keras.config.epsilon())
    return jet * deviation + mean if layer.invert else (jet - mean) * (1 / deviation)


def _like(value: Any, jet: Jet) -> Any:
    return ops.cast(ops.convert_to_tensor(value), jet.value.dtype)


def _column_like(value: Any, jet: Jet) -> Any:
    """Returns one value per column of a layer as a column, one value for all as it is."""
    tensor = _like(value, jet)
    return ops.reshape(tensor, (-1, 1)) if tensor.shape else tensor


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


# Rules that treat all elements alike.
_RULES_OF_ELEMENTS: dict[type, Rule] = {
    keras.layers.Activation: _activated,
    keras.layers.Add: _sum,
    keras.layers.Average: lambda layer, *jets: _sum(layer, *jets) * (1 / len(jets)),
    keras.layers.Dropout: _identity,
    keras.layers.ELU: lambda layer, jet: jet.compose(elu),
    keras.layers.Identity: _identity,
    keras.layers.Multiply: _product,
    keras.layers.ReLU: lambda layer, jet: jet.compose(relu),
    keras.layers.Subtract: _difference,
}
_RULES: dict[type, Rule] = _RULES_OF_ELEMENTS | {
    keras.layers.Concatenate: lambda layer, *jets: concatenated(list(jets)),
    keras.layers.Dense: _dense,
    keras.layers.Normalization: partial(_normalization, like=_like),
    keras.layers.Rescaling: partial(_rescaling, like=_like),
}
_TRANSPOSED_RULES: dict[type, Rule] = _RULES_OF_ELEMENTS | {
    keras.layers.Dense: _transposed_dense,
    keras.layers.Normalization: partial(_normalization, like=_column_like),
    keras.layers.Rescaling: partial(_rescaling, like=_column_like),
}
