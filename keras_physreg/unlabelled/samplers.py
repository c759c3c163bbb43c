"""Samplers of unlabelled rows: collocation points, drawn while the model trains."""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.unlabelled.designs import check_design, latin_hypercube, sobol


class UniformSampler:
    """Draws points from a box: for `fit(points=...)` and `fit(unlabelled=...)`.

    The points are a function of seed and step alone: a resumed or repeated run gets the same
    points.

    Args:
        low: Lower bounds in the units of the model's input, of shape `(features, ...)`; a dict,
            list or tuple of them for a structured input.
        high: Upper bounds, likewise. Equal bounds fix a coordinate, for points on a side of the
            box.
        seed: Integer >= 0.
        every: Number of steps for which the points stay the same: 1 draws new points in each step,
            the number of steps per epoch draws new points in each epoch.
        dtype: Dtype of the points, which must be that of `x`; `None` for `keras.config.floatx()`.
        design: How the points of a step are spread. `"random"`: each is drawn alone.
            `"latin_hypercube"`: each of n equal intervals of a coordinate holds one of n points.
            `"sobol"`: a scrambled Sobol sequence, even in all coordinates together, and best with a
            power of 2 of points; it needs SciPy.

    Raises:
        ImportError: If `design="sobol"` and SciPy is not installed.
        TypeError: If `seed` or `every` is not an integer.
        ValueError: If the bounds differ in structure or shape, are not finite or not in order,
            `seed` or `every` is too small, `dtype` is not floating, or `design` is unknown.

    Example:
    >>> import keras_physreg as kp
    >>> sampler = kp.UniformSampler([0.0, -1.0], [2.0, 1.0], seed=7)
    >>> sampler(step=0, batch=3).shape
    (3, 2)
    >>> bool((sampler(0, 3) == sampler(0, 3)).all()), bool((sampler(0, 3) == sampler(1, 3)).any())
    (True, False)
    """

    def __init__(
        self,
        low: Any,
        high: Any,
        seed: int = 0,
        every: int = 1,
        dtype: str | None = None,
        design: str = "random",
    ) -> None:
        self.low, self.high = _as_bounds(low), _as_bounds(high)
        _check_bounds(self.low, self.high)
        self.seed, self.every = whole_number("seed", seed, 0), whole_number("every", every)
        self.dtype = _float_type(keras.config.floatx() if dtype is None else dtype)
        self.design = check_design(design)

    def __call__(self, step: int, batch: int) -> Any:
        """Returns the points of a step.

        Args:
            step: Number of steps that the optimizer took before.
            batch: Number of points.

        Returns:
            An array of shape `(batch, features, ...)`, or a structure of them like `low`.
        """
        rng = np.random.default_rng([self.seed, int(step) // self.every])

        def draw(low: np.ndarray, high: np.ndarray) -> np.ndarray:
            return rng.uniform(low, high, (batch, *low.shape)).astype(self.dtype)

        if self.design == "random":
            return keras.tree.map_structure(draw, self.low, self.high)
        lows, highs = keras.tree.flatten(self.low), keras.tree.flatten(self.high)
        spread = latin_hypercube if self.design == "latin_hypercube" else sobol
        unit = spread(rng, batch, sum(low.size for low in lows))
        ends = np.cumsum([low.size for low in lows])[:-1]
        parts = [
            (low + part.reshape(batch, *low.shape) * (high - low)).astype(self.dtype)
            for part, low, high in zip(np.split(unit, ends, axis=1), lows, highs, strict=True)
        ]
        return keras.tree.pack_sequence_as(self.low, parts)


def _float_type(dtype: Any) -> str:
    with contextlib.suppress(ValueError, TypeError):
        name = keras.backend.standardize_dtype(dtype)
        if keras.backend.is_float_dtype(name):
            return name
    raise ValueError(
        f"`dtype` of a sampler must be a float type, such as 'float32'. {received('dtype', dtype)}"
    )


def _as_bounds(bounds: Any) -> Any:
    """Returns the bounds as arrays, in their structure; a list of numbers becomes one array."""
    if isinstance(bounds, dict):
        return {key: _as_bounds(value) for key, value in bounds.items()}
    if isinstance(bounds, (list, tuple)) and any(np.ndim(part) for part in bounds):
        return tuple(_as_bounds(part) for part in bounds)
    return np.asarray(bounds, "float64")


def _check_bounds(low: Any, high: Any) -> None:
    try:
        keras.tree.assert_same_structure(low, high)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`low` and `high` must have the same structure. Received: low={low}, high={high}"
        ) from error
    for below, above in zip(keras.tree.flatten(low), keras.tree.flatten(high), strict=True):
        finite = np.isfinite(below).all() and np.isfinite(above).all()
        if below.shape != above.shape or not finite or (below > above).any():
            raise ValueError(
                "`low` and `high` must be finite, of the same shape, and low <= high everywhere. "
                f"Received: low={below.tolist()}, high={above.tolist()}"
            )
