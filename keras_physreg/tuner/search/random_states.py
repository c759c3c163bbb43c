"""The states of an oracle's random generators, which KerasTuner does not save.

`BayesianOptimizationOracle` draws the starting points of its optimizer. Without the state of its
generator, a search that is started again would propose other trials. Oracles of users may hold
further generators.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json

Generators = dict[str, Any]


def states_of(oracle: Any) -> Generators:
    """Returns the states of all generators among an oracle's attributes, as JSON holds them."""
    return {
        name: as_json(_state(generator))
        for name, generator in vars(oracle).items()
        if isinstance(generator, random.Random | np.random.RandomState | np.random.Generator)
    }


def set_states(oracle: Any, states: Generators) -> None:
    """Puts the generators of an oracle into the states that `states_of` returned.

    Raises:
        KeyError, TypeError, ValueError: If a saved state is invalid.
    """
    for name in states_of(oracle):
        if name in states:
            _set_state(vars(oracle)[name], states[name])
        else:
            warnings.warn(
                f"The search was saved by another version, without the random state `{name}` of "
                "its oracle: it will propose other trials than without the interruption.",
                stacklevel=2,
            )


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.RandomState):
        generator.set_state(_with_arrays(state))
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = _with_arrays(state)
    else:
        version, words, gauss = state
        generator.setstate((version, tuple(words), gauss))


def _with_arrays(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state with its lists of words as NumPy arrays."""
    inner = {
        key: np.array(value, "uint64") if isinstance(value, list) else value
        for key, value in state["state"].items()
    }
    return {**state, "state": inner}
