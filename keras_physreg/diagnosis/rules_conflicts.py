"""Finds gradients that fight: a term against the data, and two terms against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.gradient_products import DATA, Gradients
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds


def conflicts(
    rows: Sequence[TermDiagnosis], gradients: Gradients, limits: Thresholds
) -> Iterator[Finding]:
    """Yields a finding for each pair of gradients that fight, of terms with weights above 0."""
    weights = {DATA: 1.0, **{row.term: row.weight for row in rows if row.weight}}
    norms = {name: weight * (gradients.norm(name) or 0.0) for name, weight in weights.items()}
    # A gradient that is not finite is in no conflict, and hides none of the others.
    weights = {n: weight for n, weight in weights.items() if norms[n] and math.isfinite(norms[n])}
    balanced = _balanced(weights, gradients, limits)
    for a, b in itertools.combinations(weights, 2):
        cosine = gradients.cosine(a, b)
        if cosine is None or cosine > limits.conflict_cosine:
            continue
        ratio = norms[b] / norms[a]
        if ratio >= limits.conflict_ratio and (a == DATA or 1 / ratio >= limits.conflict_ratio):
            yield (
                _against_data(b, cosine, ratio, balanced)
                if a == DATA
                else _between(a, b, cosine, ratio)
            )


def _balanced(weights: dict[str, float], gradients: Gradients, limits: Thresholds) -> bool:
    """Says whether the weighted gradients cancel, as they do at an optimum of the total loss."""
    at = [gradients.names.index(name) for name in weights]
    factors, gramian = np.array([*weights.values()]), gradients.gramian[np.ix_(at, at)]
    total = float(np.sqrt(max(factors @ gramian @ factors, 0.0)))
    return total <= limits.balance * (gradients.norm(DATA) or 0.0)


def _against_data(term: str, cosine: float, ratio: float, balanced: bool) -> Finding:
    message = (
        f"'{term}' pulls against the data: the cosine of their gradients is {cosine:.2f}, at "
        f"{ratio:.3g} times the norm"
    )
    if balanced:
        return Finding(
            "conflict",
            "info",
            term,
            f"{message}, and together they nearly cancel: training stands at a compromise.",
            "Compare the held-out data loss with that of weight 0: it tells whether the compromise "
            "pays.",
        )
    return Finding(
        "conflict",
        "warning",
        term,
        f"{message}.",
        "Look at the floor and bias of the term; if they are small, ramp its weight up from below, "
        "otherwise correct the physics or lower the weight.",
    )


def _between(a: str, b: str, cosine: float, ratio: float) -> Finding:
    return Finding(
        "conflict",
        "warning",
        b,
        f"'{b}' pulls against '{a}': the cosine of their gradients is {cosine:.2f}, and the "
        f"weighted norm of '{b}' is {ratio:.3g} times that of '{a}'.",
        "They cannot both be right about this prediction: compare their floors, and raise one "
        "weight at a time.",
    )
