"""Computes the loss of one term, unweighted and weighted."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import Evaluation, TermValue
from keras_physreg.layers.shield import shield
from keras_physreg.terms import references
from keras_physreg.terms.loss import term_loss, term_reference
from keras_physreg.terms.term import PhysicsTerm


def term_value(
    term: PhysicsTerm,
    variable: keras.Variable,
    parts: list[tuple[Any, Evaluation]],
    labels: Any,
    sample_weight: Any,
) -> TermValue:
    """Compares the output of a term with its reference.

    Args:
        term: The term.
        variable: Variable that holds the weight of the term.
        parts: Groups of rows with their factors, as `Evaluation.parts` returns them.
        labels: The label, used if the layer was called without `targets`.
        sample_weight: Weights of the labelled rows, or `None`.
    """
    active = variable > 0
    losses = [
        _part_loss(term, active, factor, part, labels, sample_weight) for factor, part in parts
    ]
    loss = losses[0] if len(losses) == 1 else ops.sum(ops.stack(losses))
    is_empty = _is_empty([part.outputs[term.name] for _, part in parts])
    if is_empty is not None:  # The mean over no rows is NaN; it must not count.
        loss = ops.where(is_empty, ops.zeros_like(loss), loss)
    weighted = ops.where(active, ops.cast(variable, loss.dtype) * loss, ops.zeros_like(loss))
    return TermValue(term.name, loss, weighted, is_empty)


def _is_empty(outputs: Sequence[Any]) -> Any:
    """Returns whether the outputs hold no value, a scalar; `None` if they always hold some."""
    shapes = [tuple(output.shape) for output in outputs]
    if any(None not in shape and 0 not in shape for shape in shapes):
        return None
    return sum(ops.size(output) for output in outputs) == 0


def _part_loss(
    term: PhysicsTerm, active: Any, factor: Any, part: Evaluation, labels: Any, sample_weight: Any
) -> Any:
    counts = True if factor is None else factor > 0
    active = active if factor is None else ops.logical_and(active, counts)
    output = part.outputs[term.name]
    reference = shield(term_reference(term, output, part.roots(labels)), active)
    row_weights = references.resolve_part(term.reference or "", sample_weight)
    loss = term_loss(term, shield(output, active), reference, row_weights)
    if factor is None:
        return loss
    # At factor 0 the rows may hold NaN or infinity.
    return ops.where(counts, ops.cast(factor, loss.dtype) * loss, ops.zeros_like(loss))
