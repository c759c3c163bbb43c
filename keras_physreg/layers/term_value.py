"""Computes the loss of one term, unweighted and weighted."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.select import times
from keras_physreg.layers.evaluation import Evaluation, TermValue
from keras_physreg.layers.label_as_prediction import message_without_label, weight_of_labels
from keras_physreg.layers.row_weights import counting
from keras_physreg.layers.shield import shield
from keras_physreg.layers.step import current_step
from keras_physreg.terms import references
from keras_physreg.terms.deviations import is_of_deviation
from keras_physreg.terms.loss import term_loss, term_reference
from keras_physreg.terms.row_weights import holding
from keras_physreg.terms.term import PhysicsTerm


def compare_terms(
    layer: Any, evaluation: Evaluation, labels: Any, sample_weight: Any, skip_unlabelled: bool
) -> list[TermValue]:
    """Computes the loss of each term of a physics layer; see `PhysicsRegularization.compare`."""
    values, evaluations = [], layer.evaluations(evaluation, labels)
    for term in layer.terms:
        if term.name in evaluation.skipped:
            continue
        if term.needs_label and evaluation.roots(labels)["target"] is None:
            if skip_unlabelled:
                continue
            raise ValueError(message_without_label(term, layer.name))
        parts = evaluations[term.name].parts(term.name, term.needs_label)
        trust = row_trust(term, evaluation, sample_weight)
        values.append(term_value(term, layer.weight_variable(term.name), parts, labels, trust))
    return values


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
        sample_weight: Weights of the rows, or `None`.
    """
    term_weight = ops.copy(ops.convert_to_tensor(variable))  # One read for both uses.
    active = term_weight > 0
    weights = [counting(term, part) for _, part in parts]
    losses = [
        _part_loss(term, active, factor, part, labels, sample_weight, where)
        for (factor, part), where in zip(parts, weights, strict=True)
    ]
    loss = losses[0] if len(losses) == 1 else ops.sum(ops.stack(losses))
    is_empty = _is_empty([part.outputs[term.name] for _, part in parts])
    if is_empty is not None and (sample_weight is not None or not is_of_deviation(term)):
        # The mean over no rows is NaN; it must not count.
        loss = ops.where(is_empty, ops.zeros_like(loss), loss)
    weighted = times(loss, ops.cast(term_weight, loss.dtype))
    return TermValue(term.name, loss, weighted, is_empty, _is_nowhere(weights))


def row_trust(term: PhysicsTerm, evaluation: Evaluation, sample_weight: Any) -> Any:
    """Returns the sample weights of the rows of a term; `None` if it needs no label.

    Args:
        term: The term.
        evaluation: The result of the call of the physics layer.
        sample_weight: Weights of the labelled rows, or a structure of them.
    """
    if not term.needs_label or sample_weight is None:
        return None
    if term.at == "prediction":
        return references.resolve_part(term.reference or "", sample_weight)
    step = current_step()
    outputs = None if step is None else step.call.outputs
    return weight_of_labels(evaluation, sample_weight, outputs)


def _is_nowhere(weights: Sequence[Any]) -> Any:
    """Returns a scalar boolean: whether no value counts; `None` if all do."""
    if any(each is None for each in weights):
        return None
    holds = [ops.any(holding(each)) for each in weights]
    return ops.logical_not(holds[0] if len(holds) == 1 else ops.any(ops.stack(holds)))


def _is_empty(outputs: Sequence[Any]) -> Any:
    """Returns whether the outputs hold no value, a scalar; `None` if they always hold some."""
    shapes = [tuple(output.shape) for output in outputs]
    if any(None not in shape and 0 not in shape for shape in shapes):
        return None
    return sum(ops.size(output) for output in outputs) == 0


def _part_loss(
    term: PhysicsTerm,
    active: Any,
    factor: Any,
    part: Evaluation,
    labels: Any,
    sample_weight: Any,
    where: Any,
) -> Any:
    counts = True if factor is None else factor > 0
    active = active if factor is None else ops.logical_and(active, counts)
    output = part.outputs[term.name]
    reference = term_reference(term, output, part.roots(labels))
    if term.trains == "constants":
        reference = ops.stop_gradient(reference)
    guard = functools.partial(shield, active=active)
    loss = term_loss(term, output, reference, sample_weight, where, guard)
    if factor is None:
        return loss
    # At factor 0 the rows may hold NaN or infinity.
    return ops.where(counts, ops.cast(factor, loss.dtype) * loss, ops.zeros_like(loss))
