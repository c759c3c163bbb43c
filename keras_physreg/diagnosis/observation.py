"""What one batch shows: losses at the prediction, and losses and residuals at the labels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.names import check_unique
from keras_physreg._utils.user_errors import is_of_none
from keras_physreg.diagnosis.labels import labels_as_prediction, why_no_labels
from keras_physreg.diagnosis.network_at_labels import moved_by_labels, network_losses
from keras_physreg.layers.evaluation import Evaluation, TermValue
from keras_physreg.layers.physics_regularization import PhysicsRegularization
from keras_physreg.layers.row_weights import row_weights
from keras_physreg.layers.step import Step, open_step
from keras_physreg.terms.loss import row_losses, term_reference
from keras_physreg.terms.references import root
from keras_physreg.terms.row_weights import with_rank

DERIVATIVE = (
    "its physics differentiates the prediction by the inputs, and labels are numbers that are not "
    "computed from them"
)
# Values of a term's output in one row up to which they are kept row by row.
MAX_VALUES_PER_ROW = 256


@dataclass
class Observation:
    """What one batch shows, as tensors.

    Args:
        losses: The unweighted term losses, and under `"data"` the data loss; scalars.
        has_values: Per term, whether its output has any values: physics may select rows.
        predictions: The tensors that the physics layer of each term took as its prediction.
        at_prediction: Per term, what `_compare_rows` says of the prediction.
        at_labels: The same with the labels in place of the prediction, and the floor.
        notes: Per term, why there is no loss or no floor, in words.
    """

    losses: dict[str, Any] = field(default_factory=dict)
    has_values: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    at_prediction: dict[str, dict[str, Any]] = field(default_factory=dict)
    at_labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def observe(
    model: keras.Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    training: bool,
    in_full: bool,
    skipped: frozenset[str] = frozenset(),
) -> Observation:
    """Calls a model on one batch and compares what its physics says.

    Args:
        model: Any Keras model with physics layers.
        x: Inputs of the model.
        y: Labels, or `None`.
        sample_weight: Weights of the rows, or `None`.
        training: Whether dropout and batch normalisation work as in training.
        in_full: Whether to look at rows and at the labels too, not at the losses alone.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.

    Returns:
        An `Observation`.
    """
    seen = Observation()
    with unweighted_step(model, skipped) as step:
        y_pred = call_unnoticed(model, x, training)
        evaluations = list(step.evaluations)
        if y is not None and model.loss is not None:
            seen.losses["data"] = _data_loss(model, step, x, y, y_pred, sample_weight)
        names = [name for evaluation in evaluations for name in evaluation.computed]
        check_unique("physics terms", names, f"a call of '{model.name}'")
        for evaluation in evaluations:
            _observe_terms(seen, evaluation, y, sample_weight, in_full)
            if in_full:
                _observe_labels(seen, evaluation, y, y_pred, sample_weight)
    return seen


@contextlib.contextmanager
def unweighted_step(model: keras.Model, skipped: frozenset[str] = frozenset()) -> Iterator[Step]:
    """Opens a step in which physics layers leave what they compute, at weight 0, too."""
    with open_step(model, "labelled", unshielded=True, skipped=skipped) as step:
        yield step


def call_unnoticed(model: keras.Model, x: Any, training: bool) -> Any:
    """Calls a model without changing `model.losses`."""
    return in_a_layer(lambda inputs: model(inputs, training=training), x, training)


def in_a_layer(function: Callable, x: Any, training: bool) -> Any:
    """Calls a function as a layer of its own does: `training` is that of all layers in it.

    Keras clears the losses of the outermost layer that is called: a layer that knows of no other
    clears none.
    """
    layer = keras.layers.Lambda(
        lambda inputs, training: function(inputs), name="diagnosis", autocast=False
    )
    layer.supports_masking = True  # Else Keras warns where `x` has a mask.
    return layer(x, training=training)


def _data_loss(
    model: keras.Model, step: Step, x: Any, y: Any, y_pred: Any, sample_weight: Any
) -> Any:
    step.evaluations.clear()  # So that a `PhysicsModel` adds no physics.
    total = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
    if step.data_loss is not None:
        return step.data_loss
    return total - sum(model.losses)


def _observe_terms(
    seen: Observation, evaluation: Evaluation, y: Any, sample_weight: Any, in_full: bool
) -> None:
    values = evaluation.layer.compare(evaluation, y, sample_weight, skip_unlabelled=True)
    found = {value.name: value for value in values}
    for name in evaluation.computed:
        if name not in found:
            seen.notes[name] = "it compares with the label, and no label was given"
            continue
        seen.losses[name] = found[name].loss
        seen.has_values[name] = _has_values(found[name])
        seen.predictions[name] = keras.tree.flatten(evaluation.prediction)
    if in_full:
        seen.at_prediction.update(_compare_rows(evaluation, y, found, trusted_rows(sample_weight)))


def _observe_labels(
    seen: Observation, evaluation: Evaluation, y: Any, y_pred: Any, sample_weight: Any
) -> None:
    layer: PhysicsRegularization = evaluation.layer
    names = [name for name in layer.term_names if name in seen.losses]
    labels = labels_as_prediction(evaluation, y, y_pred)
    if labels is None:
        why = why_no_labels(evaluation, y, y_pred)
        seen.notes.update(dict.fromkeys(names, f"no floor: {why}"))
        return
    try:
        there = layer.evaluate_again(evaluation, labels)
        values = layer.compare(there, y, sample_weight, skip_unlabelled=True)
    except Exception as error:  # The user's physics: a derivative by the input, for example.
        why = DERIVATIVE if is_of_none(error) else str(error).splitlines()[0]
        seen.notes.update(dict.fromkeys(names, f"no floor: {why}"))
        return
    trusted = trusted_rows(sample_weight)
    found = {value.name: value for value in values}
    compared = _compare_rows(there, y, found, trusted, at_labels=True)
    for name, parts in compared.items():
        parts["network"] = network_losses(evaluation, there, name, y, y_pred)
        parts["moved"] = moved_by_labels(evaluation.outputs.get(name), there.outputs.get(name))
    seen.at_labels.update(compared)


def _has_values(value: TermValue) -> Any:
    flags = [flag for flag in (value.is_empty, value.is_nowhere) if flag is not None]
    return ops.logical_not(ops.any(ops.stack(flags))) if flags else True


def trusted_rows(sample_weight: Any) -> Any:
    """Returns which rows have a label worth looking at, or `None` where all have."""
    if sample_weight is None or isinstance(sample_weight, (dict, list, tuple)):
        return None
    return ops.reshape(sample_weight, (ops.shape(sample_weight)[0], -1))[:, 0] > 0


def _compare_rows(
    evaluation: Evaluation,
    y: Any,
    values: dict[str, TermValue],
    trusted: Any,
    at_labels: bool = False,
) -> dict[str, dict[str, Any]]:
    """Returns per term its loss, its loss per row, which rows are finite, and residual moments."""
    compared, evaluations = {}, evaluation.layer.evaluations(evaluation, y)
    # At the prediction, what happens in the rows without a label counts, too.
    counted = trusted if at_labels else None
    for term in evaluation.layer.terms:
        if term.name in values:
            there = evaluations[term.name]
            output = there.outputs[term.name]
            reference = term_reference(term, output, there.roots(y))
            where = row_weights(term, there)
            residual = _by_component(output - reference)
            counts = None if where is None else _counts(where, output)
            finite = _finite(residual, counts)
            kept = None if counted is None else _of_rows(counted, residual)
            if kept is not None:
                finite = ops.logical_or(finite, ops.logical_not(kept)[:, None])
            weights = None if where is None else _row_sums(where)
            by_label = root(term.reference) == "target"
            given = (evaluation.inputs, evaluation.roots(y)["target"] if by_label else None)
            compared[term.name] = {
                "loss": values[term.name].loss,
                "has_values": _has_values(values[term.name]),
                "rows": row_losses(term, output, reference, where),
                "weights": weights,
                "trusted": None if by_label else trusted,
                "kept": trusted if at_labels else None,
                "network": None,
                "moved": None,
                "pairs": _pairs(output, reference, where) if at_labels else None,
                "finite": finite,
                "given": _finite_rows((given, evaluation.prediction if at_labels else None)),
                "moments": _moments(residual, kept, counts),
            }
    return compared


def _counts(where: Any, output: Any) -> Any:
    """Returns which values of an output count, of shape `(rows, places, components)`."""
    flags = with_rank(where != 0, len(output.shape))
    return _by_component(ops.broadcast_to(flags, ops.shape(output)))


def _row_sums(where: Any) -> Any:
    """Returns the sum of the weights in each row."""
    return ops.sum(ops.reshape(where, (ops.shape(where)[0], -1)), axis=1)


def _finite(residual: Any, counts: Any) -> Any:
    """Returns which rows are finite, by component, where they count."""
    finite = ops.isfinite(residual)
    if counts is not None:
        finite = ops.logical_or(finite, ops.logical_not(counts))
    return ops.all(finite, axis=1)


def _of_rows(flags: Any, residual: Any) -> Any:
    """Returns flags of the rows of a batch for a residual; all, where it has rows of its own."""
    rows = ops.shape(residual)[0]
    return ops.cond(
        ops.equal(rows, ops.shape(flags)[0]),
        lambda: flags,
        lambda: ops.ones((rows,), dtype="bool"),
    )


def _finite_rows(structure: Any) -> list[Any]:
    """Returns which rows are finite, of each tensor in a structure."""
    tensors = [ops.convert_to_tensor(t) for t in keras.tree.flatten(structure) if t is not None]
    return [
        ops.all(ops.isfinite(ops.reshape(tensor, (ops.shape(tensor)[0], -1))), axis=1)
        for tensor in tensors
        if len(tensor.shape)
        and keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    ]


def _by_component(residual: Any) -> Any:
    """Reshapes to `(rows, places, components)`; the components are the last axis."""
    shape = ops.shape(residual)
    components = residual.shape[-1] if len(residual.shape) > 1 else 1
    return ops.reshape(residual, (shape[0] if len(residual.shape) else 1, -1, components))


def _pairs(output: Any, reference: Any, where: Any) -> tuple[Any, Any] | None:
    """Returns output and reference by component.

    `None` where a row has too many values, or only some of its values count.
    """
    if where is not None and len(where.shape) > 1:
        return None
    parts = _by_component(output), _by_component(reference)
    sizes = [size for size in output.shape[1:] if size is not None]
    known = len(sizes) == len(output.shape) - 1
    return parts if known and math.prod(sizes) <= MAX_VALUES_PER_ROW else None


def _moments(residual: Any, trusted: Any, counts: Any) -> dict[str, Any]:
    """Returns moments of the residual per component, and how many values have which sign.

    Args:
        residual: Tensor of shape `(rows, places, components)`.
        trusted: Which rows to take; `None`: all.
        counts: Which values of them to take, of the shape of `residual`; `None`: all.
    """
    residual = ops.cast(residual, "float64")
    kept = ops.ones_like(residual)
    if trusted is not None:
        kept = kept * ops.cast(trusted, "float64")[:, None, None]
    if counts is not None:
        kept = kept * ops.cast(counts, "float64")
    if trusted is not None or counts is not None:
        residual = ops.where(kept > 0, residual, ops.zeros_like(residual))
    count = ops.sum(kept, axis=(0, 1))
    mean = ops.divide_no_nan(ops.sum(residual, axis=(0, 1)), count)
    squares = ops.sum(kept * ops.square(residual - mean), axis=(0, 1))
    signs = {
        "positive": ops.sum(kept * ops.cast(residual > 0, "float64"), axis=(0, 1)),
        "negative": ops.sum(kept * ops.cast(residual < 0, "float64"), axis=(0, 1)),
    }
    largest = ops.max(ops.abs(residual), axis=(0, 1), initial=0.0)
    return {"count": count, "mean": mean, "squares": squares, "largest": largest, **signs}
