"""Student's t distribution in closed form, since this package does not require SciPy."""

import numpy as np
from numpy.typing import ArrayLike


def student_t_cdf(t: ArrayLike, freedom: ArrayLike) -> np.ndarray:
    """Returns the probability that a variable of Student's t distribution is at most `t`.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), equations 26.7.3
    and 26.7.4: finite sums over powers of the cosine of `arctan(t / sqrt(freedom))`.

    Args:
        t: Values, of any shape.
        freedom: Degrees of freedom, integers >= 1, of a shape that broadcasts with that of `t`.

    Returns:
        The probabilities, of the broadcast shape.

    Example:
    >>> round(float(student_t_cdf(2.093, 19)), 4)
    0.975
    """
    t, freedom = np.broadcast_arrays(np.asarray(t, float), np.asarray(freedom, int))
    found = np.empty(t.shape)
    for count in np.unique(freedom):
        here = freedom == count
        inside = _within(np.abs(t[here]), int(count))
        found[here] = (1 + np.sign(t[here]) * inside) / 2
    return found


def _within(t: np.ndarray, freedom: int) -> np.ndarray:
    """Returns the probability of a value between -t and t."""
    angle = np.arctan(t / np.sqrt(freedom))
    odd = freedom % 2
    power = np.cos(angle) if odd else np.ones_like(angle)
    total = power if freedom > 1 else np.zeros_like(angle)
    for k in range(1, (freedom - odd) // 2):
        power = power * np.cos(angle) ** 2 * (2 * k - 1 + odd) / (2 * k + odd)
        total = total + power
    return (angle + np.sin(angle) * total) * 2 / np.pi if odd else np.sin(angle) * total
