"""ConstantDiagnosis: the numbers of one element of one constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_physreg.constants.constant import Constant
from keras_physreg.diagnosis.gradient_products import DATA, Gradients
from keras_physreg.inspection import get_term_weights

if TYPE_CHECKING:
    from keras_physreg.diagnosis.sensitivities import Sensitivities


@dataclass(frozen=True)
class ConstantDiagnosis:
    """The numbers of one constant, or of one element of a vector; `None` where there is none.

    Gradients and sensitivities are those by the dimensionless variable in which the constant is
    learned: for a move of one `scale`, whatever its unit.

    Args:
        constant: Its name, as in the logs.
        value: Its value.
        unit: Its unit.
        low: Its lower bound.
        high: Its upper bound.
        scale: By how much it moves as its variable moves by 1, at its initial value.
        trainable: Whether it trains.
        room_below: Distance to the lower bound, over the distance there was at the initial value.
        room_above: The same to the upper bound.
        grad_norm: Norm of the gradient of the whole loss, at the present weights of the terms.
        data_grad_norm: Norm of the gradient of the data loss alone.
        sensitivity: Root mean square derivative of the weighted terms' output values; terms of
            weight 0 count where no other tells of the constant, at weight 1. NaN where it is not
            known: an operation has no second derivative, or the vector more than 8 elements.
        terms: The terms whose output is computed from it.
        size: The number of elements of the constant.
    """

    constant: str
    value: float
    unit: str | None
    low: float | None
    high: float | None
    scale: float
    trainable: bool
    room_below: float | None
    room_above: float | None
    grad_norm: float | None
    data_grad_norm: float | None
    sensitivity: float | None
    terms: tuple[str, ...]
    size: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain Python types."""
        names = "constant value unit low high scale grad_norm sensitivity"
        return {**{n: getattr(self, n) for n in names.split()}, "terms": list(self.terms)}


def constant_rows(
    model: keras.Model,
    constants: Sequence[Constant],
    gradients: Gradients,
    found: Sensitivities | None,
    gramian: np.ndarray,
) -> tuple[ConstantDiagnosis, ...]:
    """Returns the numbers of all elements of all constants, the trainable ones first.

    Args:
        model: The model.
        constants: Its constants, the trainable ones first and in the order of `found`.
        gradients: Its gradients.
        found: How its terms move with the trainable constants; `None` where there are none.
        gramian: What `joint_gramian` made of it.
    """
    rows: list[ConstantDiagnosis] = []
    for constant in constants:
        norms = _grad_norms(model, constant, gradients)
        below, above = constant.bound_shares()
        for k, value in enumerate(np.ravel(constant.value).tolist()):
            at, learns = len(rows), constant.trainable and found is not None
            rows.append(
                ConstantDiagnosis(
                    constant=_element_name(constant, k),
                    value=value,
                    unit=constant.unit,
                    low=_element(constant.low, k),
                    high=_element(constant.high, k),
                    scale=float(np.ravel(constant.scale)[k]),
                    trainable=constant.trainable,
                    room_below=_element(below, k),
                    room_above=_element(above, k),
                    grad_norm=norms[0],
                    data_grad_norm=norms[1],
                    sensitivity=float(np.sqrt(gramian[at, at])) if learns else None,
                    terms=_terms(found, at) if learns else (),
                    size=np.size(constant.initial),
                )
            )
    return tuple(rows)


def joint_gramian(found: Sensitivities, weights: dict[str, float]) -> np.ndarray:
    """Returns the Gramian of all terms: each by its weight.

    Terms of weight 0 count, at weight 1, where no other term moves with some constant.
    """
    first = next(iter(found.gramians.values()))
    weighted = (weights[n] * g for n, g in found.gramians.items() if weights[n])
    joint = sum(weighted, np.zeros_like(first))
    if not np.diagonal(joint).all():
        joint = joint + sum(g for n, g in found.gramians.items() if not weights[n])
    return joint


def _grad_norms(
    model: keras.Model, constant: Constant, gradients: Gradients
) -> tuple[float | None, float | None]:
    places = [i for i, v in enumerate(model.trainable_variables) if v is constant.raw]
    if not places:
        return None, None
    products = gradients.by_variable[places[0]]
    weights = {DATA: 1.0, **get_term_weights(model)}
    factors = np.array([weights[name] for name in gradients.names])
    # A term at weight 0 adds nothing, even where it is not finite.
    used = factors != 0
    total = factors[used] @ products[np.ix_(used, used)] @ factors[used]
    data = gradients.names.index(DATA)
    return float(np.sqrt(np.maximum(total, 0.0))), float(np.sqrt(products[data, data]))


def _terms(found: Sensitivities | None, at: int) -> tuple[str, ...]:
    connected = {} if found is None else found.connected
    return tuple(name for name, reached in connected.items() if reached[at])


def _element_name(constant: Constant, k: int) -> str:
    return f"{constant.name}_{k}" if np.ndim(constant.initial) else constant.name


def _element(value: Any, k: int) -> float | None:
    return None if value is None else float(np.ravel(value)[k])
