"""Limits of the differences that rounding can make between two computations of the same values."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.owners import with_sublayers

EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
MAX_TIMES_NOISE = 10.0  # of the difference that rounding of the weights makes
MAX_ROUNDINGS = 8.0  # of a value, at its own scale


def precision(model: keras.Model) -> float:
    """Returns the relative precision in which a model computes."""
    kinds = {layer.compute_dtype for layer in with_sublayers(model)} | {"float32"}
    coarsest = max(EPS.get(kind, 0.0) for kind in kinds)
    if tf.config.list_physical_devices("GPU") and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    ):
        coarsest = max(coarsest, 2.0**-11)  # TensorFloat-32 in matrix multiplications.
    return coarsest


def rounded(values: Sequence[Any], eps: float, rng: np.random.Generator) -> list[Any]:
    """Returns the values with random relative errors of the size of rounding."""
    return [_rounded(np.asarray(value), eps, rng) for value in values]


def allowed(value: np.ndarray, change: np.ndarray, noise: float, eps: float) -> float:
    """Returns the largest difference that rounding explains between two computations of an array.

    The change since the start has the precision of the computation, the array that of its dtype.

    Args:
        value: The array.
        change: Its change since the start.
        noise: The largest difference that rounding of the start made to the change.
        eps: The relative precision of the computation.
    """
    if not _is_real(value):
        return 0.0
    own = EPS[str(value.dtype)]
    rounding = max(eps, own) * _scale(change) + own * _scale(value)
    return MAX_TIMES_NOISE * noise + MAX_ROUNDINGS * rounding


def change(value: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns the change of an array since the start; arrays of other kinds than floats as is."""
    if not _is_real(value):
        return value
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(value, "float64") - np.asarray(start, "float64")


def distance(value: Any, other: Any) -> float:
    """Returns the largest difference of two arrays; infinity if shapes or finiteness differ."""
    value, other = np.asarray(value, "float64"), np.asarray(other, "float64")
    if value.shape != other.shape:
        return np.inf
    same = (value == other) | ~(np.isfinite(value) | np.isfinite(other))
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(same, 0.0, np.abs(value - other))
    return float(np.max(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf), initial=0.0))


def _scale(value: np.ndarray) -> float:
    value = np.abs(np.asarray(value, "float64"))
    return float(np.max(value, initial=0.0, where=np.isfinite(value)))


def _is_real(value: np.ndarray) -> bool:
    return keras.backend.is_float_dtype(str(value.dtype))


def _rounded(value: np.ndarray, eps: float, rng: np.random.Generator) -> np.ndarray:
    if not _is_real(value):
        return value
    return (value * (1.0 + eps * rng.standard_normal(value.shape))).astype(value.dtype)
