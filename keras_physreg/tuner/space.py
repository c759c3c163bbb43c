"""TermSpace: the hyperparameters of one term, and its weight or ramp in a trial."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras_tuner
import numpy as np

from keras_physreg._utils.errors import boolean, is_whole, received
from keras_physreg.schedules import GeometricRamp
from keras_physreg.sweep import SweepResult
from keras_physreg.terms.term import check_weight


@dataclass(frozen=True)
class TermSpace:
    """The search space of one term.

    Args:
        term: Name of the term.
        weights: `(low, high)`, in units of 1 / loss; `None` if the term is off in every trial.
        ramp: `(shortest, longest, step)`, in epochs; `None` if the weight is constant.
        include_zero: Whether trials may switch the term off.
    """

    term: str
    weights: tuple[float, float] | None
    ramp: tuple[int, int, int] | None
    include_zero: bool

    @property
    def names(self) -> set[str]:
        """The names of the hyperparameters."""
        if self.weights is None:
            return set()
        suffixes = ["weight"] + ["on"] * self.include_zero + ["ramp"] * (self.ramp is not None)
        return {f"{self.term}_{suffix}" for suffix in suffixes}

    def declare(self, hp: keras_tuner.HyperParameters) -> float | GeometricRamp:
        """Declares the hyperparameters; returns the weight of this trial, or its ramp."""
        if self.weights is None:
            return 0.0
        condition = {}
        if self.include_zero:
            hp.Boolean(f"{self.term}_on", default=True)
            condition = {"parent_name": f"{self.term}_on", "parent_values": [True]}
        weight = hp.Float(f"{self.term}_weight", *self.weights, sampling="log", **condition)
        epochs = hp.Int(f"{self.term}_ramp", *self.ramp, **condition) if self.ramp else 0
        if weight is None:  # The term is off: its other hyperparameters are inactive.
            return 0.0
        return GeometricRamp(self.weights[0], weight, duration=epochs) if epochs else weight


def term_spaces(weights: Any, ramps: Any, include_zero: bool) -> list[TermSpace]:
    """Returns the search space of each term, or raises if an argument is invalid."""
    if isinstance(weights, SweepResult):
        weights = _ranges_of_sweep(weights)
    if not isinstance(weights, Mapping):
        raise TypeError(
            "`weights` must be a dict `{term: (low, high)}`, or the result of `sanity_sweep`. "
            + received("weights", weights)
        )
    if not weights:
        raise ValueError(
            "`weights` names no term: give a dict `{term: (low, high)}` with at least one. "
            + received("weights", weights)
        )
    ranges = {name: _checked_range(name, given) for name, given in weights.items()}
    if not any(ranges.values()):
        warnings.warn(
            f"There is no weight to search for: {list(ranges)} are held at 0 in every trial.",
            stacklevel=3,
        )
    ramps = _checked_ramps(ramps, list(ranges))
    include_zero = boolean("include_zero", include_zero)
    return [TermSpace(name, given, ramps.get(name), include_zero) for name, given in ranges.items()]


def _ranges_of_sweep(result: SweepResult) -> dict[str, tuple[float, float] | None]:
    """Returns the search ranges; a term that trains constants only is left out if it has none."""
    ranges = {name: verdict.search_range for name, verdict in result.verdicts.items()}
    kept = result.settings.constants_only
    return {name: found for name, found in ranges.items() if found or name not in kept}


def _checked_range(name: str, given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(
            f"The weights of term '{name}' must be `(low, high)`, or None for a term that is off. "
            + received("weights", given)
        )
    low, high = (check_weight(name, weight) for weight in given)
    if not 0 < low <= high:
        raise ValueError(
            f"The weights of term '{name}' must be `(low, high)` with 0 < low <= high, as they are "
            "sampled in equal ratios; `include_zero=True` tries 0 as well. "
            + received("weights", given)
        )
    return low, high


def _checked_ramps(ramps: Any, terms: list[str]) -> dict[str, tuple[int, int, int]]:
    if ramps is None:
        return {}
    if not isinstance(ramps, Mapping):
        raise TypeError(
            "`ramps` must be a dict `{term: (shortest, longest)}` of durations in epochs. "
            + received("ramps", ramps)
        )
    if unknown := [name for name in ramps if name not in terms]:
        raise ValueError(
            f"`ramps` names {unknown}, which are not in `weights`. Add them to `weights`, or leave "
            f"them out of `ramps`. Terms in `weights`: {terms}"
        )
    return {name: _checked_ramp(name, given) for name, given in ramps.items()}


def _checked_ramp(name: str, given: Any) -> tuple[int, int, int]:
    epochs = given if isinstance(given, tuple | list) else (given, given)
    if len(epochs) not in (2, 3) or not all(is_whole(e) and not np.ndim(e) for e in epochs):
        raise TypeError(
            f"The ramp of term '{name}' must be `(shortest, longest)` or `(shortest, longest, "
            "step)` in whole epochs, or one number of epochs. " + received("ramps", given)
        )
    shortest, longest, step = (*map(int, epochs), 1)[:3]
    if not 0 <= shortest <= longest or longest < 1 or step < 1:
        raise ValueError(
            f"The ramp of term '{name}' must have 0 <= shortest <= longest, longest >= 1 and step "
            ">= 1, in epochs; a ramp of 0 epochs keeps the weight constant. "
            + received("ramps", given)
        )
    return shortest, longest, step
