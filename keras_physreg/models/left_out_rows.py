"""Checks before the first `fit` that the derivatives of rows that do not count are finite.

The gradient of such a row is 0 times the derivative of the physics, which is NaN if the physics
divides by 0 there.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.owners import with_sublayers
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.layers.row_weights import row_weights
from keras_physreg.layers.step import open_step
from keras_physreg.layers.uses_on_rows import uses_on_rows
from keras_physreg.layers.where_shapes import check_where_shapes
from keras_physreg.models.building import build_network, build_physics_on
from keras_physreg.terms.row_weights import NOT_NEGATIVE
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.point_sources import point_tensors

ROWS_PER_CALL = 1024
MAX_AT_ONCE = 65_536  # Of points that may be compared with one another; 2 kB each, or more.
MAX_NAMED_ROWS = 10


def check_left_out_rows(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    unlabelled: Any = None,
    points: Any = None,
) -> None:
    """Raises if rows that do not count would make the gradient of a term NaN.

    This runs until it finds nothing wrong, and only if terms may leave rows out.

    Args:
        model: The model to train.
        x: Inputs: all rows of arrays are checked, and the first batch of a dataset.
        y: Labels, or `None`.
        sample_weight: Weights of the rows, or `None`.
        unlabelled: Inputs without labels; only arrays are checked.
        points: Inputs by term, on which that term counts in place of all others; only arrays are
            checked.

    Raises:
        ValueError: If the derivative of a row that does not count is not finite, a `where` is
            negative or NaN, or no row of arrays counts.
    """
    if not model.compiled:  # Keras raises for it.
        return
    layers = [layer for layer in physics_layers(model) if not layer.left_out_rows_are_checked]
    if keras.backend.backend() == "tensorflow" and any(_leaves_out(model, x) for x in layers):
        try:
            looks = _looks(model, x, y, sample_weight, unlabelled, dict(points or {}))
        except Exception:  # Data or physics that cannot run: the training raises a better error.
            _check_shapes(model, x, frozenset(points or {}))
            return
        for term, (look, complete) in looks.items():
            look.check(term, complete)
    for layer in layers:
        layer.left_out_rows_are_checked = True


def _check_shapes(model: keras.Model, x: Any, skipped: frozenset[str]) -> None:
    try:
        inputs = _sources(x, None, None, None)[0][0][0]
        rows = arrays.gather(inputs, np.arange(min(arrays.size(inputs), ROWS_PER_CALL)))
    except Exception:
        return
    check_where_shapes(model, rows, skipped)


def _leaves_out(model: keras.Model, layer: PhysicsRegularization) -> bool:
    if any(term.where is not None for term in layer.terms) or any(
        map(uses_on_rows, layer.functions)
    ):
        return True
    return any(term.mask for term in layer.terms) and any(
        isinstance(part, keras.layers.Masking) or getattr(part, "mask_zero", False)
        for part in with_sublayers(model)
    )


class _Look:
    """The rows of one term that were checked, batch by batch."""

    def __init__(self) -> None:
        self.rows = 0
        self.holds = False
        self.bad_weights: list[int] = []
        self.bad: list[int] = []
        self.is_bad = False

    def add(self, found: dict[str, Any]) -> None:
        """Adds a batch."""
        seen = keras.tree.map_structure(np.asarray, found)
        left_out = seen["left_out"]
        self.holds = self.holds or bool(seen["holds"].any())
        self.bad_weights += [int(k) + self.rows for k in np.flatnonzero(seen["bad_weights"])]
        bad = np.zeros_like(left_out)
        for rows in seen["bad_gradients"]:
            bad = bad | rows if len(rows) == len(bad) else bad
        by_constants = any(flags.any() for flags in seen["bad_variables"])
        if seen["loss"] and left_out.any() and not (bad & ~left_out).any():
            self.is_bad = self.is_bad or by_constants or bool(bad.any())
            if by_constants and len(seen["bad_output"]) == len(bad):
                bad = bad | seen["bad_output"]
            self.bad += [int(k) + self.rows for k in np.flatnonzero(bad & left_out)]
        self.rows += len(left_out)

    def check(self, term: str, complete: bool) -> None:
        """Raises if a row is bad; `complete`: whether all rows of the training were checked."""
        if self.bad_weights:
            raise ValueError(
                f"The `where` weights of physics term '{term}' must be >= 0, but are negative or "
                f"NaN in {_named(self.bad_weights)}. {NOT_NEGATIVE}"
            )
        if self.is_bad:
            which = f" {_named(self.bad).capitalize()}." if self.bad else ""
            raise ValueError(
                f"Rows or steps of physics term '{term}' do not count, but the derivative of its "
                "physics is not finite there. Their gradient is 0 times infinity, which is NaN "
                f"and would turn all weights into NaN.{which} Use "
                f"`PhysicsTerm('{term}', where=...)`, with which the physics never gets these "
                "rows; or replace the divisor before you divide: `keras.ops.where(q > 0, q, 1.0)`."
            )
        if complete and not self.holds:
            raise ValueError(
                f"Physics term '{term}' counts in none of the {self.rows} rows: its `where` is "
                "false or 0 everywhere, and the term would train nothing. Check the units and "
                "columns that `where` compares."
            )


def _named(rows: list[int]) -> str:
    more = f" ... ({len(rows)} rows)" if len(rows) > MAX_NAMED_ROWS else ""
    return f"row(s) {', '.join(map(str, rows[:MAX_NAMED_ROWS]))}{more}"


def _looks(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, unlabelled: Any, points: dict[str, Any]
) -> dict[str, tuple[_Look, bool]]:
    """Returns per term the rows that were checked, and whether these are all of its rows."""
    found: dict[str, tuple[_Look, bool]] = {}
    own = {
        name: point_tensors(rows, f"points[{name!r}]")
        for name, rows in points.items()
        if not callable(rows) and not isinstance(rows, tf.data.Dataset)
    }
    of_points = frozenset(points)
    every = frozenset(name for layer in physics_layers(model) for name in layer.term_names)
    sources, complete = ([], False) if x is None else _sources(x, y, sample_weight, unlabelled)
    first = sources[0][0] if sources else None
    if first is not None or own:
        build_network(model, next(iter(own.values())) if first is None else first)
        build_physics_on(model, first, own, of_points - {*own})
    if sources:
        looks = _look_at(model, sources, of_points)
        found = {name: (look, complete) for name, look in looks.items()}
    for name, tensors in own.items():
        looks = _look_at(model, [(tensors, None, None)], every - {name}, at_once=True)
        found |= {term: (look, True) for term, look in looks.items()}
    return found


def _sources(x: Any, y: Any, sample_weight: Any, unlabelled: Any) -> tuple[list[Any], bool]:
    """Returns data `(x, y, sample_weight)` to check, and whether these are all rows."""
    complete = unlabelled is None
    if isinstance(x, tf.data.Dataset):
        sources, complete = [keras.utils.unpack_x_y_sample_weight(next(iter(x.take(1))))], False
    elif isinstance(x, keras.utils.PyDataset):
        sources, complete = [keras.utils.unpack_x_y_sample_weight(x[0])], False
    else:
        sources = [arrays.as_tensors((x, y, sample_weight), "x")]
    in_memory = not callable(unlabelled) and not isinstance(unlabelled, tf.data.Dataset)
    if unlabelled is not None and in_memory:
        sources.append((arrays.as_tensors(unlabelled, "unlabelled"), None, None))
        complete = not isinstance(x, tf.data.Dataset | keras.utils.PyDataset)
    return sources, complete


def _look_at(
    model: keras.Model, sources: list[Any], skipped: frozenset[str], at_once: bool = False
) -> dict[str, _Look]:
    """Returns the rows of each term that were checked.

    Args:
        model: The model.
        sources: Data `(x, y, sample_weight)`.
        skipped: Terms that are not computed on these rows.
        at_once: Whether all rows make one batch, unless they are very many: physics may compare
            the points of a set with one another.
    """
    looks: dict[str, _Look] = {}

    def look(x: Any, y: Any, sample_weight: Any) -> dict[str, dict[str, Any]]:
        return _differentiated(model, x, y, sample_weight, skipped)

    run: Any = look if model.run_eagerly else tf.function(look, autograph=False)
    for source in sources:
        if not model.run_eagerly:  # Traced once for batches of any size.
            run.get_concrete_function(*keras.tree.map_structure(_of_any_size, source))
        size = arrays.size(source)
        count = max(size, 1) if at_once and size <= MAX_AT_ONCE else ROWS_PER_CALL
        for first in range(0, size, count):
            batch = arrays.gather(source, np.arange(first, min(first + count, size)))
            for term, found in run(*batch).items():
                looks.setdefault(term, _Look()).add(found)
    return looks


def _of_any_size(tensor: Any) -> Any:
    return None if tensor is None else tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _differentiated(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, skipped: frozenset[str]
) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    scope = keras.StatelessScope(collect_losses=True, initialize_variables=False)
    step_of_model = open_step(model, "labelled", unshielded=True, skipped=skipped)
    with tf.GradientTape(persistent=True) as tape, scope, step_of_model as step:
        model(x, training=False)
        seen = [_compared(evaluation, y, sample_weight) for evaluation in step.evaluations]
    for evaluation, terms in zip(step.evaluations, seen, strict=True):
        for name, (loss, output, weights) in terms.items():
            found[name] = _of_term(tape, evaluation, loss, output, weights)
    return found


def _compared(evaluation: Any, y: Any, sample_weight: Any) -> dict[str, tuple]:
    """Returns loss, output and weights of the terms that leave rows out."""
    layer = evaluation.layer
    there = layer.evaluations(evaluation, y)
    values = layer.compare(evaluation, y, sample_weight, skip_unlabelled=True)
    losses = {value.name: value.loss for value in values}
    found = {}
    for term in layer.terms:
        if term.name in losses:
            weights = row_weights(term, there[term.name])
            if weights is not None:
                output = there[term.name].outputs[term.name]
                found[term.name] = losses[term.name], output, weights
    return found


def _of_term(tape: Any, evaluation: Any, loss: Any, output: Any, weights: Any) -> dict[str, Any]:
    predictions = keras.tree.flatten(evaluation.prediction)
    gradients = tape.gradient(loss, [*predictions, *evaluation.layer.trainable_variables])
    found = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
    by_prediction = [g for g in found[: len(predictions)] if g is not None]
    by_variable = [g for g in found[len(predictions) :] if g is not None]
    return {
        "loss": ops.isfinite(loss),
        "bad_weights": _any_by_row(ops.isnan(weights)),
        "holds": _any_by_row(weights > 0),
        "left_out": _any_by_row(weights == 0),
        "bad_output": _not_finite(output),
        "bad_gradients": [_not_finite(gradient) for gradient in by_prediction],
        "bad_variables": [_not_finite(ops.reshape(g, (1, -1))) for g in by_variable],
    }


def _not_finite(tensor: Any) -> Any:
    return _any_by_row(ops.logical_not(ops.isfinite(tensor)))


def _any_by_row(flags: Any) -> Any:
    axes = tuple(range(1, len(flags.shape)))
    return ops.any(flags, axis=axes) if axes else flags
