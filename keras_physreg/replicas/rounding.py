"""Which difference between two computations of the same numbers rounding explains."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf

SHARE_OF_NOISE = 10.0  # How far rounding may go beyond what a rounding of the weights does.
ROUNDINGS = 8.0  # Of the values themselves, at their own scale.


def precision(model: keras.Model) -> float:
    """Returns the relative precision in which a model computes."""
    kinds = {layer.compute_dtype for layer in [model, *model.layers]} | {"float32"}
    floating = [kind for kind in kinds if keras.backend.is_float_dtype(kind)]
    coarsest = max(float(tf.experimental.numpy.finfo(kind).eps) for kind in floating)
    if tf.config.list_physical_devices("GPU") and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    ):
        coarsest = max(coarsest, 2.0**-11)  # Of the products in matrix multiplications.
    return coarsest


def rounded(values: Sequence[Any], eps: float, rng: np.random.Generator) -> list[Any]:
    """Returns the values as another order of roundings might have left them."""
    return [_rounded(np.asarray(value), eps, rng) for value in values]


def allowed(value: np.ndarray, noise: float, eps: float) -> float:
    """Returns how far another computation of an array may be off by rounding.

    Args:
        value: The array.
        noise: The largest difference that roundings of the start made.
        eps: The relative precision of the computation.
    """
    if value.dtype.kind not in "fV":
        return 0.0
    finite = np.isfinite(value.astype("float64"))
    scale = np.max(np.abs(value), initial=0.0, where=finite)
    return SHARE_OF_NOISE * noise + ROUNDINGS * eps * float(scale)


def distance(value: Any, other: Any) -> float:
    """Returns the largest difference of two arrays; infinite where they do not match."""
    value, other = np.asarray(value, "float64"), np.asarray(other, "float64")
    if value.shape != other.shape:
        return np.inf
    same = (value == other) | ~(np.isfinite(value) | np.isfinite(other))
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(same, 0.0, np.abs(value - other))
    return float(np.max(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf), initial=0.0))


def _rounded(value: np.ndarray, eps: float, rng: np.random.Generator) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    return (value * (1.0 + eps * rng.standard_normal(value.shape))).astype(value.dtype)
