"""Self-scaled BFGS with a dense approximation of the inverse Hessian."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from keras_physreg.refinement.scipy_optimize import scipy_part

# (weights) -> loss and gradient.
Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]

ARMIJO, CURVATURE = 1e-4, 0.9  # Constants of the strong Wolfe conditions.
MAX_TRIALS = 25  # Of a line search.


def self_scaled_bfgs(
    evaluate: Evaluate,
    weights: np.ndarray,
    iterations: int,
    accept: Callable[[np.ndarray], None],
    tolerance: float = 0.0,
) -> str:
    """Minimises a function by self-scaled BFGS.

    With the step `s`, the change `y` of the gradient, and the approximation `H` of the inverse
    Hessian, `B` its inverse:

        H_next = (H - H y y' H / (y' H y) + v v') / tau + s s' / (y' s)
        v = sqrt(y' H y) (s / (y' s) - H y / (y' H y))
        tau = min(1, y' s / (s' B s))

    `tau` is the scaling of M. Al-Baali, "Numerical experience with a class of self-scaling
    quasi-Newton algorithms", J. Optim. Theory Appl. 96 (1998); formula 11 of J. F. Urban, P.
    Stefanou and J. A. Pons, J. Comput. Phys. 523 (2025) 113656, and the variant "SSBFGS_AB" of
    E. Kiyani et al., arXiv 2501.16371. With `tau = 1` it is BFGS. `s' B s` needs no `B`: as the
    step is `-a H g`, it is `-a g' s`. `H` begins as the identity, times `y' s / (y' y)` before the
    first update. Steps fulfil the strong Wolfe conditions (`scipy.optimize.line_search`).

    Args:
        evaluate: Returns the loss and its gradient at a vector.
        weights: Where to begin.
        iterations: Most iterations.
        accept: Called with the vector after each iteration.
        tolerance: Largest component of the gradient at which to stop.

    Returns:
        Why it stopped.

    Example:
    >>> import numpy as np
    >>> def bowl(w):  # Minimum at (1, 1).
    ...     return float(np.sum((w - 1) ** 2)), 2 * (w - 1)
    >>> path = []
    >>> self_scaled_bfgs(bowl, np.zeros(2), 10, path.append)
    'the gradient is 0'
    >>> path[-1].round(12)
    array([1., 1.])
    """
    loss, gradient = evaluate(weights)
    inverse = _Inverse(len(weights))
    for _ in range(iterations):
        if np.abs(gradient).max() <= tolerance:
            return f"the gradient is {tolerance:g}" if tolerance == 0 else "the gradient is small"
        found = _line_search(evaluate, weights, loss, gradient, inverse)
        if found is None and not inverse.is_fresh:
            inverse = _Inverse(len(weights))
            found = _line_search(evaluate, weights, loss, gradient, inverse)
        if found is None:
            return "no step makes the loss smaller in this precision"
        factor, there = found
        next_loss, next_gradient = evaluate(there)
        inverse.update(there - weights, next_gradient - gradient, gradient, factor)
        weights, loss, gradient = there, next_loss, next_gradient
        accept(weights)
    return f"{iterations} iterations done"


class _Inverse:
    """The approximation of the inverse Hessian; its lower triangle is stored.

    Args:
        size: Number of weights.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._matrix: np.ndarray | None = None
        self._blas: Any = scipy_part("linalg.blas")

    @property
    def is_fresh(self) -> bool:
        """Whether it is still the identity."""
        return self._matrix is None

    def times(self, vector: np.ndarray) -> np.ndarray:
        """Returns its product with a vector."""
        if self._matrix is None:
            return vector
        return self._blas.dsymv(1.0, self._matrix, vector, lower=1)

    def update(
        self, step: np.ndarray, change: np.ndarray, gradient: np.ndarray, factor: float
    ) -> None:
        """Updates it by a step, unless the loss curves downwards along it.

        Args:
            step: The step `s`.
            change: Change of the gradient along the step, `y`.
            gradient: Gradient before the step.
            factor: Length `a` of the step in units of its direction.
        """
        curvature = float(change @ step)
        if curvature <= 1e-14 * float(np.linalg.norm(change) * np.linalg.norm(step)):
            return
        expected = -factor * float(gradient @ step)
        if self._matrix is None:
            scale = curvature / float(change @ change)
            self._matrix = np.asfortranarray(np.identity(self._size) * scale)
            expected = float(step @ step) / scale
        tau = min(1.0, curvature / expected)
        product = self.times(change)
        # v v' - H y y' H / (y' H y), in terms of s and H y.
        across = (float(change @ product) / curvature / tau + 1.0) / (2 * curvature) * step
        across -= product / (tau * curvature)
        if tau < 1.0:
            self._matrix *= 1 / tau
        self._matrix = self._blas.dsyr2(1.0, step, across, a=self._matrix, lower=1, overwrite_a=1)


def _line_search(
    evaluate: Evaluate, weights: np.ndarray, loss: float, gradient: np.ndarray, inverse: _Inverse
) -> tuple[float, np.ndarray] | None:
    """Returns length and end of a step that makes the loss smaller, or `None`."""
    direction = -inverse.times(gradient)
    if inverse.is_fresh:
        direction = direction / max(1.0, float(np.linalg.norm(gradient)))
    slope = float(direction @ gradient)
    if not slope < 0:
        return None
    tried: list[tuple[float, np.ndarray]] = []

    def value(there: np.ndarray) -> float:
        tried.append((evaluate(there)[0], there))
        return tried[-1][0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A search that ends without a step.
        length = scipy_part("optimize").line_search(
            value,
            lambda there: evaluate(there)[1],
            weights,
            direction,
            gradient,
            loss,
            c1=ARMIJO,
            c2=CURVATURE,
            maxiter=MAX_TRIALS,
        )[0]
    # Without a step that fulfils the conditions, the best of those that were tried.
    there = min(tried, key=itemgetter(0))[1] if length is None else weights + length * direction
    if not evaluate(there)[0] < loss:
        return None
    return float((there - weights) @ direction / (direction @ direction)), there
