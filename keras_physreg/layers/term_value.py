"""What a term comes to: its loss, and what it adds to the total at its weight."""

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
        variable: The variable that holds its weight.
        parts: Evaluations of some of the rows each, with the factors by which their losses add up.
        labels: The label, where the layer got no `targets`.
        sample_weight: Weights of the rows that have labels, or `None`.
    """
    active = variable > 0
    losses = [
        _part_loss(term, active, factor, part, labels, sample_weight) for factor, part in parts
    ]
    loss = losses[0] if len(losses) == 1 else ops.sum(ops.stack(losses))
    weighted = ops.where(active, ops.cast(variable, loss.dtype) * loss, ops.zeros_like(loss))
    return TermValue(term.name, loss, weighted)


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
    # Rows that count nothing may hold what is not finite.
    return ops.where(counts, ops.cast(factor, loss.dtype) * loss, ops.zeros_like(loss))
