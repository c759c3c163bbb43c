"""Samplers of unlabelled rows: collocation points, drawn anew while the model trains."""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received, whole_number


class UniformSampler:
    """Draws points uniformly from a box: collocation points for `fit(unlabelled=...)`.

    The points are a function of seed and step alone: a run that is resumed, or done again, sees
    the same ones.

    Args:
        low: Lower bounds in the units of the model's input, of shape `(features, ...)`; for an
            input of several parts a dict, list or tuple of them.
        high: Upper bounds, likewise. Where both are equal, as on the side of a box, so are the
            points.
        seed: The seed, an integer >= 0.
        every: The number of steps for which points are kept: 1 draws new ones at each step, the
            number of steps in an epoch draws new ones at each epoch.
        dtype: Dtype of the points, that of `x`; `None` for Keras' float type.

    Raises:
        TypeError: If `seed` or `every` is no integer.
        ValueError: If the bounds do not fit each other or are not finite, or `seed` or `every` is
            too small.

    Example:
    >>> import keras_physreg as kp
    >>> sampler = kp.UniformSampler([0.0, -1.0], [2.0, 1.0], seed=7)
    >>> sampler(step=0, batch=3).shape
    (3, 2)
    >>> bool((sampler(0, 3) == sampler(0, 3)).all()), bool((sampler(0, 3) == sampler(1, 3)).any())
    (True, False)
    """

    def __init__(
        self, low: Any, high: Any, seed: int = 0, every: int = 1, dtype: str | None = None
    ) -> None:
        self.low, self.high = _as_bounds(low), _as_bounds(high)
        _check_bounds(self.low, self.high)
        self.seed, self.every = whole_number("seed", seed, 0), whole_number("every", every)
        self.dtype = _float_type(keras.config.floatx() if dtype is None else dtype)

    def __call__(self, step: int, batch: int) -> Any:
        """Returns the points of a step.

        Args:
            step: The number of steps that the optimizer took before.
            batch: The number of points.

        Returns:
            An array of shape `(batch, features, ...)`, or the structure of `low` of them.
        """
        rng = np.random.default_rng([self.seed, int(step) // self.every])

        def draw(low: np.ndarray, high: np.ndarray) -> np.ndarray:
            return rng.uniform(low, high, (batch, *low.shape)).astype(self.dtype)

        return keras.tree.map_structure(draw, self.low, self.high)


def _float_type(dtype: Any) -> str:
    with contextlib.suppress(ValueError, TypeError):
        name = keras.backend.standardize_dtype(dtype)
        if keras.backend.is_float_dtype(name):
            return name
    raise ValueError(
        "`dtype` of a sampler must be a float type, such as 'float32': points drawn from a box are "
        f"no integers. {received('dtype', dtype)}"
    )


def _as_bounds(bounds: Any) -> Any:
    """Returns arrays in the structure of the bounds; a list of numbers is one array."""
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
            f"`low` and `high` must have one structure. Received: low={low}, high={high}"
        ) from error
    for below, above in zip(keras.tree.flatten(low), keras.tree.flatten(high), strict=True):
        finite = np.isfinite(below).all() and np.isfinite(above).all()
        if below.shape != above.shape or not finite or (below > above).any():
            raise ValueError(
                "`low` and `high` must be finite, of one shape, and low <= high everywhere. "
                f"Received: low={below.tolist()}, high={above.tolist()}"
            )
