"""Groups of trials that can be replicas of one model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

NAME_LENGTH = 16  # hexadecimal digits


def structure(trial: Any, physics: set[str]) -> str:
    """Returns the hyperparameters that need a model of their own, as text.

    Args:
        trial: A trial.
        physics: Names of the hyperparameters in which replicas of one model may differ.
    """
    values = trial.hyperparameters.values
    own = {name: value for name, value in values.items() if name not in physics}
    return json.dumps(own, sort_keys=True, default=str)


def baseline_name(structure: str) -> str:
    """Returns the name of the baseline of all trials with the same structure."""
    return hashlib.sha256(structure.encode()).hexdigest()[:NAME_LENGTH]


def is_baseline_name(value: Any) -> bool:
    """Returns whether a value can name a baseline, and its folder."""
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{NAME_LENGTH}}}", value) is not None


def grouped(trials: Iterable[Any], physics: set[str]) -> dict[str, list[Any]]:
    """Returns the trials by structure, in their given order."""
    groups: dict[str, list[Any]] = {}
    for trial in trials:
        groups.setdefault(structure(trial, physics), []).append(trial)
    return groups
