"""Weights of the rows or steps of a term, from its `where` and the Keras mask of the prediction."""

from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.terms.row_weights import combined
from keras_physreg.terms.term import PhysicsTerm


def row_weights(term: PhysicsTerm, evaluation: Evaluation) -> Any | None:
    """Returns how much each row, step or value of a term counts, as float32; see `counting`."""
    weights = counting(term, evaluation)
    return None if weights is None else ops.cast(weights, "float32")


def counting(term: PhysicsTerm, evaluation: Evaluation) -> Any | None:
    """Returns which rows, steps or values of a term count, or how much; `None` if all count alike.

    Args:
        term: The term.
        evaluation: The evaluation that the term is computed from.

    Returns:
        A tensor with the shape of the first axes of the output, of booleans or float32.

    Raises:
        ValueError: If the prediction has a Keras mask whose steps are not those of the output.
    """
    weights = list(evaluation.where.get(term.name, []))
    if term.mask:
        weights += _masks(term, evaluation, max([len(each.shape) for each in weights], default=0))
    return combined(weights)


def _masks(term: PhysicsTerm, evaluation: Evaluation, rank_of_where: int) -> list[Any]:
    output = evaluation.outputs[term.name]
    found = [mask for mask in keras.tree.flatten(evaluation.mask) if mask is not None]
    fitting = [mask for mask in found if _begins_with(output, mask)]
    for mask in found:
        rank = len(mask.shape)
        if not fitting and rank_of_where < rank <= len(output.shape) and rank > 1:
            raise ValueError(
                f"The prediction of physics term '{term.name}' has a Keras mask of shape "
                f"{tuple(mask.shape)}, but the output has shape {tuple(output.shape)}, so its "
                "padded steps are unknown. Return `keras_physreg.on_rows(output, where)` with a "
                "`where` for the steps of the output; or give the term `mask=False` if all of "
                "them count."
            )
    return [ops.cast(mask, "bool") for mask in fitting]


def _begins_with(output: Any, mask: Any) -> bool:
    if not len(output.shape):
        return False
    first, wanted = tuple(output.shape)[: len(mask.shape)], tuple(mask.shape)
    return first[1:] == wanted[1:] and (first[:1] == wanted[:1] or None in (first[0], wanted[0]))
