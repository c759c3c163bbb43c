"""Rules by which jets pass through operations of `keras.ops` in functional models."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.derivatives import series
from keras_physreg.derivatives.jet import Jet
from keras_physreg.derivatives.layer_rules import concatenated

Rule = Callable[..., Jet]


def apply(operation: Any, args: tuple) -> Jet:
    """Returns the jet of an operation's result; its arguments may be jets."""
    name = type(operation).__name__
    if name in _ARITHMETIC:
        dtype = next(jet.value.dtype for jet in args if isinstance(jet, Jet))
        args = tuple(
            arg
            if isinstance(arg, Jet)
            else Jet.constant(ops.cast(ops.convert_to_tensor(arg), dtype))
            for arg in args
        )
    return _RULES[name](operation, *args)


def has_rule(operation: Any, args: tuple) -> bool:
    """Returns whether jets can pass through an operation."""
    kind = type(operation)
    if kind.__name__ not in _RULES or not kind.__module__.startswith("keras."):
        return False
    if kind.__name__ == "GetItem":
        return _keeps_rows(args[1])
    if kind.__name__ == "Concatenate":
        return operation.axis in (-1, 1)
    if kind.__name__ == "Gelu":
        return not operation.approximate
    if kind.__name__ == "Power":
        base, exponent = args
        is_number = isinstance(exponent, int | float | np.number)
        return isinstance(base, keras.KerasTensor) and is_number and exponent in (1, 2, 3, 4)
    return True


def is_transposable(operation: Any, args: tuple) -> bool:
    """Returns whether the rule of an operation also holds for tensors of shape `(columns, rows)`.

    Args:
        operation: An operation with a rule.
        args: Its arguments; those that are no numbers are tensors of the network.
    """
    if type(operation).__name__ in ("Concatenate", "GetItem"):
        return False
    return not any(len(getattr(arg, "shape", ())) for arg in keras.tree.flatten(args))


def _keeps_rows(key: Any) -> bool:
    """Returns whether an index of a tensor `(rows, columns)` takes all rows and a matrix."""
    if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[1], slice):
        return False
    return key[0] is Ellipsis or key[0] == slice(None)


def _by(function: series.Series) -> Rule:
    return lambda operation, jet: jet.compose(function)


def _divide(operation: Any, first: Jet, second: Jet) -> Jet:
    del operation
    return first * second.compose(series.reciprocal)


def _power(operation: Any, jet: Jet, exponent: Any) -> Jet:
    del operation
    result = jet
    for _ in range(int(exponent) - 1):
        result = result * jet
    return result


def _item(operation: Any, jet: Jet, key: Any) -> Jet:
    del operation
    return jet.linear(lambda c: c[key])


_ARITHMETIC = ("Add", "Divide", "Multiply", "Subtract", "TrueDivide")
_RULES: dict[str, Rule] = {
    "Add": lambda operation, first, second: first + second,
    "Concatenate": lambda operation, jets: concatenated(list(jets)),
    "Cos": _by(series.cosine),
    "Divide": _divide,
    "Exp": _by(series.exponential),
    "Gelu": _by(series.gelu),
    "GetItem": _item,
    "Multiply": lambda operation, first, second: first * second,
    "Negative": lambda operation, jet: -jet,
    "Power": _power,
    "Relu": _by(series.relu),
    "Sigmoid": _by(series.sigmoid),
    "Silu": _by(series.silu),
    "Sin": _by(series.sine),
    "Softplus": _by(series.softplus),
    "Square": _by(series.square),
    "Subtract": lambda operation, first, second: first - second,
    "Tanh": _by(series.tanh),
    "TrueDivide": _divide,
}
