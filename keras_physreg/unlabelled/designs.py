"""Designs of points in the unit cube: at random, latin hypercube, or Sobol sequence."""

import warnings
from typing import Any

import numpy as np

from keras_physreg._utils.errors import received

DESIGNS = ("random", "latin_hypercube", "sobol")


def check_design(design: Any) -> str:
    """Returns the name of a design; raises if there is none of this name, or SciPy is missing."""
    if design not in DESIGNS:
        raise ValueError(f"`design` must be one of {DESIGNS}. {received('design', design)}")
    if design == "sobol":
        try:
            import scipy.stats.qmc  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "`design='sobol'` needs SciPy: `pip install scipy`. `design='latin_hypercube'` "
                "needs nothing."
            ) from error
    return design


def latin_hypercube(rng: np.random.Generator, points: int, coordinates: int) -> np.ndarray:
    """Returns points of which each of as many equal intervals holds one, in every coordinate.

    McKay, Beckman and Conover, "A comparison of three methods for selecting values of input
    variables in the analysis of output from a computer code", Technometrics 21 (1979) 239-245.

    Args:
        rng: Generator of random numbers.
        points: Number of points.
        coordinates: Number of coordinates.
    """
    intervals = np.stack([rng.permutation(points) for _ in range(coordinates)], axis=1)
    return (intervals + rng.random((points, coordinates))) / points


def sobol(rng: np.random.Generator, points: int, coordinates: int) -> np.ndarray:
    """Returns the first points of a scrambled Sobol sequence; see `scipy.stats.qmc.Sobol`."""
    from scipy.stats import qmc

    try:
        engine = qmc.Sobol(coordinates, scramble=True, rng=rng)
    except TypeError:  # SciPy before 1.15.
        engine = qmc.Sobol(coordinates, scramble=True, seed=rng)
    with warnings.catch_warnings():
        # The sequence is balanced at powers of 2; the docstring of the sampler says so.
        warnings.filterwarnings("ignore", message="The balance properties")
        return engine.random(points)
