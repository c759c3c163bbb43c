"""SciPy, imported on first use, and its L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

MEMORY = 50  # Steps that L-BFGS remembers.


def scipy_part(name: str) -> Any:
    """Returns a module of SciPy; raises `ImportError` with the command that installs it.

    Args:
        name: Name of the module, such as `"optimize"`.
    """
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError('`refine` needs SciPy: pip install "keras_physreg[refine]"') from error


def limited_memory_bfgs(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    weights: np.ndarray,
    iterations: int,
    accept: Callable[[np.ndarray], None],
    tolerance: float = 0.0,
) -> str:
    """Minimises a function by SciPy's L-BFGS-B, without bounds; see `self_scaled_bfgs`."""
    found = scipy_part("optimize").minimize(
        evaluate,
        weights,
        jac=True,
        method="L-BFGS-B",
        callback=lambda there: accept(np.array(there)),
        options={
            "maxiter": iterations,
            "maxfun": 25 * iterations,
            "maxcor": MEMORY,
            "maxls": 50,
            "ftol": 0.0,
            "gtol": tolerance,
        },
    )
    if found.nit >= iterations:
        return f"{iterations} iterations done"
    if not np.abs(found.jac).max() > tolerance:
        return f"the gradient is {tolerance:g}" if tolerance == 0 else "the gradient is small"
    return "no step makes the loss smaller in this precision"
